//! kruntimes-scheduler: see ARCHITECTURE.md.
