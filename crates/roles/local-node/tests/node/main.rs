//! The node against our API server, in process, with real processes.

#![expect(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod deployments;
mod home;
mod pods;
mod sources;
