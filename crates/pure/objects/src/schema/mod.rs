//! The structural schema of one CRD version: pruning, defaulting and validation, with kube-apiserver's meaning and texts.
mod compile;
mod correlate;
mod declare;
mod defaults;
mod embedded;
mod error;
mod fieldpath;
mod format;
mod gofmt;
mod lists;
mod node;
mod number;
mod path;
mod prune;
mod rule;
mod rules;
mod structure;
#[cfg(test)]
mod tests;

pub use error::{CauseReason, FieldError};
pub use gofmt::go_float;
use serde_json::Value;

/// A compiled structural schema.
#[derive(Debug)]
pub struct Schema {
    root: node::Node,
}

impl Schema {
    /// Compiles `openAPIV3Schema`, rules included; what is not structural or not served is refused by name.
    pub fn compile(openapi: &Value) -> Result<Self, Vec<FieldError>> {
        compile::compile(openapi).map(|root| Self { root })
    }

    /// Removes unknown fields and names them, e.g. `spec.env[0].y`; `apiVersion`, `kind` and `metadata` stay.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(&self.root, object)
    }

    /// Drops nulls that the schema refuses and fills in defaults, inside defaulted parents too.
    pub fn default(&self, object: &mut Value) {
        defaults::apply(object, &self.root);
    }

    /// Validates a pruned and defaulted object; with `old`, as an update of it.
    pub fn validate(&self, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
        let errors = structure::check(&self.root, new, old, "");
        self.finish(errors, new, old)
    }

    /// Validates an update through the status subresource, where upstream checks the structure of `status` alone and
    /// names fields in texts from there, e.g. `status.phase: Invalid value: …: phase in body …`.
    pub fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let errors = match (self.root.properties.get("status"), new.get("status")) {
            (Some(node), Some(status)) => {
                structure::check(node, status, old.get("status"), "status")
            }
            _ => Vec::new(),
        };
        self.finish(errors, new, Some(old))
    }

    /// Adds what is not about structure: embedded resources, duplicates, and rules unless they could misread the object.
    fn finish(
        &self,
        mut errors: Vec<FieldError>,
        new: &Value,
        old: Option<&Value>,
    ) -> Vec<FieldError> {
        errors.extend(embedded::check(&self.root, new));
        let duplicates = lists::check(&self.root, new);
        if !duplicates.is_empty() && old.is_none_or(|old| lists::check(&self.root, old).is_empty())
        {
            errors.extend(duplicates);
        }
        if !self.root.below.rules {
            return errors;
        }
        if errors.iter().any(|error| error.reason.blocks_rules()) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                          errors to complete validation";
            errors.push(FieldError::new(
                "<nil>",
                CauseReason::Invalid,
                format!("Invalid value: null: {detail}"),
            ));
        } else {
            errors.extend(rules::check(&self.root, new, old));
        }
        errors
    }
}
