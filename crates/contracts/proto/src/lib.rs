//! kruntimes-proto: see ARCHITECTURE.md.
