//! Decisions about one Run: its phases, its status patches, its retries and the machine of one attempt.

pub mod correlate;
pub mod env;
pub mod event;
pub mod limits;
pub mod machine;
pub mod notes;
pub mod outcome;
pub mod outputs;
pub mod patch;
pub mod phase;
pub mod received;
pub mod retry;
pub mod roster;
pub mod slim;
