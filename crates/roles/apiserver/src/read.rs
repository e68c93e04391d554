//! get and list.
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::Response;
use http::request::Parts;
use jiff::Timestamp;
use kruntimes_objects::fields::FieldSelector;
use kruntimes_objects::json;
use kruntimes_objects::labels::LabelSelector;
use kruntimes_objects::status::Failure;
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::table::{self, Include};
use kruntimes_objects::window::Filter;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::negotiate::{self, Form};
use crate::respond;
use crate::server::ApiServer;

/// One page of objects.
struct Page {
    objects: Vec<Arc<Stored>>,
    version: u64,
    /// The last key of the page, when more follows.
    last: Option<Arc<Key>>,
    remaining: usize,
}

impl Call {
    /// What the selectors of the query select.
    pub(crate) fn filter(&self) -> Result<Filter, Failure> {
        let labels = LabelSelector::parse(self.query.get("labelSelector").unwrap_or_default())
            .map_err(|e| Failure::bad_request(e.to_string()))?;
        let fields =
            FieldSelector::parse(self.query.get("fieldSelector").unwrap_or_default(), &self.res)?;
        let namespace = Some(self.namespace.clone()).filter(|n| !n.is_empty());
        Ok(Filter { namespace, labels, fields })
    }

    /// How much of each object a Table carries.
    pub(crate) fn include(&self) -> Result<Include, Failure> {
        match self.query.get("includeObject") {
            None | Some("Metadata") => Ok(Include::Metadata),
            Some("Object") => Ok(Include::Object),
            Some("None") => Ok(Include::None),
            Some(other) => {
                Err(Failure::bad_request(format!("unrecognized includeObject value: {other:?}")))
            }
        }
    }
}

/// An object's bare metadata.
pub(crate) fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"] })
}

impl ApiServer {
    pub(crate) fn get(&self, call: &Call, parts: &Parts) -> Result<Response<Body>, Failure> {
        let form = negotiate::form(&parts.headers)?;
        let key = Key::new(&call.res, &call.namespace, &call.name);
        let stored =
            self.shared.get(&key).ok_or_else(|| Failure::not_found(&call.res, &call.name))?;
        Ok(match form {
            Form::Object => respond::json(200, respond::shared(&stored.json)),
            Form::Metadata => respond::value(200, &partial(&stored.value())),
            Form::Table => {
                let metadata = json!({ "resourceVersion": stored.version.to_string() });
                let now = Timestamp::now().as_second();
                let objects = [stored.value()];
                let include = call.include()?;
                respond::value(
                    200,
                    &table::table(&call.res, &objects, &metadata, include, true, now),
                )
            }
        })
    }

