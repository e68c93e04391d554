//! The environment of an attempt: text of the spec, fields of the Run, keys of Secrets and ConfigMaps.
//!
//! `references` says what is to be read, `resolve` makes the variables of what was found. A key that is absent and
//! optional leaves its variable as an earlier entry of that name made it, as in pods. Invariants: no error holds a
//! value; no name or key leads out of its directory; whoever is not allowed a name does not learn whether it exists.

mod failure;

pub use failure::EnvFailure;

use k8s_openapi::api::core::v1::EnvVarSource;
use kruntimes_api::{Run, SourceKind, limits, names};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What of a Secret or ConfigMap is read at most, in bytes; one more shows that it is too long.
pub const READ_LIMIT_BYTES: usize = limits::ENV_VARIABLE_BYTES;
/// What of all of them is read at most, in bytes: more can't fit the characters of an environment.
pub const READ_TOTAL_BYTES: usize = limits::TEXT_TOTAL_CHARS as usize * 4;

/// One key of a Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Which of the two.
    pub kind: SourceKind,
    /// Name of the object, in the namespace of the Run: a DNS subdomain.
    pub name: String,
    /// The key: a file name that does not begin with `..`.
    pub key: String,
}

/// What was found at a [`Reference`].
#[derive(Clone, PartialEq, Eq)]
pub enum Found {
    /// The pod may not use the object.
    NotAllowed,
    /// The object or the key is not there.
    Missing,
    /// The content.
    Value(Vec<u8>),
    /// The content has more than [`READ_LIMIT_BYTES`].
    TooLong,
    /// The content is there and can't be read, and why.
    Unreadable(String),
}

impl fmt::Debug for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NotAllowed => "NotAllowed",
            Self::Missing => "Missing",
            Self::Value(_) => "Value(..)",
            Self::TooLong => "TooLong",
            Self::Unreadable(_) => "Unreadable(..)",
        })
    }
}

/// Where a value comes from.
enum Source<'a> {
    Text(&'a str),
    Field(String),
    Key { reference: Reference, optional: bool },
}

/// The keys that the environment of `run` needs.
///
/// # Errors
/// When a variable has no source that is served: the CRD refuses such a Run, but it may be older than the rule.
pub fn references(run: &Run) -> Result<BTreeSet<Reference>, EnvFailure> {
    let mut references = BTreeSet::new();
    for variable in &run.spec.env {
        if let Source::Key { reference, .. } = source(run, variable)? {
            references.insert(reference);
        }
    }
    Ok(references)
}

/// The variables of an attempt of `run`, from what was found at its [`references`].
///
/// # Errors
/// The first variable without a usable value.
pub fn resolve(
    run: &Run,
    found: &BTreeMap<Reference, Found>,
) -> Result<BTreeMap<String, String>, EnvFailure> {
    let mut variables = BTreeMap::new();
    let mut total_chars: usize = 0;
    for variable in &run.spec.env {
        let name = &variable.name;
        let value = match source(run, variable)? {
            Source::Text(text) => text.to_owned(),
            Source::Field(text) => text,
            Source::Key { reference, optional } => {
                match key_value(run, name, &reference, optional, found)? {
                    Some(value) => value,
                    None => continue,
                }
            }
        };
        total_chars += name.chars().count() + value.chars().count();
        variables.insert(name.clone(), value);
    }
    check_total(total_chars)?;
    Ok(variables)
}

/// Refuses an environment of more characters than a Run may have.
fn check_total(chars: usize) -> Result<(), EnvFailure> {
    if chars > limits::TEXT_TOTAL_CHARS as usize { Err(EnvFailure::Total) } else { Ok(()) }
}

fn source<'a>(
    run: &Run,
    variable: &'a k8s_openapi::api::core::v1::EnvVar,
) -> Result<Source<'a>, EnvFailure> {
    let Some(source) = &variable.value_from else {
        return Ok(Source::Text(variable.value.as_deref().unwrap_or_default()));
    };
    let unserved = || EnvFailure::Unserved { variable: failure::shown(&variable.name) };
    let key = |kind, name: &str, key: &str, optional: Option<bool>| {
        let reference = Reference { kind, name: name.to_owned(), key: key.to_owned() };
        // Both become parts of a path.
        (names::is_object_name(name) && names::is_object_key(key))
            .then_some(Source::Key { reference, optional: optional == Some(true) })
            .ok_or_else(unserved)
    };
    match source {
        EnvVarSource {
            field_ref: Some(field),
            config_map_key_ref: None,
            secret_key_ref: None,
            ..
        } => field_value(run, &field.field_path).map(Source::Field).ok_or_else(unserved),
        EnvVarSource {
            field_ref: None,
            config_map_key_ref: Some(map),
            secret_key_ref: None,
            ..
        } => key(SourceKind::ConfigMap, &map.name, &map.key, map.optional),
        EnvVarSource {
            field_ref: None,
            config_map_key_ref: None,
            secret_key_ref: Some(secret),
            ..
        } => key(SourceKind::Secret, &secret.name, &secret.key, secret.optional),
        EnvVarSource { .. } => Err(unserved()),
    }
}

fn field_value(run: &Run, path: &str) -> Option<String> {
    let metadata = &run.metadata;
    let text = match path {
        "metadata.name" => metadata.name.clone(),
        "metadata.namespace" => metadata.namespace.clone(),
        "metadata.uid" => metadata.uid.clone(),
        _ => {
            let key = path.strip_prefix("metadata.labels['")?.strip_suffix("']")?;
            metadata.labels.as_ref().and_then(|labels| labels.get(key).cloned())
        }
    };
    Some(text.unwrap_or_default())
}

/// The text at a key; none when it is absent and may be.
fn key_value(
    run: &Run,
    variable: &str,
    reference: &Reference,
    optional: bool,
    found: &BTreeMap<Reference, Found>,
) -> Result<Option<String>, EnvFailure> {
    let at = || failure::Place::boxed(run, variable, reference);
    match found.get(reference).unwrap_or(&Found::Missing) {
        Found::NotAllowed => Err(EnvFailure::NotAllowed(at())),
        Found::Missing if optional => Ok(None),
        Found::Missing => Err(EnvFailure::Missing(at())),
        Found::TooLong => Err(EnvFailure::TooLong(at())),
        Found::Unreadable(why) => Err(EnvFailure::Unreadable(at(), why.clone())),
        Found::Value(bytes) if bytes.len() + variable.len() > limits::ENV_VARIABLE_BYTES => {
            Err(EnvFailure::TooLong(at()))
        }
        Found::Value(bytes) if bytes.contains(&0) => Err(EnvFailure::Nul(at())),
        Found::Value(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(EnvFailure::NotText(at())),
        },
    }
}

#[cfg(test)]
mod tests;
