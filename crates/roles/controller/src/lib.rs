//! kruntimes-controller: see ARCHITECTURE.md.
