//! The real `krt` binary on local homes: what a user sees.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod api;
mod artifacts;
mod background;
mod bombs;
mod both;
mod conformance;
mod ephemeral;
mod isolation;
mod local_home;
mod mistakes;
mod namespaces;
mod operate;
mod pods;
mod reasons;
mod secrets;
mod server;
mod signals;
mod support;
mod workflows;
