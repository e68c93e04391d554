//! kruntimes-objects: see ARCHITECTURE.md.
