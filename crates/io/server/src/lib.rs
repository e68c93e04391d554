//! A Runtime Server from one async function: `executor.v1.Runtime` and `executor.v1.RuntimeEvents` on the pod's
//! loopback address, around an [`Executor`] that only knows how to do the work.
//!
//! The crate keeps the table of executions, their bounded output, events, timeouts, the control token and the dead-man
//! switch. Invariants: nothing that an execution prints can make a call fail; every buffer has a limit; only who knows
//! the control token may call. `docs/custom-runtime.md` is the guide.

mod auth;
mod config;
mod events;
mod execution;
mod executor;
mod function;
mod kept;
mod lease;
mod outcome;
mod output;
mod server;
mod table;
mod valid;

pub use config::Config;
pub use executor::{Cancel, Executor};
pub use function::{from_fn, main};
pub use kept::Stream;
pub use kruntimes_daemon::{Shutdown, Trigger};
pub use kruntimes_proto::executor::v1::ExecuteRequest;
pub use outcome::{Outcome, Why, describe};
pub use output::Output;
pub use tonic::{Request, Status};
pub use valid::working_dir;

use auth::TokenCheck;
use events::Events;
use kruntimes_proto::executor::v1::runtime_events_server::RuntimeEventsServer;
use kruntimes_proto::executor::v1::runtime_server::RuntimeServer;
use lease::Lease;
use server::{Server, Service};
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
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
    /// Descriptors are missing.
    #[error("the runtime server cannot start")]
    Start(#[source] io::Error),
    /// The gRPC server failed.
    #[error("the gRPC server failed")]
    Transport(#[source] tonic::transport::Error),
}

/// Serves until the shutdown; ends every execution before it returns.
pub async fn serve<E: Executor>(
    config: &Config,
    executor: E,
    shutdown: Shutdown,
) -> Result<(), Error> {
    let address = SocketAddr::new(config.loopback, config.port);
    if !config.loopback.is_loopback() {
        return Err(Error::NotLoopback(address));
    }
    let listener =
        TcpListener::bind(address).map_err(|source| Error::Listen { address, source })?;
    serve_on(listener, config, executor, shutdown).await
}

/// Serves on a socket that listens already.
pub async fn serve_on<E: Executor>(
    listener: TcpListener,
    config: &Config,
    executor: E,
    mut shutdown: Shutdown,
) -> Result<(), Error> {
    let incoming = incoming(listener).map_err(Error::Start)?;
    let lease = Lease::new().map_err(Error::Start)?;
    let server =
        Arc::new(Server { executor, table: Table::default(), events: Events::new(), lease });
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
    tokio::select! {
        result = &mut transport => return result.map_err(Error::Transport),
        () = server.watch_lease() => {}
        () = shutdown.wait() => {}
    }
    close(&server, transport, stop).await;
    Ok(())
}

fn incoming(listener: TcpListener) -> io::Result<TcpIncoming> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(TcpIncoming::from(listener).with_nodelay(Some(true)))
}

/// Ends the executions, lets watchers read the ends, then ends the calls; all within the limit.
async fn close<E: Executor>(server: &Server<E>, transport: impl Future, stop: oneshot::Sender<()>) {
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
