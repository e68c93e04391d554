//! Deletion: preconditions, finalizers, grace periods and propagation.
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::json;
use crate::resource::Resource;
use crate::status::Failure;

/// The finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of a deletion that leaves dependents alone.
pub const ORPHAN: &str = "orphan";
/// The finalizer that keeps a CRD until its objects are gone.
pub const CRD_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What happens to dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after the owner.
    Background,
    /// They are deleted before the owner.
    Foreground,
    /// They stay.
    Orphan,
}

/// `DeleteOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `gracePeriodSeconds`.
    pub grace: Option<i64>,
    /// `propagationPolicy`.
    pub propagation: Option<Propagation>,
    /// `preconditions.uid`.
    pub uid: Option<String>,
    /// `preconditions.resourceVersion`.
    pub version: Option<String>,
    /// `dryRun: [All]`.
    pub dry_run: bool,
}

/// What a deletion does to the stored object.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// It goes now.
    Remove,
    /// It is marked and stays until finalizers, grace or contents are done.
    Update(Value),
    /// It is already marked.
    Unchanged,
}

impl Options {
    /// Reads a `DeleteOptions` body.
    pub fn parse(body: &Value) -> Result<Self, Failure> {
        let mut options = Self {
            grace: body.get("gracePeriodSeconds").and_then(Value::as_i64),
            uid: json::at(body, &["preconditions", "uid"])
                .and_then(Value::as_str)
                .map(str::to_owned),
            version: json::at(body, &["preconditions", "resourceVersion"])
                .and_then(Value::as_str)
                .map(str::to_owned),
            ..Self::default()
        };
        if let Some(policy) = body.get("propagationPolicy").and_then(Value::as_str) {
            options.propagation = Some(Self::propagation(policy)?);
        } else if let Some(orphan) = body.get("orphanDependents").and_then(Value::as_bool) {
            options.propagation =
                Some(if orphan { Propagation::Orphan } else { Propagation::Background });
        }
        options.dry_run =
            body.get("dryRun").and_then(Value::as_array).is_some_and(|d| !d.is_empty());
        Ok(options)
    }

    /// Reads a propagation policy.
    pub fn propagation(policy: &str) -> Result<Propagation, Failure> {
        match policy {
            "Background" => Ok(Propagation::Background),
            "Foreground" => Ok(Propagation::Foreground),
            "Orphan" => Ok(Propagation::Orphan),
            other => Err(Failure::plain(
                422,
                "Invalid",
                format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"{other}\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
                ),
            )),
        }
    }

    /// Checks the preconditions.
    pub fn check(&self, res: &Resource, name: &str, object: &Value) -> Result<(), Failure> {
        let held = [
            ("UID", &self.uid, json::text(object, &["metadata", "uid"])),
            (
                "ResourceVersion",
                &self.version,
                json::text(object, &["metadata", "resourceVersion"]),
            ),
        ];
        for (what, wanted, found) in held {
            if let Some(wanted) = wanted.as_deref().filter(|w| *w != found) {
                return Err(Failure::conflict_because(
                    res,
                    name,
                    &format!(
                        "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). The object might have been deleted and then recreated"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Decides what a deletion of `object` does.
pub fn decide(resource: &str, object: &Value, options: &Options, now: Timestamp) -> Deletion {
    let grace = grace_seconds(resource, object, options.grace);
    let mut marked = object.clone();
    set_finalizers(&mut marked, options.propagation);
    let metadata = json::metadata_mut(&mut marked);
    let current = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64);
    let deleting = metadata.contains_key("deletionTimestamp");
    if !deleting || current.is_none_or(|c| c > grace) {
        let end = now.checked_add(SignedDuration::from_secs(grace)).unwrap_or(now);
        if !deleting || grace > 0 {
            metadata.insert("deletionTimestamp".to_owned(), json!(seconds(end)));
        }
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
        if metadata.contains_key("generation") && !deleting {
            let generation = metadata.get("generation").and_then(Value::as_i64).unwrap_or(0);
            metadata.insert("generation".to_owned(), json!(generation + 1));
        }
    }
    if resource == "namespaces" {
        json::object_mut(&mut marked, "status").insert("phase".to_owned(), json!("Terminating"));
    }
    if is_complete(resource, &marked) {
        Deletion::Remove
    } else if marked == *object {
        Deletion::Unchanged
    } else {
        Deletion::Update(marked)
    }
}

/// Whether nothing keeps a marked object any more.
pub fn is_complete(resource: &str, object: &Value) -> bool {
    let metadata = object.get("metadata").unwrap_or(&Value::Null);
    let empty = |list: Option<&Value>| list.and_then(Value::as_array).is_none_or(Vec::is_empty);
    metadata.get("deletionTimestamp").is_some()
        && metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0) == 0
        && empty(metadata.get("finalizers"))
        && (resource != "namespaces" || empty(json::at(object, &["spec", "finalizers"])))
}

/// RFC 3339 with whole seconds, as metadata has it.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Only a pod that a node runs has a grace period.
fn grace_seconds(resource: &str, object: &Value, asked: Option<i64>) -> i64 {
    if resource != "pods" || json::text(object, &["spec", "nodeName"]).is_empty() {
        return 0;
    }
    if matches!(json::text(object, &["status", "phase"]), "Succeeded" | "Failed") {
        return 0;
    }
    let own = json::at(object, &["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64);
    asked.or(own).unwrap_or(30).max(0)
}

/// What an object's own finalizers say about its dependents; the first counts.
pub(crate) fn policy_of<'f>(mut finalizers: impl Iterator<Item = &'f str>) -> Option<Propagation> {
    finalizers.find_map(|finalizer| match finalizer {
        ORPHAN => Some(Propagation::Orphan),
        FOREGROUND => Some(Propagation::Foreground),
        _ => None,
    })
}

/// Leaves of the two finalizers of garbage collection the one that is asked for, or else was there.
fn set_finalizers(object: &mut Value, asked: Option<Propagation>) {
    let metadata = json::metadata_mut(object);
    let list = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let policy = asked.or_else(|| policy_of(list.iter().filter_map(Value::as_str)));
    let wanted = match policy {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) | None => None,
    };
    let mut next = list.clone();
    next.retain(|f| !f.as_str().is_some_and(|f| f == ORPHAN || f == FOREGROUND));
    next.extend(wanted.map(Value::from));
    if next.is_empty() {
        metadata.remove("finalizers");
    } else if next.len() != list.len() || next.iter().any(|f| !list.contains(f)) {
        metadata.insert("finalizers".to_owned(), Value::Array(next));
    }
}
