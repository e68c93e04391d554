//! A local home in this process: the API server on TLS, scheduler, controller and node on its in-process service.
//!
//! Invariant: after [`LocalHome::stop`] no process of a pod lives; the API server ends last.

use super::api::Api;
use super::pods;
use super::ready_made::{self, ReadyMade};
use crate::failure::{Failure, chain};
use k8s_openapi::api::apps::v1::Deployment;
use kruntimes_apiserver::{ApiServer, User};
use kruntimes_daemon::{Shutdown, Trigger};
use kruntimes_rules::reaper::Times;
use kruntimes_rules::{pool, retention};
use kube::Client;
use kube::runtime::wait::await_condition;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Namespace of the ready-made Runtime and of commands that name none.
const NAMESPACE: &str = "default";
/// What its roles call themselves in Events.
const INSTANCE: &str = "local-home";
/// Runs that ended are kept this long where they don't say otherwise.
const DEFAULT_TTL: Duration = Duration::from_secs(24 * 3600);
/// And so many of them.
const MAX_RUNS: usize = 10_000;
/// How long the ready-made pods may take until the home says that it is ready without them.
const PODS_READY: Duration = Duration::from_secs(20);
/// How long the pods may take to end.
const PODS_END: Duration = Duration::from_secs(20);
/// `PATH` of pods when this process has none.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How a home is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options<'a> {
    /// Its directory.
    pub(super) dir: &'a Path,
    /// Whether its objects are kept.
    pub(super) durable: bool,
    /// Port of the API server; 0 picks a free one.
    pub(super) port: u16,
    /// Its Runtimes, each with its pods. The first is waited for.
    pub(super) runtimes: &'a [(ReadyMade, i32)],
    /// What its roles log.
    pub(super) log: &'a str,
    /// When a pod that is cut off loses its Runs.
    pub(super) times: Times,
}

/// A running home.
pub(super) struct LocalHome {
    server: Arc<ApiServer>,
    kubeconfig: String,
    /// What is waited for: a Runtime and its pods.
    first: Option<(ReadyMade, i32)>,
    tasks: JoinSet<Result<(), Failure>>,
    node: JoinSet<Result<(), Failure>>,
    end_node: Trigger,
    end_rest: Trigger,
}

impl LocalHome {
    /// Starts one.
    pub(super) async fn start(options: Options<'_>) -> Result<Self, Failure> {
        let api = Api::open(options.durable.then_some(options.dir), options.port).await?;
        let (end_node, node_shutdown) = Shutdown::new();
        let (end_rest, shutdown) = Shutdown::new();
        let mut home = Self {
            kubeconfig: api.kubeconfig.clone(),
            first: options.runtimes.first().copied(),
            server: Arc::clone(&api.server),
            tasks: JoinSet::new(),
            node: JoinSet::new(),
            end_node,
            end_rest,
        };
        let client = home.client();
        kruntimes_local_node::recover(&client)
            .await
            .map_err(|error| Failure::new(format!("can't look at the pods of before: {error}")))?;
        for (runtime, replicas) in options.runtimes {
            ready_made::ensure(&client, NAMESPACE, *runtime, *replicas).await?;
        }
        home.start_roles(&client, options.times, &shutdown);
        let environment = bucket_variables().into_iter().collect();
        let config =
            kruntimes_maintainer::Config::Home { home: options.dir.to_owned(), environment };
        let (of_maintainer, end) = (client.clone(), shutdown.clone());
        home.tasks.spawn(async move {
            Box::pin(kruntimes_maintainer::serve(config, of_maintainer, end))
                .await
                .map_err(|error| Failure::new(error.to_string()))
        });
        let config = pods_config(&options, api.url.clone(), api.ca_pem.clone())?;
        home.start_node(client, config, node_shutdown);
        home.tasks.spawn(api.serve(shutdown));
        Ok(home)
    }

