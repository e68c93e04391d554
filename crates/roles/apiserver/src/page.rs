//! Pages of a list: all of one list show the same version, or say that it is too old.
//!
//! The objects of a past version are those of now with the recent changes taken back; the watch window holds them.
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kruntimes_objects::json;
use kruntimes_objects::status::Failure;
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::window::Filter;
use serde_json::{Value, json};

use crate::call::Call;
use crate::server::ApiServer;
use crate::shared::View;

/// One page of objects.
pub(crate) struct Page {
    pub(crate) objects: Vec<Arc<Stored>>,
    /// The version that all pages of the list show.
    pub(crate) version: u64,
    /// The last key of the page, when more follows.
    last: Option<Arc<Key>>,
    remaining: usize,
}

impl Page {
    /// `metadata` of the list.
    pub(crate) fn metadata(&self, filter: &Filter) -> Value {
        let mut metadata = json!({ "resourceVersion": self.version.to_string() });
        if let Some(last) = &self.last {
            metadata["continue"] = json!(token(Some(self.version), last));
            if filter.labels.is_empty() && filter.fields.is_empty() {
                metadata["remainingItemCount"] = json!(self.remaining);
            }
        }
        metadata
    }
}

/// Which version a page shows, and after which key it starts.
struct Place {
    version: u64,
    start: Bound<Key>,
}

impl ApiServer {
    /// The page that the query asks for.
    pub(crate) fn page(&self, call: &Call, filter: &Filter) -> Result<Page, Failure> {
        let limit = call.query.number("limit")?.filter(|n| *n > 0);
        let limit = limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let view = self.shared.view();
        let place = place(call, &view)?;
        if place.version < view.version {
            return self.past_page(call, filter, limit, &view, place);
        }
        if let (Some(name), Some(namespace)) =
            (filter.fields.exact_of("metadata.name"), &filter.namespace)
        {
            let found = view.objects.get(&Key::of(&call.res.id, namespace, name));
            let objects = found.filter(|s| filter.selects(s)).cloned().into_iter().collect();
            return Ok(Page { objects, version: place.version, last: None, remaining: 0 });
        }
        let range = view.objects.range::<Key, _>((place.start, Bound::Unbounded));
        let selected = within(call, range).filter(|s| filter.selects(s));
        Ok(cut(selected, limit, place.version))
    }

    fn past_page(
        &self,
        call: &Call,
        filter: &Filter,
        limit: usize,
        view: &View,
        place: Place,
    ) -> Result<Page, Failure> {
        let past = self.shared.hub().past(&call.res.id, place.version);
        let past = past.map_err(|_| too_old(&place.start))?;
        let bounds = (place.start, Bound::Unbounded);
        let range = view.objects.range::<Key, _>(bounds.clone());
        let mut objects: BTreeMap<&Key, &Arc<Stored>> =
            within(call, range).map(|s| (&*s.key, s)).collect();
        for (key, before) in past.range::<Key, _>(bounds) {
            match before {
                Some(stored) if in_scope(call, key) => objects.insert(key, stored),
                Some(_) | None => objects.remove(&**key),
            };
        }
        let selected = objects.into_values().filter(|s| filter.selects(s));
        Ok(cut(selected, limit, place.version))
    }
}

fn cut<'s>(mut rest: impl Iterator<Item = &'s Arc<Stored>>, limit: usize, version: u64) -> Page {
    let objects: Vec<_> = rest.by_ref().take(limit).cloned().collect();
    let remaining = if limit == usize::MAX { 0 } else { rest.count() };
    let last = objects.last().filter(|_| remaining > 0).map(|s| s.key.clone());
    Page { objects, version, last, remaining }
}

fn in_scope(call: &Call, key: &Key) -> bool {
    key.resource == call.res.id && (call.namespace.is_empty() || key.namespace == call.namespace)
}

fn within<'a>(
    call: &Call,
    range: impl Iterator<Item = (&'a Arc<Key>, &'a Arc<Stored>)>,
) -> impl Iterator<Item = &'a Arc<Stored>> {
    range.map(|(_, s)| s).take_while(move |s| in_scope(call, &s.key))
}

fn place(call: &Call, view: &View) -> Result<Place, Failure> {
    let asked = call.query.number("resourceVersion")?;
    let exact = exact(call, asked)?;
    let Some(token) = call.query.get("continue") else {
        let asked = asked.unwrap_or(0);
        if asked > view.version {
            return Err(Failure::future_version(asked, view.version));
        }
        let version = if exact { asked } else { view.version };
        let start = Bound::Included(Key::of(&call.res.id, &call.namespace, ""));
        return Ok(Place { version, start });
    };
    if asked.is_some_and(|version| version > 0) {
        let why = "specifying resource version is not allowed when using continue";
        return Err(Failure::bad_request(why));
    }
    let (version, key) = read_token(token, call)?;
    let version = version.unwrap_or(view.version);
    if version > view.version {
        return Err(Failure::bad_request("continue key is not valid: its version is not known"));
    }
    Ok(Place { version, start: Bound::Excluded(key) })
}

/// Whether exactly the asked-for version shall be shown.
fn exact(call: &Call, asked: Option<u64>) -> Result<bool, Failure> {
    let Some(how) = call.query.get("resourceVersionMatch") else { return Ok(false) };
    let refused = |why: &str| {
        let message =
            format!("ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: {why}");
        Failure::plain(422, "Invalid", message)
    };
    let forbidden = |why: &str| Err(refused(&format!("Forbidden: resourceVersionMatch {why}")));
    if call.query.get("continue").is_some() {
        return forbidden("is forbidden when continue is provided");
    }
    match (how, asked) {
        ("Exact" | "NotOlderThan", None) => {
            forbidden("is forbidden unless resourceVersion is provided")
        }
        ("Exact", Some(0)) => forbidden("\"exact\" is forbidden for resourceVersion \"0\""),
        ("Exact", Some(_)) => Ok(true),
        ("NotOlderThan", Some(_)) => Ok(false),
        (other, _) => Err(refused(&format!(
            "Unsupported value: \"{other}\": supported values: \"Exact\", \"NotOlderThan\", \"\""
        ))),
    }
}

fn too_old(start: &Bound<Key>) -> Failure {
    let Bound::Excluded(last) = start else {
        return Failure::expired("The resourceVersion for the provided list is too old.");
    };
    let mut failure = Failure::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    failure.resume = Some(token(None, last));
    failure
}

/// A continue token: the version that the list shows, or none for that of the next request, and where the page ended.
fn token(version: Option<u64>, last: &Key) -> String {
    let token = json!({ "v": version, "namespace": last.namespace, "name": last.name });
    BASE64_URL_SAFE_NO_PAD.encode(token.to_string())
}

fn read_token(token: &str, call: &Call) -> Result<(Option<u64>, Key), Failure> {
    let bad = |why: &str| Failure::bad_request(format!("continue key is not valid: {why}"));
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| bad("it is no token"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad("it is no token"))?;
    let version = match value.get("v") {
        Some(Value::Null) => None,
        Some(version) => Some(version.as_u64().ok_or_else(|| bad("it has no version"))?),
        None => return Err(bad("it has no version")),
    };
    let key =
        Key::of(&call.res.id, json::text(&value, &["namespace"]), json::text(&value, &["name"]));
    if !in_scope(call, &key) {
        return Err(bad("it is of another namespace"));
    }
    Ok((version, key))
}
