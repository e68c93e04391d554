//! Images without a container engine.

pub(crate) mod archive;
