//! The shape of amounts by resource, the same in a Runtime's capacity and in a Run's requests.
//!
//! The rules are written so that kube-apiserver can bound their cost: no regular expression and no conversion to text
//! on a value whose length the schema does not bound.

use super::rule::{Rule, add, at};
use crate::limits;
use serde_json::{Value, json};

/// Digits, or digits with a factor; never a fraction, a sign or an exponent.
const PATTERN: &str = "^(0|[1-9][0-9]{0,15})(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$";
const BYTES: &str = "^[1-9][0-9]{0,15}(k|M|G|T|Ki|Mi|Gi|Ti)?$";
const NAME: &str = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$";

/// Limits the amount of bytes at `path`.
pub(super) fn bytes(root: &mut Value, path: &str) {
    let schema = at(root, path);
    let description = schema["description"].take();
    *schema = json!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": true,
        "pattern": BYTES,
        "minimum": 1,
        "maximum": limits::RESOURCE_AMOUNT,
        "description": description,
    });
}

/// Limits the map of amounts at `path`.
pub(super) fn limit(root: &mut Value, path: &str) {
    let schema = at(root, path);
    schema["maxProperties"] = json!(limits::RESOURCE_ITEMS);
    schema["additionalProperties"] = json!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": true,
        "pattern": PATTERN,
        "minimum": 0,
        "maximum": limits::RESOURCE_AMOUNT,
    });
    let (chars, runs) = (limits::RESOURCE_NAME_CHARS, limits::CAPACITY_RUNS);
    add(
        root,
        path,
        Rule::new(
            &format!("self.all(name, name.size() <= {chars} && name.matches('{NAME}'))"),
            &format!(
                "the name of a resource must be letters and digits, with '-', '_' and '.' between, at most {chars} \
                characters"
            ),
        ),
    );
    add(
        root,
        path,
        Rule::new(
            &format!(
                "!('runs' in self) || (int(self['runs']) >= 1 && int(self['runs']) <= {runs})"
            ),
            &format!("runs must be an integer from 1 to {runs}"),
        )
        .field("runs"),
    );
}
