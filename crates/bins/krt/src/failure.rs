//! What a command answers when it fails: lines for stderr and an exit code.
//!
//! The rule of the codes: 2 when the command line itself is wrong, which krt knows without looking at anything else; 125
//! when what krt looked at (a file, a kubeconfig, an API server) did not do its part. `krt local status` and `krt
//! doctor` answer a question: 1 is their no. `krt run` ends with the Run's own code, 124 and 130 besides.

use kube::core::Status;
use std::error::Error;
use std::io;

/// The system failed, or nothing could start.
pub(crate) const SYSTEM: u8 = 125;
/// The command line is wrong.
pub(crate) const USAGE: u8 = 2;
/// The answer to a question is no.
pub(crate) const NO: u8 = 1;

/// The longest text of an API server that is shown.
const SHOWN_CHARS: usize = 400;

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to print, each line after `error: `.
    pub(crate) lines: Vec<String>,
    /// The exit code.
    pub(crate) code: u8,
}

impl Failure {
    /// The system's failure, with one line.
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], code: SYSTEM }
    }

    /// The command line asks for something that is not possible.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self { lines: vec![line.into()], code: USAGE }
    }

    /// Says which API server it was, where a line speaks of one.
    pub(crate) fn of_server(mut self, url: &str) -> Self {
        for line in &mut self.lines {
            if let Some(rest) = line.strip_prefix("the API server ") {
                *line = format!("the API server {url} {rest}");
            }
        }
        self
    }
}

impl From<kube::Error> for Failure {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "kube may add errors: they read like the rest"
    )]
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => Self { lines: refusal(status), code: SYSTEM },
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::new(
                "the API server answers with something else than the Kubernetes API: name another \
                 --server or --context",
            ),
            kube::Error::Auth(cause) => {
                Self::new(format!("can't get the credentials of the kubeconfig: {}", chain(cause)))
            }
            _ => match unreachable(&error) {
                Some(why) => Self::new(format!(
                    "the API server can't be reached: {why}: start it, or name another --context"
                )),
                None => Self::new(chain(&error)),
            },
        }
    }
}

/// A refusal by the API server: a line for each cause with the field, the value and the limit.
fn refusal(status: &Status) -> Vec<String> {
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    // A cause without a field only says that there may be more, once these are mended.
    let alone = causes.len() == 1;
    let lines: Vec<String> = causes
        .iter()
        .filter(|cause| !cause.message.is_empty() && (alone || cause.field != "<nil>"))
        .map(|cause| {
            if cause.field.is_empty() {
                cause.message.clone()
            } else {
                format!("{}: {}", cause.field, cause.message)
            }
        })
        .collect();
    if !lines.is_empty() {
        return lines;
    }
    let message = if status.message.is_empty() { &status.reason } else { &status.message };
    let first = message.lines().next().unwrap_or_default();
    let message: String = first.chars().take(SHOWN_CHARS).collect();
    let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    let kind = status.details.as_ref().map_or("", |details| details.kind.as_str());
    vec![match status.code {
        401 => format!(
            "the API server does not accept the credentials ({message}): log in again, or name others with \
             --user or --token"
        ),
        403 => format!("{message}: ask for the right, or name another --user or --context"),
        404 if kind == "namespaces" => {
            format!("{message}: create it, or name another one with --namespace")
        }
        404 if kind == "runs" => format!("{message}: krt list shows what there is"),
        404 if kind == "runtimes" => format!("{message}: krt runtime list shows what there is"),
        404 if kind == "workflows" => format!("{message}: krt workflow list shows what there is"),
        404 if !named => {
            "the API server has no Runs: install kruntimes there, name another --context, or use \
                          --local"
                .to_owned()
        }
        code @ 500.. => format!("the API server failed ({code}): {message}"),
        _ => message,
    }]
}

/// Why there was no answer at all, in few words.
fn unreachable(error: &kube::Error) -> Option<String> {
    if !matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_)) {
        return None;
    }
    let mut at: Option<&(dyn Error + 'static)> = Some(error);
    let mut last = error.to_string();
    while let Some(error) = at {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(of_tls(tls));
        }
        // An `io::Error` may hold the error of TLS and does not name it as its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(of_tls(tls));
        }
        last = error.to_string();
        at = error.source();
    }
    Some(without_number(&last))
}

fn of_tls(error: &rustls::Error) -> String {
    let unknown_issuer = rustls::CertificateError::UnknownIssuer;
    if *error == rustls::Error::InvalidCertificate(unknown_issuer) {
        "its certificate is not signed by the certificate authority of the kubeconfig".to_owned()
    } else {
        format!("TLS: {error}")
    }
}

/// A system's error without its number, which says nothing to people.
pub(crate) fn without_number(text: &str) -> String {
    match text.rfind(" (os error ") {
        Some(at) if text.ends_with(')') => text[..at].to_owned(),
        Some(_) | None => text.to_owned(),
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(chain(error.as_ref()))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(without_number(&error.to_string()))
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
    without_number(&text.replace('\n', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str, details: &serde_json::Value) -> Failure {
        let status: Status = serde_json::from_value(serde_json::json!({
            "status": "Failure", "code": code, "reason": "Invalid", "message": message, "details": details,
        }))
        .unwrap();
        kube::Error::Api(Box::new(status)).into()
    }

    #[test]
    fn each_cause_is_a_line_with_its_field() {
        let failure = refused(
            422,
            "Run \"x\" is invalid",
            &serde_json::json!({"causes": [
                {"reason": "FieldValueInvalid", "field": "spec.entrypoint", "message": "Invalid value: \"/x\": is absolute"},
                {"reason": "FieldValueTooMany", "field": "spec.args", "message": "Too many: 257: must have at most 256 items"},
            ]}),
        );
        assert_eq!(
            failure.lines,
            [
                "spec.entrypoint: Invalid value: \"/x\": is absolute",
                "spec.args: Too many: 257: must have at most 256 items",
            ]
        );
        assert_eq!(failure.code, SYSTEM);
    }

    #[test]
    fn without_causes_the_message_is_the_line() {
        let failure = refused(422, "Run \"x\" is invalid", &serde_json::json!({"name": "x"}));
        assert_eq!(failure.lines, ["Run \"x\" is invalid"]);
    }

    #[test]
    fn what_is_no_answer_of_the_api_is_cut_to_a_line() {
        let page = format!("<html>{}\n</html>", "x".repeat(1000));
        let failure = refused(502, &page, &serde_json::Value::Null);
        assert_eq!(failure.lines.len(), 1);
        assert!(failure.lines[0].starts_with("the API server failed (502): <html>xxx"));
        assert!(failure.lines[0].len() < 500, "{}", failure.lines[0]);
    }

    #[test]
    fn a_line_of_the_server_names_it() {
        let failure = refused(401, "Unauthorized", &serde_json::Value::Null);
        let failure = failure.of_server("https://h:1");
        assert!(
            failure.lines[0].starts_with("the API server https://h:1 does not accept"),
            "{}",
            failure.lines[0]
        );
    }

    #[test]
    fn numbers_of_system_errors_are_left_out() {
        assert_eq!(without_number("No such file (os error 2)"), "No such file");
        assert_eq!(without_number("(os error 2) at x"), "(os error 2) at x");
    }
}
