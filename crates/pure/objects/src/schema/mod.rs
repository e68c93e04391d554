//! The structural schema of one CRD version: pruning, defaulting and validation, with kube-apiserver's meaning.
mod error;

pub use error::{CauseReason, FieldError};
use serde_json::Value;

/// A compiled structural schema.
#[derive(Debug)]
pub struct Schema {}

impl Schema {
    /// Compiles `openAPIV3Schema`; what is not structural or not served is refused by name.
    pub fn compile(_openapi: &Value) -> Result<Self, Vec<FieldError>> {
        Ok(Self {})
    }

    /// Removes unknown fields and names them, e.g. `spec.env[0].y`.
    pub fn prune(&self, _object: &mut Value) -> Vec<String> {
        Vec::new()
    }

    /// Fills in defaults.
    pub fn default(&self, _object: &mut Value) {}

    /// Validates `new`; with `old`, transition rules too.
    pub fn validate(&self, _new: &Value, _old: Option<&Value>) -> Vec<FieldError> {
        Vec::new()
    }
}
