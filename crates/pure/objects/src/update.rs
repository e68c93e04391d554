//! From a stored object and a request's object to the object that is stored next.
use serde_json::{Value, json};

use crate::builtin;
use crate::create::{Prepared, adopt_namespace, check, check_kind};
use crate::json;
use crate::resource::Resource;
use crate::status::Failure;

/// Metadata that the server alone writes.
const SERVER_OWNED: [&str; 5] =
    ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"];

/// Which part of an object a request writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but status, where status is a subresource.
    Main,
    /// Status alone.
    Status,
}

/// Prepares the change from `old` to `new`.
pub fn prepare(res: &Resource, old: &Value, new: Value, part: Part) -> Result<Prepared, Failure> {
    let prepared = assemble(res, old, new, part)?;
    check(res, &prepared.object, Some((old, part)))?;
    Ok(prepared)
}

/// `prepare` for an object whose fields were checked already.
pub fn assemble(res: &Resource, old: &Value, new: Value, part: Part) -> Result<Prepared, Failure> {
    let mut new = new;
    check_identity(res, old, &mut new)?;
    let unknown = res.schema.as_ref().map(|s| s.prune(&mut new)).unwrap_or_default();
    let mut object = match part {
        Part::Main => main(res, old, new),
        Part::Status => status(res, old, new),
    };
    builtin::normalize(res, &mut object);
    if let Some(schema) = &res.schema {
        schema.default(&mut object);
    }
    count_generation(res, old, &mut object);
    Ok(Prepared { object, unknown })
}

fn check_identity(res: &Resource, old: &Value, new: &mut Value) -> Result<(), Failure> {
    check_kind(res, new)?;
    adopt_namespace(res, json::text(old, &["metadata", "namespace"]), new)?;
    let name = json::text(old, &["metadata", "name"]);
    let (mine, theirs) = (
        json::text(new, &["metadata", "name"]).to_owned(),
        json::text(new, &["metadata", "uid"]).to_owned(),
    );
    if mine.is_empty() {
        json::metadata_mut(new).insert("name".to_owned(), json!(name));
    } else if mine != name {
        return Err(Failure::bad_request(format!(
            "the name of the object ({mine}) does not match the name on the URL ({name})"
        )));
    }
    let uid = json::text(old, &["metadata", "uid"]);
    if !theirs.is_empty() && theirs != uid {
        return Err(Failure::conflict_because(
            res,
            name,
            &format!(
                "Precondition failed: UID in precondition: {theirs}, UID in object meta: {uid}"
            ),
        ));
    }
    let version = json::text(new, &["metadata", "resourceVersion"]);
    if !version.is_empty() && version != json::text(old, &["metadata", "resourceVersion"]) {
        return Err(Failure::conflict(res, name));
    }
    Ok(())
}

fn main(res: &Resource, old: &Value, mut new: Value) -> Value {
    let before = old.get("metadata").unwrap_or(&Value::Null);
    let metadata = json::metadata_mut(&mut new);
    for key in SERVER_OWNED.into_iter().chain(["resourceVersion", "generateName"]) {
        match before.get(key) {
            Some(value) => metadata.insert(key.to_owned(), value.clone()),
            None => metadata.remove(key),
        };
    }
    metadata.remove("managedFields");
    metadata.remove("selfLink");
    for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let empty = |v: &Value| v.is_null() || v.as_array().is_some_and(Vec::is_empty);
        if metadata.get(key).is_some_and(empty) {
            metadata.remove(key);
        }
    }
    if res.status {
        json::put(&mut new, "status", old.get("status").cloned());
    }
    if res.is("namespaces") {
        // They keep the namespace until its contents are gone.
        let spec = json::object_mut(&mut new, "spec");
        match json::at(old, &["spec", "finalizers"]) {
            Some(kept) => spec.insert("finalizers".to_owned(), kept.clone()),
            None => spec.remove("finalizers"),
        };
    }
    new
}

fn status(res: &Resource, old: &Value, mut new: Value) -> Value {
    let mut object = old.clone();
    json::put(&mut object, "status", json::remove(&mut new, "status"));
    if !res.custom {
        let labels: &[&str] =
            if res.is("pods") { &["annotations", "labels"] } else { &["annotations"] };
        let metadata = json::metadata_mut(&mut object);
        for key in labels {
            match json::at(&new, &["metadata", key]) {
                Some(value) if !value.is_null() => {
                    metadata.insert((*key).to_owned(), value.clone());
                }
                Some(_) | None => {
                    metadata.remove(*key);
                }
            }
        }
    }
    object
}

/// The generation counts changes of what is desired: everything but metadata and status.
fn count_generation(res: &Resource, old: &Value, object: &mut Value) {
    if !builtin::has_generation(res) {
        return;
    }
    let generation = json::at(old, &["metadata", "generation"]).and_then(Value::as_i64);
    let next = generation.unwrap_or(1) + i64::from(!same_desire(res, old, object));
    json::metadata_mut(object).insert("generation".to_owned(), json!(next));
}

fn same_desire(res: &Resource, old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old == new };
    let counts = |key: &&String| *key != "metadata" && !(res.status && *key == "status");
    old.keys().chain(new.keys()).filter(counts).all(|key| old.get(key) == new.get(key))
}
