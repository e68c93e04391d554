//! The sidecar of a Runtime pod: it executes the Runs that the scheduler gives to its pod.
//!
//! `supervisor` watches this pod's Runs and gives each a task (`attempt`), which drives the machine of
//! `rules::run::machine`; `keeper` keeps the pod's Lease, without which nothing executes; `runtime` calls the Runtime
//! Server, `events` and `poll` bring what it reports to the task by way of `registry`; `spool` keeps the output, `serving`
//! shows it; `journal` keeps a restart from executing twice; `outputs` and `artifacts` take what a
//! Run leaves behind, `archive` its logs, `shelf` says what is given out.
//! Nothing here decides what happens to a Run, and nothing here trusts the Runtime Server.

mod archive;
mod artifacts;
mod attempt;
mod clock;
mod config;
mod events;
mod execute;
mod inputs;
mod journal;
mod keeper;
mod lease;
mod lines;
mod mounted;
mod outputs;
mod pod;
mod poll;
mod preparing;
mod ready;
mod registry;
mod runtime;
mod serving;
mod shared;
mod shelf;
mod slots;
mod source;
mod spool;
mod supervisor;
#[cfg(test)]
mod testing;
mod workspace;
mod write;

pub use config::{AddressError, Config};
pub use journal::Durability;
pub use source::SourceConfig;

