//! kruntimes-api: see ARCHITECTURE.md.
