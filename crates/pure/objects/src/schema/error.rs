//! What a schema refuses: one path, one cause, one sentence, as the Kubernetes API server words them.
use std::fmt;

/// One refused field. Displays as `path: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field as Kubernetes writes it, e.g. `spec.env[0].name`.
    pub path: String,
    /// The machine-readable cause.
    pub reason: CauseReason,
    /// The text after the path, e.g. `Required value`.
    pub message: String,
}

impl FieldError {
    /// An error at `path`.
    pub fn new(path: impl Into<String>, reason: CauseReason, message: impl Into<String>) -> Self {
        Self { path: path.into(), reason, message: message.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for FieldError {}

/// The causes that a `Status` reports for invalid objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CauseReason {
    /// A required field is absent.
    Required,
    /// The value is refused.
    Invalid,
    /// A string is too long.
    TooLong,
    /// A list or map has too many entries.
    TooMany,
    /// The value is not one of those allowed.
    NotSupported,
    /// The value has another JSON type.
    TypeInvalid,
    /// The field may not be set.
    Forbidden,
    /// The same key or value stands twice.
    Duplicate,
}

impl CauseReason {
    /// Whether rules are not run on an object with such an error: they could misread it.
    pub(super) fn blocks_rules(self) -> bool {
        match self {
            Self::Required
            | Self::TooLong
            | Self::TooMany
            | Self::NotSupported
            | Self::TypeInvalid => true,
            Self::Invalid | Self::Forbidden | Self::Duplicate => false,
        }
    }

    /// The `reason` of a `StatusCause`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotSupported => "FieldValueNotSupported",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
        }
    }
}
