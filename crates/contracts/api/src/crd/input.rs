//! The CEL rules of `spec.inputs`. `rules::artifact::input` checks the same again before anything is read.

use super::rule::{Rule, add};
use serde_json::Value;

pub(super) fn add_run(root: &mut Value) {
    add(
        root,
        "spec.inputs[]",
        Rule::new(
            "has(self.fromRun) != has(self.ref)",
            "an input needs fromRun or ref, and not both",
        ),
    );
    add(
        root,
        "spec.inputs[]",
        Rule::new(
            "!has(self.ref) || (self.ref.name == self.name && has(self.ref.digest))",
            "must be an entry of status.artifactRefs of this name, with its digest",
        )
        .field("ref"),
    );
    let control = r"[\\x00-\\x1f\\x7f]";
    add(
        root,
        "spec.inputs[].name",
        Rule::new(
            &format!(r"!self.matches('[/\\\\]|{control}') && self != '.' && self != '..'"),
            "must be the name of an artifact: no '/', no backslash, no control characters",
        ),
    );
    add(
        root,
        "spec.inputs[].path",
        Rule::new(
            &format!(
                r"!self.split('/').exists(part, part == '' || part == '.' || part == '..') && !self.matches('\\\\|{control}')"
            ),
            "must be a path inside the working directory: no '/' at its ends, no '//', '.' or '..', no backslash, no control characters",
        ),
    );
    add(
        root,
        "spec.inputs",
        Rule::new(
            "self.all(one, self.exists_one(other,
                (has(other.path) ? other.path : other.name) == (has(one.path) ? one.path : one.name)))",
            "each input needs a path of its own",
        ),
    );
}
