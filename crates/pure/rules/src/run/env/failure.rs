//! Why an environment can't be made. Messages name variable, object, key, limit and remedy, and never a value.

use super::Reference;
use kruntimes_api::{Reason, Run, limits};
use kube::ResourceExt;
use std::fmt;

/// Characters of a variable's name that a message shows; the rest of it says no more.
const SHOWN_CHARS: usize = 64;

/// Why an environment can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvFailure {
    /// The pod may not use the object.
    #[error(
        "{} is not allowed by Runtime \"{}\": add it to its {}, and wait for its new pods",
        .0.object(), .0.runtime, .0.reference.kind.allowed_by()
    )]
    NotAllowed(Box<Place>),
    /// Neither there nor optional.
    #[error(
        "{} does not exist in namespace \"{}\", or has no key \"{}\": create it, or set optional: true",
        .0.object(), .0.namespace, .0.reference.key
    )]
    Missing(Box<Place>),
    /// Not UTF-8.
    #[error("{0} is not UTF-8 text, which a variable must be: store its base64, for example")]
    NotText(Box<Place>),
    /// A NUL character.
    #[error("{0} has a NUL character, which no variable can hold: store its base64, for example")]
    Nul(Box<Place>),
    /// Longer than Linux takes.
    #[error(
        "{0} is too long: name and value of a variable can have at most {limit} bytes together",
        limit = limits::ENV_VARIABLE_BYTES
    )]
    TooLong(Box<Place>),
    /// The file can't be read, and why.
    #[error("{0} can't be read: {1}")]
    Unreadable(Box<Place>, String),
    /// All variables together are above the limit.
    #[error(
        "spec.env has more than {limit} characters of names and values in all, with what comes from Secrets and ConfigMaps: \
         use fewer or shorter ones",
        limit = limits::TEXT_TOTAL_CHARS
    )]
    Total,
    /// A source that the CRD refuses.
    #[error(
        "env {variable}: valueFrom must be exactly one of fieldRef, configMapKeyRef and secretKeyRef, with legal names"
    )]
    Unserved {
        /// The variable.
        variable: String,
    },
}

impl EnvFailure {
    /// The reason of an attempt that ends with this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotAllowed(_) => Reason::EnvNotAllowed,
            Self::Missing(_)
            | Self::NotText(_)
            | Self::Nul(_)
            | Self::TooLong(_)
            | Self::Unreadable(..)
            | Self::Total
            | Self::Unserved { .. } => Reason::EnvUnavailable,
        }
    }
}

/// A variable and what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    variable: String,
    reference: Reference,
    runtime: String,
    namespace: String,
}

impl Place {
    pub(super) fn boxed(run: &Run, variable: &str, reference: &Reference) -> Box<Self> {
        Box::new(Self {
            variable: shown(variable),
            reference: reference.clone(),
            runtime: run.spec.runtime.clone(),
            namespace: run.namespace().unwrap_or_default(),
        })
    }

    fn object(&self) -> String {
        let Reference { kind, name, .. } = &self.reference;
        format!("env {}: {kind} \"{name}\"", self.variable)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference { kind, name, key } = &self.reference;
        write!(formatter, "env {}: key \"{key}\" of {kind} \"{name}\"", self.variable)
    }
}

/// The head of a variable's name.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}...", &name[..at]),
        None => name.to_owned(),
    }
}
