//! What went wrong while a source was fetched, from what git printed: one short sentence that says what to do.

use super::{PREFIX, Revision};
use crate::run::retry::format_duration;
use std::time::Duration;

/// Shown of what git printed itself: characters.
const SHOWN_CHARS: usize = 300;
/// What git prints where a commit is not there, or may not be asked for.
const NO_SUCH_COMMIT: [&str; 5] = [
    "not our ref",
    "unadvertised object",
    "not a tree object",
    "not a valid object name",
    "unable to read tree",
];

/// What git was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Anything before its files are written.
    Fetch,
    /// Writing its files.
    Checkout,
}

/// Whether a server gives no commit by its name, so that it is to be found among all branches and tags.
#[must_use]
pub fn must_fetch_all(revision: &Revision, printed: &str) -> bool {
    matches!(revision, Revision::Commit(_)) && printed.contains("request for unadvertised object")
}

/// The repository is above its limit of bytes.
#[must_use]
pub fn too_large(limit_bytes: u64) -> String {
    let shown = match limit_bytes {
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes => format!("{bytes} bytes"),
    };
    format!("{PREFIX}the repository has more than {shown}, the limit for its files and history")
}

/// It took longer than it may.
#[must_use]
pub fn out_of_time(limit: Duration) -> String {
    format!("{PREFIX}the source was not fetched within {}", format_duration(limit))
}

/// Why git failed. `printed` is the end of what it wrote to stderr, which a hostile server may have chosen; `ended` is
/// said where it printed nothing.
#[must_use]
pub fn explain(step: Step, revision: &Revision, printed: &str, ended: &str) -> String {
    if step == Step::Checkout {
        return format!("git checkout: {}", shown(printed, ended));
    }
    let has = |parts: &[&str]| parts.iter().any(|part| printed.contains(part));
    let of_commit = matches!(revision, Revision::Commit(_));
    let is_missing = has(&["couldn't find remote ref"]) || (of_commit && has(&NO_SUCH_COMMIT));
    let sentence = if has(&[
        "could not read Username",
        "could not read Password",
        "Authentication failed",
    ]) {
        "the server asks for credentials, and a Git source has none: the repository is private, or its URL is wrong"
            .to_owned()
    } else if is_missing {
        missing(revision)
    } else if is_of_protocol(printed) {
        "the server redirects to a protocol other than https".to_owned()
    } else if has(&["SSL certificate problem", "certificate verification failed"]) {
        "the certificate of the server is not trusted: KRUNTIMES_SOURCE_CA_BUNDLE of runtimed names the authorities"
            .to_owned()
    } else if has(&["dumb http transport"]) {
        "the server does not speak Git's smart protocol".to_owned()
    } else if has(&["out of memory", "Out of memory"]) {
        "git needs more memory for this repository than it may use".to_owned()
    } else {
        shown(printed, ended)
    };
    format!("{PREFIX}{sentence}")
}

fn missing(revision: &Revision) -> String {
    match revision {
        Revision::Default => "the repository has no default branch".to_owned(),
        Revision::Commit(commit) => format!("the repository has no commit {commit}"),
        Revision::Named(name) => {
            let short =
                (4..40).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_hexdigit());
            let hint = if short { "; a commit must have all its 40 digits" } else { "" };
            format!("the repository has no branch or tag `{name}`{hint}")
        }
    }
}

fn is_of_protocol(printed: &str) -> bool {
    let of_curl = printed.contains("Protocol ")
        && ["disabled", "not supported"].iter().any(|word| printed.contains(word));
    of_curl || (printed.contains("transport '") && printed.contains("not allowed"))
}

/// The last line with which git gave up, harmless and short.
fn shown(printed: &str, ended: &str) -> String {
    let line = |prefix: &str| printed.lines().rev().find_map(|line| line.strip_prefix(prefix));
    let line = line("fatal: ").or_else(|| line("error: ")).unwrap_or(ended);
    let clean: String = without_users(line).chars().filter(|c| !c.is_control()).collect();
    match clean.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &clean[..end]),
        None => clean,
    }
}

