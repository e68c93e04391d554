//! The controller: keeps each Runtime's Deployment and status, takes Runs from pods that are lost, guards Runs with
//! artifacts and has their stores looked after, carries Workflows out, deletes what ended.
//!
//! Loops of their own: one that waits never holds up another.

mod collect;
mod guards;
mod maintainers;
mod observe;
mod orphans;
mod runtimes;
mod workflows;

pub use maintainers::Maintainers;

use kruntimes_api::names;
use kruntimes_cluster::{events, identity};
use kruntimes_daemon::Shutdown;
use kruntimes_rules::pool::Settings;
use kruntimes_rules::retention::Policy;
use kruntimes_rules::run::phase::Writer;
use kube::Client;
use std::time::Duration;

/// What the controller needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// How pools are built.
    pub pools: Settings,
    /// Which Runs that ended are kept.
    pub retention: Policy,
    /// A pod whose Lease stood unchanged for so long loses its Runs.
    pub reap_after: Duration,
    /// The maintainers of artifact stores; none where somebody else looks after the stores.
    pub maintainers: Option<Maintainers>,
    /// This process, as its Events name it.
    pub instance: String,
}

/// Runs the controller until `shutdown`. It never gives up on an API server that does not answer.
pub async fn serve(mut config: Config, client: Client, mut shutdown: Shutdown) {
    // Whatever is made tells its pods, which must not be made anew when it is known later.
    let cluster = tokio::select! {
        () = shutdown.wait() => return,
        cluster = identity::cluster(&client) => cluster,
    };
    config.pools.cluster.clone_from(&cluster);
    if let Some(maintainers) = &mut config.maintainers {
        maintainers.cluster = cluster;
    }
    let (recorder, recording) =
        events::recorder(client.clone(), Writer::Controller, names::CONTROLLER, config.instance);
    tokio::select! {
        () = shutdown.wait() => {}
        () = recording.run() => {}
        () = runtimes::run(client.clone(), config.pools) => {}
        () = orphans::run(client.clone(), config.reap_after, recorder) => {}
        () = maintain(client.clone(), config.maintainers) => {}
        () = workflows::run(client.clone(), config.retention) => {}
        () = collect::run(client, config.retention) => {}
    }
}

async fn maintain(client: Client, config: Option<Maintainers>) {
    match config {
        Some(config) => maintainers::run(client, config).await,
        None => std::future::pending().await,
    }
}
