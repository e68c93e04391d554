//! kruntimes-confine: see ARCHITECTURE.md.
