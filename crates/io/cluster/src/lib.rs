//! kruntimes-cluster: see ARCHITECTURE.md.
