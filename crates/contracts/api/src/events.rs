//! Reasons of the Events about a Run.

pub use crate::conditions::{
    RUN_FAILED_RETRYING, RUN_RETRIES_EXHAUSTED, RUN_RETRYING, RUN_SUCCEEDED, STALE_RUN_FAILED,
    STALE_RUN_RETRYING,
};
