//! The API server in process, through its tower service: one file a subject.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod client;
mod collections;
mod crds;
mod deletion;
mod hostile;
mod objects;
mod owners;
mod patches;
mod phases;
mod policy;
mod validation;
mod watches;
