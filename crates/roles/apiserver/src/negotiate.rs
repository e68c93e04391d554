//! The Accept header: JSON objects, Tables, bare metadata, aggregated discovery.
use http::HeaderMap;
use http::header::ACCEPT;
use kruntimes_objects::openapi_v2;
use kruntimes_objects::status::Failure;

/// The form in which objects are returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// As rows of a Table.
    Table,
    /// Only their metadata.
    Metadata,
}

struct Clause {
    media: String,
    params: Vec<(String, String)>,
}

impl Clause {
    fn param(&self, key: &str) -> &str {
        self.params.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }

    fn is_json(&self) -> bool {
        matches!(self.media.as_str(), "application/json" | "application/*" | "*/*")
    }
}

fn clauses(headers: &HeaderMap) -> Vec<Clause> {
    let mut clauses = Vec::new();
    for header in headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()) {
        for clause in header.split(',').filter(|c| !c.trim().is_empty()) {
            let mut parts = clause.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default().to_ascii_lowercase();
            let params = parts
                .filter_map(|p| p.split_once('='))
                .map(|(k, v)| (k.trim().to_owned(), v.trim().trim_matches('"').to_owned()))
                .collect();
            clauses.push(Clause { media, params });
        }
    }
    if clauses.is_empty() {
        clauses.push(Clause { media: "application/json".to_owned(), params: Vec::new() });
    }
    clauses
}

/// The first form that is asked for and served.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, Failure> {
    for clause in clauses(headers).iter().filter(|c| c.is_json()) {
        let meta =
            clause.param("g") == "meta.k8s.io" && matches!(clause.param("v"), "v1" | "v1beta1");
        match clause.param("as") {
            "" => return Ok(Form::Object),
            "Table" if meta => return Ok(Form::Table),
            "PartialObjectMetadata" | "PartialObjectMetadataList" if meta => {
                return Ok(Form::Metadata);
            }
            _ => {}
        }
    }
    Err(not_acceptable())
}

/// The version of aggregated discovery that is asked for, if it is.
pub(crate) fn aggregated(headers: &HeaderMap) -> Result<Option<&'static str>, Failure> {
    for clause in clauses(headers).iter().filter(|c| c.is_json()) {
        let discovery = clause.param("g") == "apidiscovery.k8s.io";
        match (clause.param("as"), clause.param("v")) {
            ("", _) => return Ok(None),
            ("APIGroupDiscoveryList", "v2") if discovery => return Ok(Some("v2")),
            ("APIGroupDiscoveryList", "v2beta1") if discovery => return Ok(Some("v2beta1")),
            _ => {}
        }
    }
    Err(not_acceptable())
}

/// Whether plain JSON is acceptable.
pub(crate) fn json(headers: &HeaderMap) -> Result<(), Failure> {
    let acceptable = clauses(headers).iter().any(Clause::is_json);
    if acceptable { Ok(()) } else { Err(not_acceptable()) }
}

/// Whether OpenAPI v2 is acceptable as it is served; clients write its type in two ways.
pub(crate) fn openapi_v2(headers: &HeaderMap) -> Result<(), Failure> {
    let acceptable = clauses(headers).iter().any(|clause| {
        let media = clause.media.replace('@', ".");
        media == openapi_v2::MEDIA_TYPE || matches!(&*media, "application/*" | "*/*")
    });
    if acceptable { Ok(()) } else { Err(not_acceptable_but(openapi_v2::MEDIA_TYPE)) }
}

fn not_acceptable() -> Failure {
    not_acceptable_but("application/json")
}

fn not_acceptable_but(media: &str) -> Failure {
    let message = format!("only the following media types are accepted: {media}");
    Failure::plain(406, "NotAcceptable", message)
}