use crate::pod::Pod;
use k8s_openapi::api::core::v1::Pod as KubePod;
use kruntimes_api::names;
use kruntimes_artifacts::serve::{Handout, Token};
use kruntimes_cluster::events::{self as recorder, Recorder};
use kruntimes_daemon::{Shutdown, boottime, health, lifeline};
use kruntimes_rules::fence::Timing;
use kruntimes_rules::run::phase::Writer;
use kruntimes_rules::run::roster::Identity;
use kube::{Api, Client, ResourceExt};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why runtimed could not start.
#[derive(Debug, Error)]
pub enum Error {
    /// A flag makes no sense.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// An address is taken or not there.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The control directory can't be used.
    #[error("can't use the control directory: {what}")]
    Control {
        /// What was to be opened or made.
        what: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The client of the Runtime Server could not be made.
    #[error("can't make a client of the Runtime Server")]
    Runtime(#[from] tonic::transport::Error),
}

/// How runtimed ends.
#[derive(Debug)]
pub struct Stops {
    /// It takes no more Runs, and ends when those that execute have ended, or when that takes too long.
    pub drain: Shutdown,
    /// It ends, and so does what executes.
    pub end: Shutdown,
}

/// Serves until it is to end, or the end of stdin where that is the lifeline.
///
/// # Errors
/// When it can't start: a wrong flag, an address that is taken, a control directory that can't be used.
pub async fn serve(config: Config, client: Client, stops: Stops) -> Result<(), Error> {
    serve_with(config, client, stops, std::io::stdout()).await
}

/// As [`serve`], with the JSON lines of the Runs' output going to `lines`.
///
/// # Errors
/// As [`serve`].
pub async fn serve_with(
    config: Config,
    client: Client,
    stops: Stops,
    lines: impl Write + Send + 'static,
) -> Result<(), Error> {
    let (end, ends) = Shutdown::new();
    let Stops { drain, end: mut shutdown } = stops;
    let outer = end.clone();
    let relay = tokio::spawn(async move {
        shutdown.wait().await;
        outer.fire();
    });
    if config.lifeline.as_deref() == Some("stdin") {
        tokio::spawn(lifeline::watch_stdin(end.clone()));
    }
    let served = serve_all(config, client, Stops { drain, end: ends }, lines).await;
    end.fire();
    relay.abort();
    served
}

async fn serve_all(
    config: Config,
    client: Client,
    stops: Stops,
    lines: impl Write + Send + 'static,
) -> Result<(), Error> {
    let (mut drain, mut ends) = (stops.drain.clone(), stops.end.clone());
    let health_listener = listen(config.health_address()?).await?;
    let status_listener = listen(config.status_address()?).await?;
    for directory in [&config.control, &config.state] {
        std::fs::create_dir_all(directory).map_err(control("directory"))?;
    }
    let token = Token::create(&config.control).map_err(control("token"))?;
    let (lease, told) = lease::Lease::new();
    let (component, instance) = (names::RUNTIMED_CONTAINER, config.pod_name.clone());
    let (recorder, recording) =
        recorder::recorder(client.clone(), Writer::Runtimed, component, instance);
    let pod = Arc::new(open(&config, &client, &token, lease, recorder, lines)?);
    let (live, is_live) = watch::channel(false);
    let pods: Api<KubePod> = Api::namespaced(client.clone(), &config.pod_namespace);
    let readiness = ready::Readiness { pod: Arc::clone(&pod), live: is_live };
    let mut beside = JoinSet::new();
    // The kubelet hears of the end of a drain before this process is gone.
    let (answered, until_answered) = Shutdown::new();
    let mut answers = JoinSet::new();
    answers.spawn(health::serve(health_listener, Arc::new(readiness.clone()), until_answered));
    beside.spawn(events::follow(Arc::clone(&pod)));
    beside.spawn(recording.run());
    let handout = Handout::new(Arc::new(shelf(&config, &pod)), Some(token.clone()));
    beside.spawn(serving::serve(status_listener, pod.spool.clone(), token.clone(), handout));
    if let Some(archive) = &pod.archive {
        beside.spawn(Arc::clone(archive).serve());
    }

    let uid = tokio::select! {
        uid = own_uid(&config, &pods) => uid,
        () = ends.wait() => return Ok(()),
        () = drain.wait() => return Ok(()),
    };
    let publisher = ready::Publisher {
        readiness,
        live: live.clone(),
        pods,
        name: config.pod_name.clone(),
        token: token.text().to_owned(),
    };
    let me = Identity { name: config.pod_name.clone(), uid };
    let archive = pod.archive.clone();
    let watching = keep_and_watch(&config, client, (pod, me, told), live, stops);
    let publishing = async {
        tokio::select! {
            () = publisher.follow() => {}
            () = ends.wait() => {}
            () = drain.wait() => {}
        }
        publisher.retract().await;
    };
    let (watched, ()) = tokio::join!(watching, publishing);
    if let Some(archive) = archive {
        archive.flush().await;
    }
    answered.fire();
    while answers.join_next().await.is_some() {}
    watched
}

fn shelf(config: &Config, pod: &Pod) -> shelf::Own {
    shelf::Own {
        runs: pod.runs.clone(),
        namespace: config.pod_namespace.clone(),
        runtime: config.runtime_name.clone(),
        artifacts: pod.artifacts.clone(),
    }
}

/// Keeps the pod's Lease and executes its Runs until it is to end.
async fn keep_and_watch(
    config: &Config,
    client: Client,
    (pod, me, told): (Arc<Pod>, Identity, mpsc::UnboundedReceiver<lease::Told>),
    live: watch::Sender<bool>,
    stops: Stops,
) -> Result<(), Error> {
    let terms = keeper::Terms {
        leases: Api::namespaced(client.clone(), &config.pod_namespace),
        me: me.clone(),
        runtime: config.runtime_name.clone(),
        timing: Timing::fencing_after(config.fence_after()),
    };
    let (notify, notices) = mpsc::unbounded_channel();
    let watched = Api::namespaced(client, &config.pod_namespace);
    let sources = supervisor::Sources { watched, live, notices, stops };
    let within = Duration::from_secs(config.drain_timeout_seconds);
    tokio::select! {
        () = supervisor::run(Arc::clone(&pod), me, sources, within) => Ok(()),
        // It never ends but by an error.
        kept = keeper::keep(pod, terms, told, notify) => kept.map_err(control("timer")),
    }
}

fn control(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Control { what, source }
}

/// What all attempts share.
fn open(
    config: &Config,
    client: &Client,
    token: &Token,
    lease: lease::Lease,
    recorder: Recorder,
    lines: impl Write + Send + 'static,
) -> Result<Pod, Error> {
    let namespace = config.pod_namespace.as_str();
    Ok(Pod {
        runs: Api::namespaced(client.clone(), namespace),
        recorder,
        server: runtime::RuntimeServer::new(config.runtime_address()?, token.clone())?,
        registry: registry::Registry::new(),
        spool: spool::Spool::open(&config.state).map_err(control("logs"))?,
        sink: lines::LineSink::start(namespace, &config.runtime_name, &config.pod_name, lines)
            .map_err(control("log thread"))?,
        journal: boottime::boot_id()
            .and_then(|boot| journal::Journal::open(&config.state, config.journal, &boot))
            .map_err(control("journal"))?,
        lease,
        workspaces: workspace::Workspaces::new(config.workspace.clone())
            .keeping(config.store.named().is_some()),
        artifacts: config
            .store
            .named()
            .map(|named| artifacts::Artifacts { named, store: config.store.open(&config.mounted) }),
        inputs: Arc::new(inputs::Slots::new()),
        archive: archive::Archive::open(config).map_err(control("archive of logs"))?,
        sources: source::Sources::open(&config.state, config.source.clone())
            .map_err(control("sources"))?,
        mounted: mounted::Mounted::new(config.mounted.clone()),
        slots: slots::Slots::new(config.resources()),
        cancels: pod::Cancels::default(),
        run_limits: config.run_limits(),
        synced: watch::Sender::new(false),
        leaving: watch::Sender::new(false),
        drain: watch::Sender::new(pod::Drain::No),
    })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// The UID of this pod, from the environment or the API server.
async fn own_uid(config: &Config, pods: &Api<KubePod>) -> String {
    if let Some(uid) = &config.pod_uid {
        return uid.clone();
    }
    let mut pause = FIRST_PAUSE;
    loop {
        match pods.get(&config.pod_name).await.map(|pod| pod.uid()) {
            Ok(Some(uid)) => return uid,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the own pod can't be read"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
