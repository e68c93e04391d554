//! What a command answers when it fails: lines for stderr and an exit code.
//!
//! A refusal by the API server gives one line per cause, each with the field, the value and the limit.

use std::error::Error;

/// The system failed, or nothing could start.
pub(crate) const SYSTEM: u8 = 125;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to print, each line after `error: `.
    pub(crate) lines: Vec<String>,
    /// The exit code, when it is not the command's usual one.
    pub(crate) code: Option<u8>,
}

impl Failure {
    /// A failure with one line.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], code: None }
    }

    /// The command line asks for something that is not possible.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], code: Some(USAGE) }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = &error else {
            let unreachable = matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_));
            let error = chain(&error);
            return Self::new(if unreachable {
                format!("can't reach the API server: {error}")
            } else {
                error
            });
        };
        let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
        let lines: Vec<String> = causes
            .iter()
            .filter(|cause| !cause.message.is_empty())
            .map(|cause| {
                if cause.field.is_empty() {
                    cause.message.clone()
                } else {
                    format!("{}: {}", cause.field, cause.message)
                }
            })
            .collect();
        if !lines.is_empty() {
            return Self { lines, code: None };
        }
        let message = if status.message.is_empty() { &status.reason } else { &status.message };
        Self::new(message.clone())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(chain(error.as_ref()))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// An error and its sources in one line; a source that its parent's text already holds is left out.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let part = inner.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use kube::core::Status;

    fn refusal(details: &serde_json::Value) -> kube::Error {
        let status: Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "code": 422, "reason": "Invalid", "message": "Run \"x\" is invalid", "details": details,
        }))
        .unwrap();
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn each_cause_is_a_line_with_its_field() {
        let failure = Failure::from(refusal(&serde_json::json!({"causes": [
            {"reason": "FieldValueInvalid", "field": "spec.entrypoint", "message": "Invalid value: \"/x\": is absolute"},
            {"reason": "FieldValueTooMany", "field": "spec.args", "message": "Too many: 257: must have at most 256 items"},
        ]})));
        assert_eq!(
            failure.lines,
            [
                "spec.entrypoint: Invalid value: \"/x\": is absolute",
                "spec.args: Too many: 257: must have at most 256 items",
            ]
        );
    }

    #[test]
    fn without_causes_the_message_is_the_line() {
        let failure = Failure::from(refusal(&serde_json::json!({"name": "x"})));
        assert_eq!(failure.lines, ["Run \"x\" is invalid"]);
    }
}
