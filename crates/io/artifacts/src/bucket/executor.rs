//! What requests run on: a thread of its own that ends with the process, so that who ends the caller's executor waits for no
//! bucket, and leaves no request behind that panics.

use std::io;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

static EXECUTOR: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// The one of this process.
pub(super) fn executor() -> io::Result<&'static Runtime> {
    let start = || {
        let builder = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        builder.map_err(|error| error.to_string())
    };
    EXECUTOR.get_or_init(start).as_ref().map_err(|error| io::Error::other(error.clone()))
}