/// `scheme://user:password@host` becomes `scheme://host`.
fn without_users(line: &str) -> String {
    let mut parts = line.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end =
            part.find(|c: char| c == '/' || c.is_whitespace() || c == '\'').unwrap_or(part.len());
        let start = part[..end].rfind('@').map_or(0, |at| at + 1);
        clean.push_str("://");
        clean.push_str(&part[start..]);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(revision: &Revision, printed: &str) -> String {
        explain(Step::Fetch, revision, printed, "git ended with exit status 128")
    }

    #[test]
    fn each_failure_says_what_to_do_in_one_sentence() {
        let named = |name: &str| Revision::Named(name.to_owned());
        let commit = Revision::Commit("a".repeat(40));
        let cases = [
            (
                Revision::Default,
                "fatal: could not read Username for 'https://h': terminal prompts disabled\n",
                "the server asks for credentials",
            ),
            (named("x"), "fatal: couldn't find remote ref x\n", "has no branch or tag `x`"),
            (
                named("abc1234"),
                "fatal: couldn't find remote ref abc1234",
                "must have all its 40 digits",
            ),
            (named("abc"), "fatal: couldn't find remote ref abc", "has no branch or tag `abc`"),
            (
                commit.clone(),
                "fatal: remote error: upload-pack: not our ref aa",
                "no commit aaaaaaaa",
            ),
            (commit, "fatal: not a tree object", "no commit aaaaaaaa"),
            (
                Revision::Default,
                "fatal: unable to access 'https://h/': Protocol \"http\" not supported or disabled in libcurl",
                "redirects to a protocol other than https",
            ),
            (
                Revision::Default,
                "fatal: transport 'file' not allowed",
                "a protocol other than https",
            ),
            (
                Revision::Default,
                "fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none",
                "KRUNTIMES_SOURCE_CA_BUNDLE",
            ),
            (
                Revision::Default,
                "fatal: dumb http transport does not support shallow capabilities",
                "smart protocol",
            ),
            (Revision::Default, "fatal: Out of memory, malloc failed", "more memory"),
            (Revision::Default, "remote: hello\n", "git clone: git ended with exit status 128"),
            (
                Revision::Default,
                "error: first\nfatal: repository 'https://h/x/' not found\n",
                "git clone: repository 'https://h/x/' not found",
            ),
        ];
        for (revision, printed, part) in cases {
            let message = of(&revision, printed);
            assert!(message.starts_with("git clone: ") && message.contains(part), "{message}");
            assert!(!message.contains('\n') && message.len() < 300, "{message}");
        }
        let checkout = explain(Step::Checkout, &Revision::Default, "error: no space", "");
        assert_eq!(checkout, "git checkout: no space");
    }

    #[test]
    fn a_hint_stands_only_where_it_fits() {
        let named =
            |name: &str| of(&Revision::Named(name.to_owned()), "fatal: couldn't find remote ref x");
        for (name, hint) in [
            ("abc", false),
            ("abcd", true),
            ("abcg", false),
            (&"a".repeat(39), true),
            (&"a".repeat(40), false),
        ] {
            assert_eq!(named(name).contains("all its 40 digits"), hint, "{name}");
        }
        // What is said of a commit is none of a branch.
        let missing = "fatal: remote error: upload-pack: not our ref aa";
        let branch = of(&Revision::Named("main".to_owned()), missing);
        assert!(!branch.contains("has no"), "{branch}");
        assert!(of(&Revision::Commit("a".repeat(40)), missing).contains("has no commit"));
    }

    #[test]
    fn a_protocol_is_meant_only_where_git_says_so() {
        for (printed, meant) in [
            ("Protocol \"http\" disabled", true),
            ("Protocol \"x\" not supported", true),
            ("Protocol error", false),
            ("the feature is disabled", false),
            ("transport 'file' not allowed", true),
            ("transport 'file' failed", false),
            ("not allowed", false),
        ] {
            assert_eq!(is_of_protocol(printed), meant, "{printed}");
        }
    }

    #[test]
    fn no_user_is_shown_whatever_ends_the_host() {
        for (line, clean) in [
            ("https://a:b@h/x@y", "https://h/x@y"),
            ("https://a:b@h x@y", "https://h x@y"),
            ("'https://a:b@h' x@y", "'https://h' x@y"),
            ("a@b", "a@b"),
        ] {
            assert_eq!(without_users(line), clean);
        }
    }

    #[test]
    fn what_a_server_printed_is_cut_and_cleaned() {
        let long = format!("fatal: \x1b[31m{}", "é".repeat(1000));
        let message = of(&Revision::Default, &long);
        assert!(!message.contains('\x1b') && message.ends_with("é..."), "{message}");
        assert_eq!(message.chars().count(), PREFIX.len() + SHOWN_CHARS + 3);
        let exact = format!("fatal: {}", "é".repeat(SHOWN_CHARS));
        assert!(!of(&Revision::Default, &exact).ends_with("..."));
        let secret = "fatal: unable to access 'https://me:s3cret@h/x': no route; see http://u@v@w";
        let message = of(&Revision::Default, secret);
        assert_eq!(message, "git clone: unable to access 'https://h/x': no route; see http://w");
    }

    #[test]
    fn all_is_fetched_only_for_a_commit_that_may_not_be_asked_for() {
        let printed = "error: Server does not allow request for unadvertised object aa";
        let commit = Revision::Commit("a".repeat(40));
        assert!(must_fetch_all(&commit, printed));
        assert!(!must_fetch_all(&commit, "fatal: not our ref"));
        assert!(!must_fetch_all(&Revision::Named("x".to_owned()), printed));
    }

    #[test]
    fn limits_are_named_as_people_write_them() {
        assert!(too_large(100 << 20).contains("more than 100 MiB"));
        assert!(too_large(1000).contains("more than 1000 bytes"));
        assert_eq!(
            out_of_time(Duration::from_secs(30)),
            "git clone: the source was not fetched within 30s"
        );
    }
}
