//! kruntimes-objects: see ARCHITECTURE.md.

pub mod cel;
pub mod schema;
