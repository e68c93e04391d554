//! Git sources: the CRD admits what may be fetched, and nothing else.

use super::{errors, run, schema, source};
use kruntimes_rules::source::GitSource;

const URLS: [&str; 26] = [
    "https://h",
    "https://h/",
    "https://a.b-c:8443/x.git?q#z@",
    "https://[::1]:1/x",
    "http://h/x",
    "HTTPS://h/x",
    "ssh://git@h/x",
    "git@h:x",
    "file:///etc",
    "/etc",
    "ext::sh -c true",
    "-x",
    "",
    "https://me:secret@h/x",
    "https://me@h",
    "https://",
    "https:///x",
    "https://-h/x",
    "https://h/a b",
    "https://h/a\nb",
    "https://h/\0",
    "https://h\\x/",
    "https://h?x",
    "https://h/é",
    "x\nhttps://h/x",
    "https://h/x\n",
];

const REVISIONS: [&str; 32] = [
    "main",
    "v1.0",
    "feature/a-b_c",
    "refs/pull/1/head",
    "é",
    "@",
    "a@b",
    "0123456",
    "",
    "-x",
    "+x",
    "--upload-pack=true",
    "/x",
    "x/",
    "x.",
    "a..b",
    "a//b",
    "a@{1}",
    "a b",
    "a\nb",
    "a\tb",
    "a~1",
    "a^",
    "a:b",
    "a?",
    "a*",
    "[a",
    "a]",
    "a\\b",
    "a\u{7f}",
    "\0",
    "main\n",
];

/// The CRD and the rules that runtimed asks before a fetch say the same of every URL and revision.
#[test]
fn a_source_is_admitted_if_and_only_if_it_may_be_fetched() {
    let schema = schema("kruntimes.io_runs.yaml");
    let pairs =
        URLS.map(|url| (url, None)).into_iter().chain(REVISIONS.map(|r| ("https://h", Some(r))));
    let (mut admitted, mut refused) = (0, 0);
    for (url, revision) in pairs {
        let spec = source(url, revision);
        let rules = GitSource::of(&serde_json::from_value(spec["source"].clone()).unwrap());
        let errors = errors(&schema, run(spec));
        assert_eq!(errors.is_empty(), rules.is_ok(), "{url:?} {revision:?}: {errors}");
        assert!(!errors.contains("secret"), "{errors}");
        assert!(errors.lines().count() <= 1, "one message a fault: {errors}");
        if errors.is_empty() { admitted += 1 } else { refused += 1 }
    }
    assert_eq!((admitted, refused), (13, 45));
}
