//! Git sources: what may be fetched, the commands that fetch it, what a listing says of its size, what went wrong.
//!
//! Everything of a source is hostile: its URL and revision come from a Run, all that git prints from a server.

mod explain;
pub mod git;
pub mod listing;
#[cfg(test)]
mod tests;

pub use explain::{Step, explain, must_fetch_all, out_of_time, too_large};

use kruntimes_api::{Source, limits};
use thiserror::Error;

/// What the message of each failure begins with, as users of the API know it.
pub(crate) const PREFIX: &str = "git clone: ";

/// A Git source that may be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    url: String,
    revision: Revision,
}

/// What of a repository is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revision {
    /// Its default branch.
    Default,
    /// A branch or a tag.
    Named(String),
    /// A commit, in full.
    Commit(String),
}

/// Why a source is not fetched. No message repeats the URL: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SourceError {
    /// Another protocol, or none.
    #[error("git clone: spec.source.repoURL must begin with https://: nothing else is fetched")]
    Protocol,
    /// Credentials in the URL.
    #[error("git clone: spec.source.repoURL must not name a user or a password")]
    User,
    /// No host, or characters that do not belong into a URL.
    #[error(
        "git clone: spec.source.repoURL must be https://host/path in ASCII, without spaces, of at most {} characters",
        limits::REPO_URL_CHARS
    )]
    Url,
    /// Nothing that git would take for one name.
    #[error(
        "git clone: spec.source.commitSHA must be a branch, a tag or a full commit of at most {} characters",
        limits::COMMIT_SHA_CHARS
    )]
    Revision,
    /// A revision of nothing.
    #[error("git clone: spec.source.commitSHA needs spec.source.repoURL")]
    NoUrl,
}

impl GitSource {
    /// The Git source that `source` names, if it names one.
    ///
    /// # Errors
    /// When it may not be fetched. The CRD refuses the same; an object may be older than its rules.
    pub fn of(source: &Source) -> Result<Option<Self>, SourceError> {
        let Some(url) = &source.repo_url else {
            return if source.commit_sha.is_some() { Err(SourceError::NoUrl) } else { Ok(None) };
        };
        check_url(url)?;
        let revision = match &source.commit_sha {
            None => Revision::Default,
            Some(revision) => Revision::of(revision).ok_or(SourceError::Revision)?,
        };
        Ok(Some(Self { url: url.clone(), revision }))
    }

    /// What is wanted of it.
    #[must_use]
    pub fn revision(&self) -> &Revision {
        &self.revision
    }
}

impl Revision {
    fn of(text: &str) -> Option<Self> {
        let strange =
            |c: char| c <= ' ' || matches!(c, '\x7f' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
        let named = !text.is_empty()
            && text.chars().count() <= limits::COMMIT_SHA_CHARS as usize
            && !text.starts_with(['-', '+', '/'])
            && !text.ends_with(['/', '.'])
            && !["..", "@{", "//"].iter().any(|part| text.contains(part))
            && !text.contains(strange);
        if !named {
            return None;
        }
        let full = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(if full {
            Self::Commit(text.to_ascii_lowercase())
        } else {
            Self::Named(text.to_owned())
        })
    }
}

fn check_url(url: &str) -> Result<(), SourceError> {
    let rest = url.strip_prefix("https://").ok_or(SourceError::Protocol)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(SourceError::User);
    }
    let host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '[' | ']' | '-');
    let fits = url.len() <= limits::REPO_URL_CHARS as usize
        && authority.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && authority.chars().all(host)
        && (rest.len() == authority.len() || rest[authority.len()..].starts_with('/'))
        && url.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(()) } else { Err(SourceError::Url) }
}
