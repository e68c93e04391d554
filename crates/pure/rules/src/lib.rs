//! kruntimes-rules: see ARCHITECTURE.md.

pub mod run;
