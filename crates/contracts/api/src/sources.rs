//! Where the Secrets and ConfigMaps that Runs may use are found in a pod: the controller mounts them there, the local node
//! writes them there, runtimed reads them there.

use crate::names;
use std::fmt;

/// A Secret or a ConfigMap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// `secretKeyRef`.
    Secret,
    /// `configMapKeyRef`.
    ConfigMap,
}

impl SourceKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Secret, Self::ConfigMap];

    /// Its directory below [`names::SOURCES_PATH`].
    #[must_use]
    pub const fn directory(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }

    /// Path at which runtimed mounts the object of that name.
    #[must_use]
    pub fn mount_path(self, name: &str) -> String {
        format!("{}/{}/{name}", names::SOURCES_PATH, self.directory())
    }

    /// Prefix of the names of the volumes that runtimed alone mounts.
    #[must_use]
    pub const fn volume_prefix(self) -> &'static str {
        match self {
            Self::Secret => "kruntimes-secret-",
            Self::ConfigMap => "kruntimes-configmap-",
        }
    }

    /// The field of a Runtime that allows it.
    #[must_use]
    pub const fn allowed_by(self) -> &'static str {
        match self {
            Self::Secret => "spec.allowedSecrets",
            Self::ConfigMap => "spec.allowedConfigMaps",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        })
    }
}
