//! Failures as the API reports them: a code, a reason for machines, a sentence for people.
use serde_json::{Value, json};

use crate::resource::Resource;
use crate::schema::FieldError;

/// A refused request; becomes a `Status` object.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason, e.g. `NotFound`.
    pub reason: &'static str,
    /// What went wrong, naming the object.
    pub message: String,
    /// `Status.details`, if any.
    pub details: Option<Value>,
    /// `Status.metadata.continue` of a list that expired: where an inconsistent one goes on.
    pub resume: Option<String>,
}

impl Failure {
    /// A failure without details.
    pub fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None, resume: None }
    }

    fn detailed(code: u16, reason: &'static str, message: String, details: Value) -> Self {
        Self { details: Some(details), ..Self::plain(code, reason, message) }
    }

    fn about(code: u16, reason: &'static str, message: String, res: &Resource, name: &str) -> Self {
        Self::detailed(code, reason, message, details(&res.group, &res.plural, name))
    }

    /// 400: the request itself is malformed.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401: no known token.
    pub fn unauthorized() -> Self {
        Self::plain(401, "Unauthorized", "Unauthorized")
    }

    /// 403 about one object.
    pub fn forbidden(res: &Resource, name: &str, why: &str) -> Self {
        let message = if name.is_empty() {
            format!("{} is forbidden: {why}", res.id)
        } else {
            format!("{} \"{name}\" is forbidden: {why}", res.id)
        };
        Self::about(403, "Forbidden", message, res, name)
    }

    /// 404 about one object.
    pub fn not_found(res: &Resource, name: &str) -> Self {
        Self::not_found_named(&res.group, &res.plural, name)
    }

    /// 404 about one object of a resource named by group and plural.
    pub fn not_found_named(group: &str, plural: &str, name: &str) -> Self {
        let id = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        let message = format!("{id} \"{name}\" not found");
        Self::detailed(404, "NotFound", message, details(group, plural, name))
    }

    /// 404: no such path.
    pub fn no_such_path() -> Self {
        Self::plain(404, "NotFound", "the server could not find the requested resource")
    }

    /// 405: the resource does not take this verb.
    pub fn method_not_allowed(what: impl Into<String>) -> Self {
        Self::plain(405, "MethodNotAllowed", what)
    }

    /// 409: the name is taken.
    pub fn already_exists(res: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", res.id);
        Self::about(409, "AlreadyExists", message, res, name)
    }

    /// 409: a compare-and-set lost.
    pub fn conflict(res: &Resource, name: &str) -> Self {
        Self::conflict_because(
            res,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 with its own reason.
    pub fn conflict_because(res: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", res.id);
        Self::about(409, "Conflict", message, res, name)
    }

    /// 410: the asked-for resourceVersion is no longer known.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 413: too large.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::plain(413, "RequestEntityTooLarge", message)
    }

    /// 415: this body format is not served.
    pub fn unsupported_media(message: impl Into<String>) -> Self {
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// 422: the object breaks rules; one cause a field.
    pub fn invalid(res: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let kind = if res.group.is_empty() {
            res.kind.clone()
        } else {
            format!("{}.{}", res.kind, res.group)
        };
        let mut details = details(&res.group, &res.kind, name);
        details["causes"] = causes(errors);
        let message = format!("{kind} \"{name}\" is invalid: {}", join(errors));
        Self::detailed(422, "Invalid", message, details)
    }

    /// 422 for a patch whose result cannot be decoded.
    pub fn invalid_patch(errors: &[FieldError]) -> Self {
        let message = format!(" \"\" is invalid: {}", join(errors));
        Self::detailed(422, "Invalid", message, json!({ "causes": causes(errors) }))
    }

    /// 500: our own fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::plain(500, "InternalError", message)
    }

    /// 501: known to Kubernetes, not served here.
    pub fn not_implemented(message: impl Into<String>) -> Self {
        Self::plain(501, "NotImplemented", message)
    }

    /// 504: a resourceVersion that lies in the future.
    pub fn future_version(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let details = json!({ "causes": [{ "reason": "ResourceVersionTooLarge",
            "message": "Too large resource version" }], "retryAfterSeconds": 1 });
        Self::detailed(504, "Timeout", message, details)
    }

    /// The `Status` object.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        if let Some(token) = &self.resume {
            status["metadata"]["continue"] = json!(token);
        }
        status
    }
}

/// The `Status` of a deletion that is complete.
pub fn deleted(res: &Resource, name: &str, uid: &str) -> Value {
    let mut details = details(&res.group, &res.plural, name);
    details["uid"] = json!(uid);
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

fn details(group: &str, kind: &str, name: &str) -> Value {
    let mut details = json!({ "kind": kind });
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !group.is_empty() {
        details["group"] = json!(group);
    }
    details
}

/// How many errors of one object are told; that there are more is said.
const MAX_CAUSES: usize = 100;

fn causes(errors: &[FieldError]) -> Value {
    errors
        .iter()
        .take(MAX_CAUSES)
        .map(|e| json!({ "reason": e.reason.as_str(), "message": e.message, "field": e.path }))
        .collect()
}

fn join(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::new();
    for error in errors.iter().take(MAX_CAUSES) {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if errors.len() > MAX_CAUSES {
        texts.push("and more errors".to_owned());
    }
    match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::CauseReason;

    #[test]
    fn the_first_hundred_errors_are_told() {
        let errors = |count: usize| -> Vec<FieldError> {
            let error = |n| FieldError::new(format!("a[{n}]"), CauseReason::Invalid, "bad");
            (0..count).map(error).collect()
        };
        let hundred = Failure::invalid_patch(&errors(100));
        assert!(hundred.message.ends_with("a[99]: bad]"), "{}", hundred.message);
        let more = Failure::invalid_patch(&errors(101));
        assert!(more.message.ends_with("a[99]: bad, and more errors]"), "{}", more.message);
        assert_eq!(more.details.unwrap()["causes"].as_array().unwrap().len(), 100);
    }
}
