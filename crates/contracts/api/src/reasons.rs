//! Why a Run is where it is: `status.reason` and the reasons of its conditions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The closed list of reasons of a Run that ended or was handed back.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Reason {
    /// The Run succeeded.
    RunCompleted,
    /// The attempt ran longer than `spec.timeoutSeconds`.
    Timeout,
    /// The source could not be prepared.
    PrepareSource,
    /// The Runtime Server refused to execute.
    RuntimeExecute,
    /// The command failed.
    RuntimeError,
    /// The Runtime Server no longer knows the execution.
    ExecutionLost,
    /// The user cancelled the Run.
    Cancelled,
    /// The pod is gone.
    PodGone,
    /// The pod is being deleted.
    PodTerminating,
    /// The pod does not answer.
    PodUnhealthy,
    /// The attempt was handed back before it could start; it does not count.
    NotStarted,
    /// No pod of the Runtime could ever take the Run.
    Unschedulable,
    /// The outputs file is not as it must be.
    OutputsInvalid,
    /// The outputs are above their limits.
    OutputsTooLarge,
    /// An artifact is not as it must be.
    ArtifactInvalid,
}

impl Reason {
    /// All reasons, in the order of their declaration.
    pub const ALL: [Self; 15] = [
        Self::RunCompleted,
        Self::Timeout,
        Self::PrepareSource,
        Self::RuntimeExecute,
        Self::RuntimeError,
        Self::ExecutionLost,
        Self::Cancelled,
        Self::PodGone,
        Self::PodTerminating,
        Self::PodUnhealthy,
        Self::NotStarted,
        Self::Unschedulable,
        Self::OutputsInvalid,
        Self::OutputsTooLarge,
        Self::ArtifactInvalid,
    ];

    /// The reason as it stands in a status.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunCompleted => "RunCompleted",
            Self::Timeout => "Timeout",
            Self::PrepareSource => "PrepareSource",
            Self::RuntimeExecute => "RuntimeExecute",
            Self::RuntimeError => "RuntimeError",
            Self::ExecutionLost => "ExecutionLost",
            Self::Cancelled => "Cancelled",
            Self::PodGone => "PodGone",
            Self::PodTerminating => "PodTerminating",
            Self::PodUnhealthy => "PodUnhealthy",
            Self::NotStarted => "NotStarted",
            Self::Unschedulable => "Unschedulable",
            Self::OutputsInvalid => "OutputsInvalid",
            Self::OutputsTooLarge => "OutputsTooLarge",
            Self::ArtifactInvalid => "ArtifactInvalid",
        }
    }

    /// The reason with this spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Reason;

    #[test]
    fn every_reason_reads_back_as_it_is_written() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
