//! kruntimes-cluster: see ARCHITECTURE.md.

pub mod status;
