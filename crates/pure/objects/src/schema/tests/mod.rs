//! Tables for each keyword, on both sides of each limit.
mod defaulting;
mod keywords;
mod pruning;
mod refused;
mod rules;
mod run;

use super::{FieldError, Schema};
use serde_json::{Value, json};

/// A schema whose `spec` has these properties.
fn with_spec(properties: &Value) -> Schema {
    compiled(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}),
    )
}

fn compiled(openapi: &Value) -> Schema {
    Schema::compile(openapi).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(FieldError::to_string).collect()
}

/// The errors of one field of `spec`.
fn refused(property: &Value, value: &Value) -> Vec<String> {
    let schema = with_spec(&json!({"x": property}));
    texts(&schema.validate(&json!({"spec": {"x": value}}), None))
}
