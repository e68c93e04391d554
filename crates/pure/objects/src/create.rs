//! From a request body to the object that is stored first.
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::builtin;
use crate::delete::seconds;
use crate::json;
use crate::meta;
use crate::resource::Resource;
use crate::status::Failure;
use crate::update::Part;

const MAX_GENERATED_BASE: usize = 58;

/// What the server adds to a new object.
#[derive(Debug, Clone)]
pub struct Birth {
    /// The time now.
    pub now: Timestamp,
    /// A fresh UUID.
    pub uid: String,
    /// Five random characters for `generateName`.
    pub suffix: String,
}

/// A prepared object, and the unknown fields that were dropped from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The object to store.
    pub object: Value,
    /// Paths such as `spec.x`.
    pub unknown: Vec<String>,
}

/// Prepares a creation in `namespace` ("" for cluster-scoped resources).
pub fn prepare(
    res: &Resource,
    namespace: &str,
    body: Value,
    birth: &Birth,
) -> Result<Prepared, Failure> {
    let prepared = assemble(res, namespace, body, birth)?;
    check(res, &prepared.object, None)?;
    Ok(prepared)
}

/// `prepare` for an object whose fields were checked already.
pub fn assemble(
    res: &Resource,
    namespace: &str,
    body: Value,
    birth: &Birth,
) -> Result<Prepared, Failure> {
    let mut object = body;
    check_kind(res, &object)?;
    adopt_namespace(res, namespace, &mut object)?;
    if !json::text(&object, &["metadata", "resourceVersion"]).is_empty() {
        return Err(Failure::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let unknown = res.schema.as_ref().map(|s| s.prune(&mut object)).unwrap_or_default();
    set_metadata(res, &mut object, birth);
    if res.status {
        json::remove(&mut object, "status");
    }
    builtin::defaults(res, &mut object, birth.now);
    if let Some(schema) = &res.schema {
        schema.default(&mut object);
    }
    Ok(Prepared { object, unknown })
}

/// Checks the whole object; with a change, as a change of that part of the old object.
pub(crate) fn check(
    res: &Resource,
    object: &Value,
    change: Option<(&Value, Part)>,
) -> Result<(), Failure> {
    let old = change.map(|(old, _)| old);
    let mut errors = meta::validate(res, object);
    errors.extend(old.and_then(|old| meta::no_new_finalizers(old, object)));
    errors.extend(builtin::validate(res, object, old));
    if let Some(schema) = &res.schema {
        errors.extend(match change {
            Some((old, Part::Status)) => schema.validate_status(object, old),
            Some((_, Part::Main)) | None => schema.validate(object, old),
        });
    }
    if errors.is_empty() {
        return Ok(());
    }
    let name = json::text(object, &["metadata", "name"]);
    Err(Failure::invalid(res, name, &errors))
}

/// Checks `apiVersion` and `kind` against the path.
pub fn check_kind(res: &Resource, object: &Value) -> Result<(), Failure> {
    if !object.is_object() {
        return Err(Failure::bad_request("the body is not an object"));
    }
    let kind = json::text(object, &["kind"]);
    let version = json::text(object, &["apiVersion"]);
    if kind.is_empty() || version.is_empty() {
        let what = if kind.is_empty() { "Kind" } else { "apiVersion" };
        return Err(Failure::bad_request(format!("Object '{what}' is missing in the body")));
    }
    if version != res.api_version() {
        return Err(Failure::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            res.api_version()
        )));
    }
    if kind != res.kind {
        return Err(Failure::bad_request(format!(
            "{kind} in version \"{}\" cannot be handled as a {}: the kind does not match the path",
            res.version, res.kind
        )));
    }
    Ok(())
}

/// Makes the object's namespace that of the path.
pub fn adopt_namespace(res: &Resource, namespace: &str, object: &mut Value) -> Result<(), Failure> {
    let metadata = json::metadata_mut(object);
    let own = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
    if !res.namespaced {
        metadata.remove("namespace");
    } else if own.is_empty() {
        metadata.insert("namespace".to_owned(), json!(namespace));
    } else if own != namespace {
        return Err(Failure::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

fn set_metadata(res: &Resource, object: &mut Value, birth: &Birth) {
    let metadata = json::metadata_mut(object);
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, base) = (text("name"), text("generateName"));
    if name.is_empty() && !base.is_empty() {
        let base: String = base.chars().take(MAX_GENERATED_BASE).collect();
        metadata.insert("name".to_owned(), json!(format!("{base}{}", birth.suffix)));
    }
    for key in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "managedFields",
        "generation",
    ] {
        metadata.remove(key);
    }
    for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
        if metadata.get(key).is_some_and(Value::is_null) {
            metadata.remove(key);
        }
    }
    metadata.insert("uid".to_owned(), json!(birth.uid));
    metadata.insert("creationTimestamp".to_owned(), json!(seconds(birth.now)));
    if builtin::has_generation(res) {
        metadata.insert("generation".to_owned(), json!(1));
    }
}
