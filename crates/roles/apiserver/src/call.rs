//! A request, taken apart: verb, resource, name, query.
use std::sync::Arc;

use http::Method;
use kruntimes_objects::registry::Registry;
use kruntimes_objects::resource::Resource;
use kruntimes_objects::status::Failure;

/// Decoded query pairs; empty pairs, as kube sends them, are skipped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let decode = |text: &str| percent_decode(&text.replace('+', " "));
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), Some("true" | "1" | "True" | "t" | "T" | "TRUE"))
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Failure> {
        self.get(key)
            .map(|text| {
                text.parse().map_err(|_| {
                    Failure::bad_request(format!("query {key}: {text:?} is no whole number"))
                })
            })
            .transpose()
    }
}

/// What a resource request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }
}

/// A resource request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    pub(crate) res: Arc<Resource>,
    /// "" for all namespaces or a cluster-scoped resource.
    pub(crate) namespace: String,
    /// "" for a collection.
    pub(crate) name: String,
    /// "" for the main resource.
    pub(crate) sub: String,
    pub(crate) query: Query,
}

/// The segments of a path, decoded.
pub(crate) fn segments(path: &str) -> Vec<String> {
    path.split('/').filter(|s| !s.is_empty()).map(percent_decode).collect()
}

impl Call {
    /// Resolves the path below `/api` or `/apis`.
    pub(crate) fn resolve(
        registry: &Registry,
        method: &Method,
        path: &[String],
        query: Query,
    ) -> Result<Self, Failure> {
        let parts: Vec<&str> = path.iter().map(String::as_str).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::no_such_path()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => ("", rest),
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            _ => ("", rest),
        };
        let (plural, name, sub) = match rest {
            [plural] => (*plural, "", ""),
            [plural, name] => (*plural, *name, ""),
            [plural, name, sub] => (*plural, *name, *sub),
            _ => return Err(Failure::no_such_path()),
        };
        let res = registry.find(group, version, plural).ok_or_else(Failure::no_such_path)?.clone();
        let in_namespace = !namespace.is_empty();
        if (res.namespaced && !name.is_empty() && !in_namespace)
            || (!res.namespaced && in_namespace)
        {
            return Err(Failure::no_such_path());
        }
        let verb = verb(method, &res, namespace, name, sub, &query)?;
        Ok(Self {
            verb,
            res,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            sub: sub.to_owned(),
            query,
        })
    }
}

fn verb(
    method: &Method,
    res: &Resource,
    namespace: &str,
    name: &str,
    sub: &str,
    query: &Query,
) -> Result<Verb, Failure> {
    let refused = || {
        let what = if sub.is_empty() { res.id.to_string() } else { format!("{}/{sub}", res.id) };
        Failure::method_not_allowed(format!("{method} is not supported on {what}"))
    };
    if !sub.is_empty() {
        let known = res.subresources();
        let Some((_, verbs)) = known.iter().find(|(s, _)| *s == sub) else {
            return Err(unserved_subresource(res, sub));
        };
        let verb = match *method {
            Method::GET => Verb::Get,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            _ => return Err(refused()),
        };
        return if verbs.contains(&verb.as_str()) { Ok(verb) } else { Err(refused()) };
    }
    let everywhere = res.namespaced && namespace.is_empty();
    Ok(match (method, name.is_empty()) {
        (&Method::GET, true) if query.flag("watch") => Verb::Watch,
        (&Method::GET, true) => Verb::List,
        (&Method::POST, true) if !everywhere => Verb::Create,
        (&Method::DELETE, true) if !everywhere && res.verbs().contains(&"deletecollection") => {
            Verb::DeleteCollection
        }
        (&Method::GET, false) => Verb::Get,
        (&Method::PUT, false) => Verb::Update,
        (&Method::PATCH, false) => Verb::Patch,
        (&Method::DELETE, false) => Verb::Delete,
        _ => return Err(refused()),
    })
}

fn unserved_subresource(res: &Resource, sub: &str) -> Failure {
    const KNOWN: [&str; 12] = [
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "finalize",
        "portforward",
        "proxy",
        "resize",
        "scale",
        "token",
        "log",
    ];
    if KNOWN.contains(&sub) && !res.custom {
        Failure::not_implemented(format!("{}/{sub} is not served by this API server", res.id))
    } else {
        Failure::no_such_path()
    }
}

fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match hex {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            Some(_) | None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
