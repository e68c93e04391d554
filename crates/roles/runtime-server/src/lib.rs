//! The Runtime Server for bash: `executor.v1.Runtime` and `executor.v1.RuntimeEvents` on the pod's loopback address.
//!
//! Executions start from a zygote and end with everything that they started (`kruntimes_confine`). Invariants: nothing
//! that an execution prints can make a call fail; every buffer has a limit; only who knows the control token may call.

mod auth;
mod command;
mod config;
mod events;
mod execution;
mod lease;
mod outcome;
mod output;
mod prepare;
mod process;
mod server;
mod table;

pub use config::Config;

use auth::TokenCheck;
use events::Events;
use kruntimes_confine::Zygote;
use kruntimes_daemon::{Shutdown, watched};
use kruntimes_proto::executor::v1::runtime_events_server::RuntimeEventsServer;
use kruntimes_proto::executor::v1::runtime_server::RuntimeServer;
use lease::Lease;
use outcome::Why;
use prepare::Places;
use server::{Server, Service};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tonic::service::InterceptorLayer;
use tonic::transport::server::TcpIncoming;

/// How long the server goes on after a shutdown, executions included.
const CLOSE_LIMIT: Duration = Duration::from_secs(3);

/// Why the server did not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other machines must not reach it.
    #[error("{0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The address is taken or not of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Directories, bash or descriptors are missing.
    #[error("the runtime server cannot start")]
    Start(#[source] io::Error),
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Transport(#[source] tonic::transport::Error),
    /// Nothing can be started any more.
    #[error("the zygote died")]
    ZygoteDied,
}

/// Serves until the shutdown; ends every execution before it returns.
pub async fn serve(config: Config, zygote: Zygote, shutdown: Shutdown) -> Result<(), Error> {
    let address = SocketAddr::new(config.loopback, config.port);
    if !config.loopback.is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let listener =
        TcpListener::bind(address).map_err(|source| Error::Listen { address, source })?;
    serve_on(listener, config, zygote, shutdown).await
}

/// Serves on a socket that listens already.
pub async fn serve_on(
    listener: TcpListener,
    config: Config,
    zygote: Zygote,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    let incoming = incoming(listener).map_err(Error::Start)?;
    let server = Arc::new(new_server(&config, zygote).map_err(Error::Start)?);
    let check = TokenCheck::new(&config.control);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut transport = pin!(
        tonic::transport::Server::builder()
            .layer(InterceptorLayer::new(move |request| check.check(request)))
            .add_service(RuntimeServer::new(Service(Arc::clone(&server))))
            .add_service(RuntimeEventsServer::new(Service(Arc::clone(&server))))
            .serve_with_incoming_shutdown(incoming, async {
                drop(stopped.await);
            })
    );
    let end = tokio::select! {
        result = &mut transport => return result.map_err(Error::Transport),
        () = server.watch_lease() => Ok(()),
        () = shutdown.wait() => Ok(()),
        () = death(&server.zygote) => Err(Error::ZygoteDied),
    };
    close(&server, transport, stop).await;
    if end.is_err() {
        // What the dead zygote was the parent of is now this process's.
        kruntimes_confine::kill_own_descendants().map_err(Error::Start)?;
    }
    end
}

fn incoming(listener: TcpListener) -> io::Result<TcpIncoming> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(TcpIncoming::from(listener).with_nodelay(Some(true)))
}

fn new_server(config: &Config, zygote: Zygote) -> io::Result<Server> {
    kruntimes_confine::set_child_subreaper()?;
    let places = Places::new(&config.work_dir, config.workspace.clone(), &config.search_path)?;
    places.clear();
    Ok(Server {
        zygote: watched(zygote, Interest::READABLE | Interest::WRITABLE)?,
        places,
        table: Table::default(),
        events: Events::new(),
        lease: Lease::new()?,
    })
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

/// Ends the executions, lets watchers read the ends, then ends the calls; all within the limit.
async fn close(server: &Server, transport: impl Future, stop: oneshot::Sender<()>) {
    let end = async {
        server.end_all(Why::ShuttingDown).await;
        server.events.close();
        // The receiver waits in the transport.
        let _ = stop.send(());
    };
    let all = async { tokio::join!(end, transport) };
    if tokio::time::timeout(CLOSE_LIMIT, all).await.is_err() {
        tracing::warn!("the runtime server did not close in time");
    }
}
