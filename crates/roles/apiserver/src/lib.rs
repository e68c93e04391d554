//! kruntimes-apiserver: see ARCHITECTURE.md.
