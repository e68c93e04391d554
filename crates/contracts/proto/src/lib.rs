//! gRPC code of the runtime plane, generated from `api/` and committed: builds need no protoc.
//!
//! Regenerate with `cargo xtask generate`; a test compares the recorded digests of the protos.
#![expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated code is taken as the generator writes it"
)]

/// `executor.v1`: what runtimed and Runtime Servers speak.
pub mod executor {
    /// Version 1.
    #[allow(missing_debug_implementations, unused_qualifications, clippy::all)]
    pub mod v1 {
        include!("generated/executor.v1.rs");
    }
}

/// `artifact.v1`: downloads through runtimed.
pub mod artifact {
    /// Version 1.
    #[allow(missing_debug_implementations, unused_qualifications, clippy::all)]
    pub mod v1 {
        include!("generated/artifact.v1.rs");
    }
}

mod bounds;
pub mod sources;

pub use bounds::{Bounds, InvalidBounds, Network};

/// gRPC metadata key of the control token (`design.md` "Control ports are guarded by identity").
pub const TOKEN_METADATA: &str = "kruntimes-token";

/// gRPC metadata key of Execute: what the execution is bounded by, as [`Bounds`] write it.
pub const BOUNDS_METADATA: &str = "kruntimes-bounds";

/// gRPC metadata key of an answer to Health: how the server keeps its executions apart. `full`, perhaps with `: ` and by
/// what, `none`, or `degraded: ` and what its kernel lacks. A server that says nothing of it keeps nothing apart, and no bounds.
pub const ISOLATION_METADATA: &str = "kruntimes-isolation";

/// gRPC metadata key of Download: bytes that the reader has already; an answer that carries it begins behind them.
pub const OFFSET_METADATA: &str = "kruntimes-offset";

/// gRPC metadata key of Watch: NAMESPACE/NAME of a Run whose attempt has ended, to be read from the archive.
pub const ARCHIVE_METADATA: &str = "kruntimes-archive";

/// Whether a server that says this of its isolation lacks nothing and has namespaces for each execution.
#[must_use]
pub fn has_namespaces(isolation: &str) -> bool {
    isolation.starts_with("full: ") && isolation.contains("namespaces (pid, mount")
}
