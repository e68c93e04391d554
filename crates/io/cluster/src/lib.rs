//! The Kubernetes API as the roles use it: watches that no bad object stops, and the only writer of Run status.

pub mod status;
pub mod watch;
