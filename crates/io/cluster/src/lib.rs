//! The Kubernetes API as the roles use it: watches that no bad object stops, one leader among
//! replicas, and the only writer of Run status.

pub mod leader;
pub mod readable;
pub mod status;
pub mod watch;
