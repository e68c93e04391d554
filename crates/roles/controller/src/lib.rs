//! The controller: keeps each Runtime's Deployment and status, frees Runs whose pod is gone, deletes Runs that ended.
//!
//! Three loops of their own: one that waits never holds up another.

mod collect;
mod observe;
mod orphans;
mod runtimes;

use kruntimes_daemon::Shutdown;
use kruntimes_rules::pool::Settings;
use kruntimes_rules::retention::Policy;
use kube::Client;

/// What the controller needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// How pools are built.
    pub pools: Settings,
    /// Which Runs that ended are kept.
    pub retention: Policy,
}

/// Runs the controller until `shutdown`. It never gives up on an API server that does not answer.
pub async fn serve(config: Config, client: Client, mut shutdown: Shutdown) {
    tokio::select! {
        () = shutdown.wait() => {}
        () = runtimes::run(client.clone(), config.pools) => {}
        () = orphans::run(client.clone()) => {}
        () = collect::run(client, config.retention) => {}
    }
}
