//! Which sources may be fetched, and what the commands look like.

use super::*;
use std::path::Path;

fn source(url: &str, revision: Option<&str>) -> Source {
    Source {
        inline: None,
        repo_url: Some(url.to_owned()),
        commit_sha: revision.map(ToOwned::to_owned),
    }
}

fn check(url: &str, revision: Option<&str>) -> Result<GitSource, SourceError> {
    GitSource::of(&source(url, revision)).map(|found| found.expect("it names a URL"))
}

#[test]
fn only_https_without_a_user_is_fetched() {
    let long = format!("https://h/{}", "x".repeat(2048 - "https://h/".len()));
    for url in
        ["https://h", "https://h/", "https://a.b-c:8443/x/y.git?q#z@", "https://[::1]:1/x", &long]
    {
        assert!(check(url, None).is_ok(), "{url}");
    }
    let longer = format!("{long}x");
    for (url, error) in [
        ("http://h/x", SourceError::Protocol),
        ("HTTPS://h/x", SourceError::Protocol),
        ("ssh://git@h/x", SourceError::Protocol),
        ("git@h:x", SourceError::Protocol),
        ("file:///etc", SourceError::Protocol),
        ("/etc", SourceError::Protocol),
        ("ext::sh -c true", SourceError::Protocol),
        ("--upload-pack=true", SourceError::Protocol),
        ("", SourceError::Protocol),
        ("https://me:secret@h/x", SourceError::User),
        ("https://me@h", SourceError::User),
        ("https://", SourceError::Url),
        ("https:///x", SourceError::Url),
        ("https://-h/x", SourceError::Url),
        ("https://h/a b", SourceError::Url),
        ("https://h/a\nb", SourceError::Url),
        ("https://h\\x/", SourceError::Url),
        ("https://h?x", SourceError::Url),
        ("https://h/é", SourceError::Url),
        (&longer, SourceError::Url),
    ] {
        assert_eq!(check(url, None), Err(error), "{url}");
        let message = error.to_string();
        assert!(!message.contains("secret") && message.starts_with(PREFIX), "{message}");
    }
}

#[test]
fn a_revision_is_one_name_or_a_full_commit() {
    let commit = "0123456789abcdef0123456789ABCDEF01234567";
    let revision = |text: &str| check("https://h", Some(text)).map(|found| found.revision);
    assert_eq!(revision(commit), Ok(Revision::Commit(commit.to_lowercase())));
    let longest = "x".repeat(256);
    for name in [
        "main",
        "v1.0",
        "feature/a-b_c",
        "refs/pull/1/head",
        "é",
        "@",
        "a@b",
        &commit[..39],
        &longest,
    ] {
        assert_eq!(revision(name), Ok(Revision::Named(name.to_owned())));
    }
    let longer = "x".repeat(257);
    for wrong in [
        "",
        "-x",
        "--upload-pack=true",
        "+x",
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
        "a\\b",
        "a\x7f",
        "\0",
        &longer,
    ] {
        assert_eq!(revision(wrong), Err(SourceError::Revision), "{wrong:?}");
    }
    let without = Source { repo_url: None, ..source("", Some("main")) };
    assert_eq!(GitSource::of(&without), Err(SourceError::NoUrl));
    assert_eq!(GitSource::of(&Source::default()), Ok(None));
}

#[test]
fn nothing_of_a_run_stands_where_git_reads_options() {
    let source = check("https://h/x", Some("main")).unwrap();
    for command in [git::fetch(&source), git::fetch_all(&source), git::remember(&source)] {
        let end = command.iter().position(|word| word == "--").unwrap();
        assert!(command[..end].iter().all(|word| !word.contains("https://h") && word != "main"));
        assert!(command[end + 1..].iter().any(|word| word == "https://h/x"), "{command:?}");
    }
    assert_eq!(git::fetch(&source).last().unwrap(), "+main");
    assert!(git::fetch(&source).contains(&"--depth=1".to_owned()));
    assert!(git::list(&source).contains(&"FETCH_HEAD".to_owned()));
    let commit = check("https://h/x", Some(&"a".repeat(40))).unwrap();
    assert!(git::checkout(&commit).contains(&"a".repeat(40)));
    assert_eq!(git::fetch(&check("https://h/x", None).unwrap()).last().unwrap(), "+HEAD");
    assert!(git::init().windows(2).any(|pair| pair == ["-c", "protocol.allow=never"]));
}

#[test]
fn the_environment_has_no_configuration_but_ours() {
    let without = git::environment(Path::new("/h"), "/bin", None);
    assert!(without.contains(&("GIT_CONFIG_GLOBAL", "/dev/null".to_owned())));
    assert!(without.iter().all(|(name, _)| *name != "GIT_SSL_CAINFO"));
    let with = git::environment(Path::new("/h"), "/bin", Some(Path::new("/ca.pem")));
    assert!(with.contains(&("GIT_SSL_CAINFO", "/ca.pem".to_owned())));
}
