//! The Kubernetes API of kruntimes: `kruntimes.io/v1alpha1` with the kinds Run, Runtime and Workflow.
//!
//! Types, limits, names, reasons and the CRDs generated from them. No decisions and no IO.

mod artifact;
pub mod conditions;
pub mod crd;
pub mod events;
pub mod explain;
mod input;
pub mod labels;
pub mod limits;
pub mod names;
pub mod pods;
pub mod pools;
mod reasons;
mod run;
mod runtime;
mod share;
mod sources;
mod workflow;
pub mod workflows;

pub use artifact::{
    ArtifactDriver, ArtifactLocation, ArtifactRef, ArtifactStore, ArtifactType, FilesystemLocation,
    FilesystemStore, S3Location, S3Store,
};
pub use input::RunInput;
pub use reasons::Reason;
pub use run::{
    AttemptRecord, Network, Phase, RetryPolicy, Run, RunLimits, RunResources, RunSpec, RunStatus,
    Source, Timeline,
};
pub use runtime::{Capacity, Isolation, LogSettings, Runtime, RuntimeSpec, RuntimeStatus};
pub use share::Share;
pub use sources::SourceKind;
pub use workflow::{
    Approval, Concurrency, Input, InputType, Job, JobPhase, JobRetryPolicy, JobStatus, LegStatus,
    Reuse, Step, StepInput, StepStatus, Strategy, Workflow, WorkflowPhase, WorkflowSpec,
    WorkflowStatus, Workspace,
};

/// API group of every kind.
pub const GROUP: &str = "kruntimes.io";
/// The only version.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every object.
pub const API_VERSION: &str = "kruntimes.io/v1alpha1";

/// Implements what kube needs to address a namespaced kind of this group.
macro_rules! namespaced_kind {
    ($kind:ident, $name:literal, $plural:literal) => {
        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                $name.into()
            }
            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                crate::GROUP.into()
            }
            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                crate::VERSION.into()
            }
            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &kube::core::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
                &mut self.metadata
            }
        }

        /// The object's `apiVersion` and `kind`: constants that only exist on the wire.
        pub(crate) mod type_tags {
            crate::wire_constant!(ApiVersion, crate::API_VERSION);
            crate::wire_constant!(Kind, $name);
        }
    };
}
pub(crate) use namespaced_kind;

/// A type without content that is written as a constant string; what is read is not looked at, for the API server
/// has checked it.
macro_rules! wire_constant {
    ($name:ident, $text:expr) => {
        #[doc = "Written as a constant."]
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name;

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str($text)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
            }
        }
    };
}
pub(crate) use wire_constant;
