//! What a Runtime's pool consists of, as Kubernetes objects, and what it takes to make what exists like them.
//!
//! `validate` returns a pool that can't be wrong, so that building can't fail.

mod access;
mod build;
mod containers;
mod covers;
mod egress;
pub mod maintainer;
mod metadata;
mod network;
mod sources;
mod status;
mod store;
mod template;
pub mod trouble;
mod validate;
mod wanted;

pub use access::RUNTIMED_RIGHTS;
pub use build::deployment;
pub use covers::covers;
pub use egress::InvalidEgress;
pub use network::{METADATA_V4, METADATA_V6};
pub use status::{Made, status};
pub use template::{Refusal, Refusals};
pub use validate::{InvalidPool, Settings, ValidPool, validate};
pub use wanted::{Kind, Step, Wanted, decide, decide_labelled, objects};

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wanted_tests;