    pub(crate) fn list(&self, call: &Call, parts: &Parts) -> Result<Response<Body>, Failure> {
        let form = negotiate::form(&parts.headers)?;
        let filter = call.filter()?;
        let page = self.page(call, &filter)?;
        let mut metadata = json!({ "resourceVersion": page.version.to_string() });
        if let Some(last) = &page.last {
            metadata["continue"] = json!(token(page.version, last));
            if filter.labels.is_empty() && filter.fields.is_empty() {
                metadata["remainingItemCount"] = json!(page.remaining);
            }
        }
        let values = || page.objects.iter().map(|s| s.value()).collect::<Vec<_>>();
        Ok(match form {
            Form::Object => respond::json(200, encode(call, &metadata, &page.objects)),
            Form::Table => {
                let now = Timestamp::now().as_second();
                let include = call.include()?;
                respond::value(
                    200,
                    &table::table(&call.res, &values(), &metadata, include, true, now),
                )
            }
            Form::Metadata => {
                let items: Vec<Value> = values().iter().map(partial).collect();
                respond::value(
                    200,
                    &json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                        "metadata": metadata, "items": items }),
                )
            }
        })
    }

    /// All that a filter selects now, with the version of the answer.
    pub(crate) fn select(&self, call: &Call, filter: &Filter) -> (Vec<Arc<Stored>>, u64) {
        let view = self.shared.view();
        let start = Key::of(&call.res.id, &call.namespace, "");
        let objects = within(call, view.objects.range::<Key, _>(&start..))
            .filter(|s| filter.selects(s))
            .cloned()
            .collect();
        (objects, view.version)
    }

    fn page(&self, call: &Call, filter: &Filter) -> Result<Page, Failure> {
        let limit = call.query.number("limit")?.filter(|n| *n > 0);
        let limit = limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let view = self.shared.view();
        let (version, start) = match call.query.get("continue") {
            Some(token) => {
                let (version, key) = read_token(token, call)?;
                (version, Bound::Excluded(key))
            }
            None => {
                check_version(call, view.version)?;
                (view.version, Bound::Included(Key::of(&call.res.id, &call.namespace, "")))
            }
        };
        if let (Some(name), Some(namespace)) =
            (filter.fields.exact_of("metadata.name"), &filter.namespace)
        {
            let found = view.objects.get(&Key::of(&call.res.id, namespace, name));
            let objects = found.filter(|s| filter.selects(s)).cloned().into_iter().collect();
            return Ok(Page { objects, version, last: None, remaining: 0 });
        }
        let mut rest = within(call, view.objects.range::<Key, _>((start, Bound::Unbounded)))
            .filter(|s| filter.selects(s));
        let objects: Vec<_> = rest.by_ref().take(limit).cloned().collect();
        let remaining = if limit == usize::MAX { 0 } else { rest.count() };
        let last = objects.last().filter(|_| remaining > 0).map(|s| s.key.clone());
        Ok(Page { objects, version, last, remaining })
    }
}

fn within<'a>(
    call: &Call,
    range: impl Iterator<Item = (&'a Arc<Key>, &'a Arc<Stored>)>,
) -> impl Iterator<Item = &'a Arc<Stored>> {
    let (resource, namespace) = (call.res.id.clone(), call.namespace.clone());
    range.map(|(_, s)| s).take_while(move |s| {
        s.key.resource == resource && (namespace.is_empty() || s.key.namespace == namespace)
    })
}

fn check_version(call: &Call, current: u64) -> Result<(), Failure> {
    let Some(asked) = call.query.number("resourceVersion")? else { return Ok(()) };
    match call.query.get("resourceVersionMatch") {
        Some("Exact") if asked != current => Err(Failure::expired(format!(
            "The provided resource version is too old: {asked}, only the current one ({current}) can be listed exactly"
        ))),
        Some("Exact" | "NotOlderThan") | None if asked > current => {
            Err(Failure::future_version(asked, current))
        }
        Some("Exact" | "NotOlderThan") | None => Ok(()),
        Some(other) => {
            Err(Failure::bad_request(format!("resourceVersionMatch {other:?} is unknown")))
        }
    }
}

/// A continue token: the version of the first page and where it ended. Later pages show the present; a watch from the
/// first page's version brings what changed meanwhile.
fn token(version: u64, last: &Key) -> String {
    let token = json!({ "v": version, "namespace": last.namespace, "name": last.name });
    BASE64_URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str, call: &Call) -> Result<(u64, Key), Failure> {
    let bad = || Failure::bad_request("continue key is not valid");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let version = value.get("v").and_then(Value::as_u64).ok_or_else(bad)?;
    let key =
        Key::of(&call.res.id, json::text(&value, &["namespace"]), json::text(&value, &["name"]));
    Ok((version, key))
}

fn encode(call: &Call, metadata: &Value, objects: &[Arc<Stored>]) -> Vec<u8> {
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        json!(call.res.list_kind),
        json!(call.res.api_version())
    );
    let size: usize = objects.iter().map(|s| s.json.len() + 1).sum();
    let mut out = Vec::with_capacity(head.len() + size + 2);
    out.extend_from_slice(head.as_bytes());
    for (at, stored) in objects.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&stored.json);
    }
    out.extend_from_slice(b"]}");
    out
}
