//! What a Runtime's pool consists of: its Deployment, as Kubernetes objects.
//!
//! `validate` returns a pool that can't be wrong, so `build` can't fail.

mod build;
mod covers;
mod sources;
mod validate;

pub use build::deployment;
pub use covers::covers;
pub use validate::{InvalidPool, Settings, ValidPool, validate};

#[cfg(test)]
mod tests;
