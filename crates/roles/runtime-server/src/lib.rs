//! The Runtime Servers for bash and, in `python`, for Python, on `kruntimes_runtime_server`.
//!
//! Executions start from a zygote and end with everything that they started (`kruntimes_confine`).

mod bash;
mod command;
mod config;
mod confine;
mod inherited;
mod outcome;
mod prepare;
mod process;
pub mod python;

pub use config::Config;
pub use confine::{Isolation, Settings, UseOfNamespaces};
pub use inherited::inherited;

use bash::Bash;
use kruntimes_confine::Zygote;
use kruntimes_daemon::{Shutdown, watched};
use prepare::Places;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Why the server did not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Directories, bash or descriptors are missing.
    #[error("the runtime server cannot start")]
    Start(#[source] io::Error),
    /// It does not serve.
    #[error(transparent)]
    Serve(#[from] kruntimes_runtime_server::Error),
    /// Nothing can be started any more.
    #[error("the zygote died")]
    ZygoteDied,
}

/// Serves until the shutdown; ends every execution before it returns.
pub async fn serve(config: Config, zygote: Zygote, shutdown: Shutdown) -> Result<(), Error> {
    let bash = new(&config, zygote).map_err(Error::Start)?;
    let zygote = Arc::clone(&bash.zygote);
    until_dead(&zygote, shutdown, |end| kruntimes_runtime_server::serve(&config.server, bash, end))
        .await
}

/// Serves on a socket that listens already.
pub async fn serve_on(
    listener: TcpListener,
    config: Config,
    zygote: Zygote,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let bash = new(&config, zygote).map_err(Error::Start)?;
    let zygote = Arc::clone(&bash.zygote);
    until_dead(&zygote, shutdown, |end| {
        kruntimes_runtime_server::serve_on(listener, &config.server, bash, end)
    })
    .await
}

fn new(config: &Config, zygote: Zygote) -> io::Result<Bash> {
    let (zygote, places) = begin(&config.server, &config.confine, zygote)?;
    Bash::new(zygote, places, &config.search_path)
}

/// Makes this process one that serves executions, and its places empty and ready.
fn begin(
    server: &kruntimes_runtime_server::Config,
    confine: &Settings,
    zygote: Zygote,
) -> io::Result<(Arc<AsyncFd<Zygote>>, Places)> {
    kruntimes_confine::set_child_subreaper()?;
    kruntimes_confine::hide_memory()?;
    let places = Places::new(&server.work_dir, server.workspace.clone());
    let places = places.confined(confine, &server.control, &zygote)?;
    places.clear();
    let zygote = watched(zygote, Interest::READABLE | Interest::WRITABLE)?;
    Ok((Arc::new(zygote), places))
}

/// Serves until the shutdown or the zygote's death.
async fn until_dead<F>(
    zygote: &AsyncFd<Zygote>,
    mut shutdown: Shutdown,
    serve: impl FnOnce(Shutdown) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), kruntimes_runtime_server::Error>>,
{
    let (trigger, end) = Shutdown::new();
    let mut served = pin!(serve(end));
    tokio::select! {
        result = &mut served => return Ok(result?),
        () = shutdown.wait() => trigger.fire(),
        () = death(zygote) => trigger.fire(),
    }
    served.await?;
    if zygote.get_ref().is_alive() {
        return Ok(());
    }
    // What the dead zygote was the parent of is now this process's.
    kruntimes_confine::kill_own_descendants().map_err(Error::Start)?;
    Err(Error::ZygoteDied)
}

/// Resolves when the zygote is gone.
async fn death(zygote: &AsyncFd<Zygote>) {
    while let Ok(mut guard) = zygote.readable().await {
        if !zygote.get_ref().is_alive() {
            return;
        }
        guard.clear_ready();
    }
}