    fn start_roles(&mut self, client: &Client, times: Times, shutdown: &Shutdown) {
        let instance = INSTANCE.to_owned();
        let config = kruntimes_scheduler::Config { instance, ..Default::default() };
        let (of_scheduler, end) = (client.clone(), shutdown.clone());
        self.tasks.spawn(async move {
            Box::pin(kruntimes_scheduler::serve(config, of_scheduler, end)).await;
            Ok(())
        });
        let config = kruntimes_controller::Config {
            pools: pool::Settings::new(
                kruntimes_api::names::ROLES_IMAGE.to_owned(),
                times.fence_after,
            ),
            reap_after: times.reap_after,
            // The home has one for all of its stores.
            maintainers: None,
            instance: INSTANCE.to_owned(),
            retention: retention::Policy {
                default_ttl: Some(DEFAULT_TTL),
                max_runs: Some(MAX_RUNS),
            },
        };
        let (of_controller, end) = (client.clone(), shutdown.clone());
        self.tasks.spawn(async move {
            Box::pin(kruntimes_controller::serve(config, of_controller, end)).await;
            Ok(())
        });
    }

    fn start_node(
        &mut self,
        client: Client,
        config: kruntimes_local_node::Config,
        shutdown: Shutdown,
    ) {
        let logs = kruntimes_local_node::PodLogs::new();
        self.server.set_pod_logs(Arc::new(pods::Logs(logs.clone())));
        let tokens = Arc::new(pods::Tokens(Arc::clone(&self.server)));
        self.node.spawn(async move {
            kruntimes_local_node::serve(config, client, tokens, logs, shutdown)
                .await
                .map_err(|error| Failure::new(chain(&error)))
        });
    }

    /// Talks to it, in process.
    pub(super) fn client(&self) -> Client {
        Client::new(self.server.service(User::admin("local-home")), NAMESPACE)
    }

    /// The kubeconfig for others.
    pub(super) fn kubeconfig(&self) -> &str {
        &self.kubeconfig
    }

    /// Waits for the ready-made pods; false when they take too long.
    pub(super) fn ready(&self) -> impl Future<Output = bool> + use<> {
        let first = self.first;
        let pools = kube::Api::namespaced(self.client(), NAMESPACE);
        async move {
            let Some((runtime, replicas)) = first else { return true };
            let ready = move |pool: Option<&Deployment>| {
                let ready = pool.and_then(|pool| pool.status.as_ref()?.ready_replicas);
                ready.is_some_and(|ready| ready >= replicas)
            };
            let name = kruntimes_api::names::runtime_object(runtime.name());
            let pods = Box::pin(await_condition(pools, &name, ready));
            matches!(timeout(PODS_READY, pods).await, Ok(Ok(_)))
        }
    }

    /// Waits until a part of it fails.
    pub(super) async fn failed(&mut self) -> Failure {
        let ended = tokio::select! {
            why = self.server.failed() => return Failure::new(format!("the store has failed: {why}")),
            Some(ended) = self.tasks.join_next() => ended,
            Some(ended) = self.node.join_next() => ended,
        };
        match ended {
            Ok(Ok(())) => Failure::new("a part of the local home ended"),
            Ok(Err(failure)) => failure,
            Err(error) => Failure::new(format!("internal error: {error}")),
        }
    }

    /// Ends the pods, then the rest.
    pub(super) async fn stop(mut self) {
        self.end_node.fire();
        let pods = async { while self.node.join_next().await.is_some() {} };
        if timeout(PODS_END, pods).await.is_err() {
            tracing::warn!("the pods have not ended in time; they end with this process");
        }
        self.end_rest.fire();
        self.tasks.shutdown().await;
    }
}

/// Where pods find programs.
pub(super) fn search_path() -> String {
    std::env::var_os("PATH")
        .map_or_else(|| SEARCH_PATH.to_owned(), |path| path.to_string_lossy().into_owned())
}

fn pods_config(
    options: &Options<'_>,
    api_url: String,
    ca_pem: String,
) -> Result<kruntimes_local_node::Config, Failure> {
    let variable =
        |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
    let settings = kruntimes_runtimed::SourceConfig::VARIABLES
        .into_iter()
        .chain(kruntimes_daemon::crash::VARIABLES.into_iter().filter(|_| cfg!(debug_assertions)))
        .filter_map(|name| Some((name.to_owned(), variable(name)?)));
    Ok(kruntimes_local_node::Config {
        data_dir: PathBuf::from(options.dir),
        program: std::env::current_exe()?,
        api_url,
        ca_pem,
        log_filter: options.log.to_owned(),
        search_path: search_path(),
        runtimed_settings: settings.collect(),
        bucket_settings: bucket_variables(),
    })
}

/// What the home's own environment has for buckets of artifacts.
fn bucket_variables() -> Vec<(String, String)> {
    let all = std::env::vars();
    all.filter(|(name, _)| kruntimes_artifacts::Credentials::is_variable(name)).collect()
}
