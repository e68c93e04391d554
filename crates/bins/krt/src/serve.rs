//! `krt serve …`: each role as a process of its own, until SIGTERM, SIGINT or the end of its lifeline.

use crate::client::on_one_thread;
use crate::duration;
use crate::failure::{Failure, chain};
use crate::local::{api, janitor};
use crate::memory;
use crate::operate::{OperateArgs, Watched};
use crate::signals::{Asked, Signals};
use clap::{Args, Subcommand};
use kruntimes_api::{Run, Runtime, limits, names};
use kruntimes_confine::Zygote;
use kruntimes_daemon::{Shutdown, Trigger, lifeline, logs, metrics};
use kruntimes_rules::reaper::Times;
use kruntimes_rules::{pool, retention};
use kube::Client;
use std::future::Future;
use std::path::PathBuf;

/// What roles log when nothing else is said.
const LOG_FILTER: &str = "info";

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The roles.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Bind Runs to pods
    Scheduler(SchedulerArgs),
    /// Keep the pods of Runtimes, free Runs of lost pods, delete Runs that ended
    Controller(ControllerArgs),
    /// Execute the Runs of a pod, beside its Runtime Server
    Runtimed {
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        config: Box<kruntimes_runtimed::Config>,
    },
    /// Remove the artifacts of deleted Runs from one store
    Maintainer {
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        args: Box<kruntimes_maintainer::StoreArgs>,
    },
    /// Be the Runtime Server for bash
    RuntimeBash {
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        config: kruntimes_languages::Config,
    },
    /// Be the Runtime Server for Python
    RuntimePython {
        #[command(flatten)]
        log: LogArgs,
        #[command(flatten)]
        config: kruntimes_languages::python::Config,
    },
    /// Serve the Kubernetes API of a local home, without roles or pods
    Apiserver {
        #[command(flatten)]
        log: LogArgs,
        /// Directory of the store and the kubeconfig
        #[arg(long)]
        data_dir: PathBuf,
        /// Port on 127.0.0.1; 0 picks a free one
        #[arg(long, default_value_t = 0)]
        port: u16,
    },
    /// Remove the directory of an ephemeral home after its end
    #[command(hide = true)]
    Janitor {
        /// Be the janitor, not the one who starts it.
        #[arg(long)]
        detached: bool,
        /// The directory.
        dir: PathBuf,
    },
}

/// What every role takes.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What to log: a level, or targets with levels
    #[arg(long, env = "KRUNTIMES_LOG", default_value = LOG_FILTER)]
    log: String,
}

/// `krt serve scheduler`.
#[derive(Debug, Args)]
pub(crate) struct SchedulerArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    operate: OperateArgs,
    /// Where /metrics is served; 0 for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8080")]
    metrics_bind_address: String,
    /// Where /healthz and /readyz are served; 0 for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8081")]
    health_probe_bind_address: String,
}

/// `krt serve controller`.
#[derive(Debug, Args)]
pub(crate) struct ControllerArgs {
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    operate: OperateArgs,
    /// Where /metrics is served; 0 for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8082")]
    metrics_bind_address: String,
    /// Where /healthz and /readyz are served; 0 for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = ":8083")]
    health_probe_bind_address: String,
    /// Image of the sidecar where a Runtime names none
    #[arg(long, default_value = names::ROLES_IMAGE)]
    default_daemon_image: String,
    /// How long Runs without a TTL are kept after their end; 0 keeps them for ever
    #[arg(long, default_value = "7d", value_parser = duration::parse)]
    default_ttl: std::time::Duration,
    /// A pod that could not renew its Lease for so long kills what it executes
    #[arg(long, default_value_t = limits::FENCE_AFTER_SECONDS, value_name = "SECONDS")]
    fence_after_seconds: u64,
    /// A pod whose Lease stood unchanged for so long loses its Runs; at least 8 s more than --fence-after-seconds
    #[arg(long, default_value_t = limits::REAP_AFTER_SECONDS, value_name = "SECONDS")]
    reap_after_seconds: u64,
}

