//! kruntimes-runtime-server: see ARCHITECTURE.md.
