//! Artifacts on their way: found in a Run's directory, packed and hashed in one pass into a store, read back.
//!
//! What a Run left behind is walked from an open directory, follows no link, and is looked at again once it is open. No file
//! is held in memory. All of it blocks: call it where that is allowed.

mod bucket;
mod flags;
mod frame;
mod input;
mod keep;
mod log;
pub mod serve;
mod store;
mod unpack;
mod volume;
mod walk;

pub use bucket::Bucket;
pub use bucket::credentials::Credentials;
pub use bucket::sweep::{Listed, Own};
pub use flags::{StoreConfig, StoreDriver};
pub use frame::{Frame, HEADER_BYTES, PIECE_BYTES, Stream};
pub use input::{Inputs, PutError};
pub use keep::{Found, Stop, keep, survey};
pub use log::{ArchivedLog, LOG_BYTES, keep_log, open_log};
pub use store::{Opened, Place, Store};
pub use unpack::{UnpackError, unpack};

use kruntimes_rules::artifact::InvalidArtifact;
use std::io;
use thiserror::Error;

/// Why artifacts were not kept.
#[derive(Debug, Error)]
pub enum KeepError {
    /// One of them can't be one.
    #[error(transparent)]
    Invalid(#[from] InvalidArtifact),
    /// The store failed.
    #[error("{what}")]
    Store {
        /// What was to be done.
        what: &'static str,
        /// Why it was not.
        source: io::Error,
    },
    /// Nobody wants them any more.
    #[error("stopped")]
    Stopped,
}

impl KeepError {
    fn store(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Store { what, source }
    }
}
