//! The Kubernetes API as the roles use it: watches that no bad object stops, one leader among
//! replicas, the only writer of Run status, and Events beside it.

pub mod events;
pub mod identity;
pub mod leader;
pub mod lease;
pub mod readable;
pub mod status;
pub mod watch;
