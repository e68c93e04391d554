//! The git commands that fetch a source, and the environment they run in.
//!
//! Invariant: nothing of a Run stands where git reads an option, and no command executes or fetches what a repository
//! names: no hook, filter, submodule, credential helper or protocol but https.

use super::{GitSource, Revision};
use std::path::Path;

/// The directory that the source is fetched into, below the one that commands run in.
pub const DIRECTORY: &str = "repo";
/// A depth that git takes for all of a history.
const WHOLE: &str = "--depth=2147483647";
/// What holds a transfer that stands still no longer than the fetch may take, whoever still lives to kill it.
const STALLED_SECONDS: &str = "http.lowSpeedTime=30";

/// The settings of every command. They stand in front of the command and hold for its helpers too.
const SETTINGS: &[&str] = &[
    "protocol.allow=never",
    "protocol.https.allow=always",
    "http.followRedirects=initial",
    "http.lowSpeedLimit=1",
    STALLED_SECONDS,
    "credential.helper=",
    "core.askPass=",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.bigFileThreshold=1m",
    "core.deltaBaseCacheLimit=16m",
    "pack.threads=1",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    // One pack file, whatever its size: the limit on a file's size is the limit of the transfer.
    "fetch.unpackLimit=1",
    "transfer.bundleURI=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "init.defaultBranch=main",
];

/// The environment of every command; nothing else reaches it. `home` is an empty directory, `search_path` finds git.
#[must_use]
pub fn environment(
    home: &Path,
    search_path: &str,
    ca_bundle: Option<&Path>,
) -> Vec<(&'static str, String)> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut environment = vec![
        ("PATH", search_path.to_owned()),
        ("HOME", text(home)),
        ("TMPDIR", text(home)),
        ("LC_ALL", "C".to_owned()),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".to_owned()),
        ("GIT_ATTR_NOSYSTEM", "1".to_owned()),
        ("GIT_CEILING_DIRECTORIES", text(home)),
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
        ("GIT_ALLOW_PROTOCOL", "https".to_owned()),
        ("GIT_LFS_SKIP_SMUDGE", "1".to_owned()),
    ];
    environment.extend(ca_bundle.map(|bundle| ("GIT_SSL_CAINFO", text(bundle))));
    environment
}

/// Makes the empty repository.
#[must_use]
pub fn init() -> Vec<String> {
    command(&["init", "--quiet", "--template=", DIRECTORY])
}

/// Names the place that it is fetched from, for those who fetch more later.
#[must_use]
pub fn remember(source: &GitSource) -> Vec<String> {
    inside(&["remote", "add", "--", "origin", &source.url])
}

/// Fetches what is wanted, and no more.
#[must_use]
pub fn fetch(source: &GitSource) -> Vec<String> {
    // The plus keeps a name from being read as anything but a name.
    let wanted = match &source.revision {
        Revision::Default => "+HEAD".to_owned(),
        Revision::Named(name) | Revision::Commit(name) => format!("+{name}"),
    };
    fetching("--depth=1", source, &[&wanted])
}

/// Fetches every branch and tag with its history: for servers that give no commit by its name.
#[must_use]
pub fn fetch_all(source: &GitSource) -> Vec<String> {
    fetching(WHOLE, source, &["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"])
}

/// Lists the files of what was fetched, for [`super::listing::Listing`].
#[must_use]
pub fn list(source: &GitSource) -> Vec<String> {
    inside(&["ls-tree", "-r", "-l", "-z", "--full-tree", fetched(source)])
}

/// Writes the files of what was fetched.
#[must_use]
pub fn checkout(source: &GitSource) -> Vec<String> {
    inside(&["checkout", "--quiet", "--detach", fetched(source), "--"])
}

fn fetched(source: &GitSource) -> &str {
    match &source.revision {
        Revision::Default | Revision::Named(_) => "FETCH_HEAD",
        Revision::Commit(commit) => commit,
    }
}

fn fetching(depth: &str, source: &GitSource, wanted: &[&str]) -> Vec<String> {
    let options =
        ["fetch", "--quiet", depth, "--no-tags", "--no-recurse-submodules", "--", &source.url];
    inside(&[&options, wanted].concat())
}

fn inside(words: &[&str]) -> Vec<String> {
    command(&[&["-C", DIRECTORY], words].concat())
}

fn command(words: &[&str]) -> Vec<String> {
    let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
    settings.chain(words.iter().copied()).map(str::to_owned).collect()
}
