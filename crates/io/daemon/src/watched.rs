//! Descriptors that the executor watches.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches the descriptor that `owner` owns for as long as it lives.
///
/// # Errors
/// When the executor has no reactor, or the descriptor can't be polled (epoll_ctl(2)).
pub fn watched<T: AsFd + AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may change their descriptor; those of `AsFd` here own one"
    )]
    AsyncFd::with_interest(owner, interest)
}
