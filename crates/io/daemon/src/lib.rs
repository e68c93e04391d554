//! kruntimes-daemon: see ARCHITECTURE.md.