/// Serves the role.
pub(crate) fn start(chosen: Role) -> Result<(), Failure> {
    match chosen {
        Role::Scheduler(args) => scheduler(&args),
        Role::Controller(args) => controller(args),
        Role::Runtimed { log, mut config } => {
            // The lifeline is watched here, for every role alike.
            config.lifeline = None;
            // The Runs of its pod have its user.
            kruntimes_confine::hide_memory().map_err(|error| Failure::new(chain(&error)))?;
            let (drain, drains) = Shutdown::new();
            role_until(&log.log, Some(drain), async |end| {
                let stops = kruntimes_runtimed::Stops { drain: drains, end };
                Box::pin(kruntimes_runtimed::serve(*config, Client::try_default().await?, stops))
                    .await
                    .map_err(|error| Failure::new(chain(&error)))
            })
        }
        Role::RuntimeBash { log, mut config } => language(&log.log, async |zygote, shutdown| {
            config.confine.environment = kruntimes_languages::inherited(std::env::vars_os());
            kruntimes_languages::serve(config, zygote, shutdown).await
        }),
        Role::RuntimePython { log, mut config } => language(&log.log, async |zygote, shutdown| {
            config.confine.environment = kruntimes_languages::inherited(std::env::vars_os());
            kruntimes_languages::python::serve(config, zygote, shutdown).await
        }),
        Role::Maintainer { log, args } => role(&log.log, async |shutdown| {
            let config = kruntimes_maintainer::Config::Store(args);
            Box::pin(kruntimes_maintainer::serve(config, Client::try_default().await?, shutdown))
                .await
                .map_err(|error| Failure::new(error.to_string()))
        }),
        Role::Apiserver { log, data_dir, port } => {
            role(&log.log, async |shutdown| Box::pin(api::serve(data_dir, port, shutdown)).await)
        }
        Role::Janitor { detached: false, dir } => janitor::detach(&dir),
        Role::Janitor { detached: true, dir } => janitor::serve(&dir),
    }
}

/// Runs a Runtime Server.
fn language<F>(log: &str, serve: impl FnOnce(Zygote, Shutdown) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), kruntimes_languages::Error>>,
{
    // The zygote is forked while this process has one thread.
    let zygote = Zygote::start().map_err(|error| Failure::new(chain(&error)))?;
    role(log, async |shutdown| {
        serve(zygote, shutdown).await.map_err(|error| Failure::new(chain(&error)))
    })
}

fn scheduler(args: &SchedulerArgs) -> Result<(), Failure> {
    let watched =
        Watched { metrics: &args.metrics_bind_address, probes: &args.health_probe_bind_address };
    role(&args.log.log, async |shutdown| {
        let client = args.operate.client().await?;
        let instance = args.operate.instance().to_owned();
        let config = kruntimes_scheduler::Config { instance, ..Default::default() };
        let mut registry = metrics::registry(VERSION);
        config.metrics.register(&mut registry);
        let work = Box::pin(kruntimes_scheduler::serve(config, client.clone(), shutdown.clone()));
        let lease = names::SCHEDULER_LEASE;
        args.operate.operate::<Run>(lease, watched, registry, client, work, shutdown).await
    })
}

fn controller(args: ControllerArgs) -> Result<(), Failure> {
    let watched =
        Watched { metrics: &args.metrics_bind_address, probes: &args.health_probe_bind_address };
    let times = Times::checked(args.fence_after_seconds, args.reap_after_seconds)
        .map_err(|error| Failure::new(error.to_string()))?;
    let config = kruntimes_controller::Config {
        maintainers: Some(kruntimes_controller::Maintainers::new(
            args.default_daemon_image.clone(),
        )),
        pools: pool::Settings::new(args.default_daemon_image, times.fence_after),
        reap_after: times.reap_after,
        instance: args.operate.instance().to_owned(),
        retention: retention::Policy {
            default_ttl: Some(args.default_ttl).filter(|ttl| !ttl.is_zero()),
            max_runs: None,
        },
    };
    role(&args.log.log, async |shutdown| {
        let client = args.operate.client().await?;
        let registry = metrics::registry(VERSION);
        let work = Box::pin(kruntimes_controller::serve(config, client.clone(), shutdown.clone()));
        let lease = names::CONTROLLER_LEASE;
        args.operate.operate::<Runtime>(lease, watched, registry, client, work, shutdown).await
    })
}

fn role<F>(log: &str, work: impl FnOnce(Shutdown) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    role_until(log, None, work)
}

/// Runs a role until a signal, or the end of the lifeline where there is one. Where it can drain, the first SIGTERM asks
/// for that.
fn role_until<F>(
    log: &str,
    drain: Option<Trigger>,
    work: impl FnOnce(Shutdown) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    logs::install(log);
    memory::limit();
    on_one_thread(async {
        tokio::spawn(memory::keep_trimmed());
        let (trigger, shutdown) = Shutdown::new();
        let signals = Signals::listen()?;
        tokio::spawn(fire_at_the_end(signals, drain, trigger));
        work(shutdown).await
    })
}

/// Fires at a signal, or at the end of the lifeline where there is one; the first SIGTERM only drains what can.
pub(crate) async fn fire_at_the_end(
    mut signals: Signals,
    drain: Option<Trigger>,
    trigger: Trigger,
) {
    let asked = async {
        if let Some(drain) = &drain
            && signals.asked().await == Asked::Terminate
        {
            drain.fire();
            signals.next().await;
        } else if drain.is_none() {
            signals.next().await;
        }
    };
    if lifeline_is_on() {
        tokio::select! {
            () = asked => {}
            () = lifeline::watch_stdin(trigger.clone()) => {}
        }
    } else {
        asked.await;
    }
    trigger.fire();
}

/// Whether the end of stdin ends this process.
pub(crate) fn lifeline_is_on() -> bool {
    std::env::var_os(lifeline::VARIABLE).is_some_and(|value| value == "stdin")
}
