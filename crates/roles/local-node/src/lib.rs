//! kruntimes-local-node: see ARCHITECTURE.md.
