//! kruntimes-runtimed: see ARCHITECTURE.md.
