//! Who may call: only who knows the control token that runtimed wrote to a place that no Run can read.

use kruntimes_proto::TOKEN_METADATA;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tonic::{Request, Status};

/// Checks the token of each call. The file is read again whenever the call's token is not the one known, since a
/// restarted runtimed writes a new one.
#[derive(Debug, Clone)]
pub(crate) struct TokenCheck {
    path: PathBuf,
    known: Arc<Mutex<Vec<u8>>>,
}

impl TokenCheck {
    pub(crate) fn new(control: &Path) -> Self {
        Self { path: control.join("token"), known: Arc::default() }
    }

    pub(crate) fn check(&self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(given) = request.metadata().get(TOKEN_METADATA) else {
            return Err(Status::unauthenticated(format!("metadata {TOKEN_METADATA} is missing")));
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if is_equal(&known, given.as_bytes()) {
            return Ok(request);
        }
        let Ok(content) = std::fs::read(&self.path) else {
            return Err(Status::unauthenticated("there is no control token yet"));
        };
        *known = content.trim_ascii().to_owned();
        if is_equal(&known, given.as_bytes()) {
            return Ok(request);
        }
        Err(Status::unauthenticated(format!("metadata {TOKEN_METADATA} is not the control token")))
    }
}

/// Takes the same time wherever the two differ. An empty token equals nothing.
fn is_equal(token: &[u8], given: &[u8]) -> bool {
    let difference =
        token.iter().zip(given).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
    !token.is_empty() && token.len() == given.len() && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_equal() {
        let cases: [(&[u8], &[u8], bool); 6] = [
            (b"abc", b"abc", true),
            (b"abc", b"abd", false),
            (b"abc", b"ab", false),
            (b"abc", b"abcd", false),
            (b"", b"", false),
            (b"", b"a", false),
        ];
        for (token, given, expected) in cases {
            assert_eq!(is_equal(token, given), expected, "{token:?} {given:?}");
        }
    }
}
