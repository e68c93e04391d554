//! The CEL rules of `spec.source`: what a Git source may name. `rules::source` checks the same again before a fetch.

use super::rule::{Rule, add};
use serde_json::Value;

pub(super) fn add_run(root: &mut Value) {
    add(
        root,
        "spec.source",
        Rule::new(
            "!(has(self.inline) && has(self.repoURL))",
            "inline and repoURL exclude each other: set one of them",
        ),
    );
    add(
        root,
        "spec.source",
        Rule::new("!has(self.commitSHA) || has(self.repoURL)", "commitSHA needs repoURL")
            .field("commitSHA"),
    );
    add_url(root);
    add_revision(root);
}

/// One message a fault, and none repeats the value: it may hold a password.
fn add_url(root: &mut Value) {
    let https = "self.startsWith('https://')";
    let user = "self.matches('^https://[^/?#]*@')";
    let whole = r"self.matches('^https://[A-Za-z0-9\\[][A-Za-z0-9.:\\[\\]-]*(/[!-~]*)?$')";
    for (rule, message) in [
        (https.to_owned(), "must begin with https://: nothing else is fetched"),
        (
            format!("!{user}"),
            "must not name a user or a password: everybody who sees the Run would read them",
        ),
        (
            format!("!{https} || {user} || {whole}"),
            "must be https://host/path in ASCII, without spaces",
        ),
    ] {
        add(root, "spec.source.repoURL", Rule::new(&rule, message));
    }
}

fn add_revision(root: &mut Value) {
    let rule = r"self.matches('^[^-+/\\x00-\\x20\\x7f~^:?*\\[\\\\][^\\x00-\\x20\\x7f~^:?*\\[\\\\]*$')
        && !self.contains('..') && !self.contains('@{') && !self.contains('//')
        && !self.endsWith('/') && !self.endsWith('.')";
    let message = "must be a branch, a tag or a full commit: no leading -, + or /, no spaces, no backslash, none of ~ ^ : ? * [ .. @{ //, no / or . at the end";
    add(root, "spec.source.commitSHA", Rule::new(rule, message).with_value());
}
