//! kruntimes-rules: see ARCHITECTURE.md.
