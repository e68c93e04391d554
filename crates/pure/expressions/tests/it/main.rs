//! The language as a Workflow's author meets it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod bash;
mod conditions;
mod errors;
mod github;
mod limits;
mod matrix;
mod names;
mod page;
mod random;
mod references;
mod script;
mod values;

use kruntimes_expressions::{ExpressionError, Template};
use serde_json::{Value, json};

/// The value of the text of one expression in a small world.
fn evaluate(expression: &str) -> Result<Value, ExpressionError> {
    Template::parse(&format!("${{{{ {expression} }}}}"))?.evaluate(&world())
}

fn world() -> Value {
    json!({
        "env": {"CI": "true", "EMPTY": ""},
        "inputs": {"n": 3, "on": true, "off": false, "name": "Ada", "nothing": null, "true": "yes"},
        "matrix": {"os": "linux", "python-version": "3.12", "list": [1, 2]},
        "needs": {"plan": {"outputs": {"list": "[\"a\",\"b\"]", "a.b": "dotted", "x": "X"}}},
        "steps": {
            "build": {"outputs": {"version": "1.2", "n": "10", "1st": "first"}, "outcome": "success"},
            "1st": {"outputs": {"ok": "yes"}},
        },
        "workflow": {
            "fruits": [{"name": "apple", "tags": ["red", "green"]}, {"name": "pear", "tags": ["green"]}, {"size": 3}],
            "boxes": {"left": {"name": "l"}, "right": {"name": "r"}},
        },
    })
}
