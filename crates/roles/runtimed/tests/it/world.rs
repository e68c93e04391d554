//! A world of one pod: API server, its runtimed with the pod's own rights, a Runtime Server in the test's hand.

use crate::server::Fake;
use futures::future::BoxFuture;
use futures::{StreamExt, pin_mut};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::{Run, Timeline, labels};
use kruntimes_apiserver::{ApiServer, ApiService, Options, User};
use kruntimes_artifacts::StoreConfig;
use kruntimes_cluster::status;
use kruntimes_daemon::{Shutdown, Trigger};
use kruntimes_rules::run::{patch::Assignment, retry};
use kruntimes_runtimed::{Config, Durability, SourceConfig, Stops};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Long enough for the slowest machine; nothing waits for it to pass.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POD: &str = "p1";

static PODS: AtomicU8 = AtomicU8::new(1);

/// The process under test: its task, and what drains and ends it.
struct Runtimed {
    task: JoinHandle<()>,
    drain: Trigger,
    end: Trigger,
}

pub(crate) struct World {
    pub(crate) fake: Fake,
    pub(crate) address: IpAddr,
    pub(crate) directory: PathBuf,
    /// The API server as runtimed reaches it.
    pub(crate) reach: Reach,
    server: Arc<ApiServer>,
    client: Client,
    pod_uid: String,
    workers: u32,
    source: SourceConfig,
    drain_seconds: u64,
    fence_seconds: u64,
    runtimed: Option<Runtimed>,
    _serving: JoinHandle<()>,
}

impl World {
    /// A pod with a server that pushes events.
    pub(crate) async fn start(workers: u32) -> Self {
        Self::start_with(workers, true).await
    }

    pub(crate) async fn start_with(workers: u32, with_events: bool) -> Self {
        Self::start_all(workers, with_events, SourceConfig::default()).await
    }

    /// A pod that fetches sources as `source` says.
    pub(crate) async fn start_fetching(source: SourceConfig) -> Self {
        Self::start_all(2, true, source).await
    }

    /// A pod whose Runs have so many seconds to end.
    pub(crate) async fn start_draining_within(seconds: u64) -> Self {
        let mut world = Self::start(1).await;
        world.kill_runtimed().await;
        world.drain_seconds = seconds;
        world.start_runtimed();
        world
    }

    /// A pod that kills its Runs after so many seconds without its Lease.
    pub(crate) async fn start_fencing_after(workers: u32, seconds: u64) -> Self {
        let mut world = Self::start(workers).await;
        world.kill_runtimed().await;
        world.fence_seconds = seconds;
        world.start_runtimed();
        world
    }

    async fn start_all(workers: u32, with_events: bool, source: SourceConfig) -> Self {
        let number = PODS.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(127, high.max(1), low, number));
        let directory = std::env::temp_dir()
            .join(format!("kruntimes-runtimed-{}-{number}", std::process::id()));
        drop(std::fs::remove_dir_all(&directory));
        std::fs::create_dir_all(directory.join("workspace")).unwrap();
        let server = ApiServer::open(Options {
            data_dir: None,
            crds: kruntimes_api::crd::all(),
            history_limit: 10_000,
        })
        .unwrap();
        let client = Client::new(server.service(User::admin("test")), "default");
        let pod = json!({
            "metadata": {"name": POD, "labels": {"runtime": "bash"}},
            "spec": {"containers": [{"name": "runtime", "image": "x"}]},
        });
        let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
        let pod = serde_json::from_value(pod).unwrap();
        let pod = pods.create(&PostParams::default(), &pod).await.unwrap();
        let token = directory.join("control/token");
        let (fake, serving) = Fake::start(address, token, with_events).await;
        let mut world = Self {
            fake,
            address,
            directory,
            reach: Reach::default(),
            server,
            client,
            pod_uid: pod.uid().unwrap(),
            workers,
            source,
            drain_seconds: 300,
            fence_seconds: 30,
            runtimed: None,
            _serving: serving,
        };
        world.start_runtimed();
        world
    }

    pub(crate) fn start_runtimed(&mut self) {
        let user = User::runtimed("default", "runtime-bash", POD, &self.pod_uid);
        let service = Reached { api: self.server.service(user), reach: self.reach.clone() };
        let client = Client::new(service, "default");
        let config = Config {
            runtime_endpoint: "127.0.0.1:9091".to_owned(),
            status_addr: ":9093".to_owned(),
            health_probe_bind_address: ":9094".to_owned(),
            runtime_name: "bash".to_owned(),
            workers: self.workers,
            run_limit: Vec::new(),
            capacity: vec![("gpu".to_owned(), 2)],
            store: StoreConfig::volume(self.directory.join("store"), "claim"),
            archive_logs: true,
            loopback: Some(self.address),
            workspace: self.directory.join("workspace"),
            control: self.directory.join("control"),
            state: self.directory.join("state"),
            drain_timeout_seconds: self.drain_seconds,
            fence_after_seconds: self.fence_seconds,
            journal: Durability::Machine,
            mounted: self.directory.join("sources"),
            pod_name: POD.to_owned(),
            pod_namespace: "default".to_owned(),
            pod_uid: Some(self.pod_uid.clone()),
            source: self.source.clone(),
            lifeline: None,
        };
        let (drain, drains) = Shutdown::new();
        let (end, ends) = Shutdown::new();
        let serving = async move {
            let lines = std::io::sink();
            let stops = Stops { drain: drains, end: ends };
            kruntimes_runtimed::serve_with(config, client, stops, lines).await.unwrap();
        };
        self.runtimed = Some(Runtimed { task: tokio::spawn(serving), drain, end });
    }

    /// As SIGKILL: nothing is said to anybody.
    pub(crate) async fn kill_runtimed(&mut self) {
        let Runtimed { task, .. } = self.runtimed.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    /// As SIGTERM.
    pub(crate) fn drain_runtimed(&self) {
        self.runtimed.as_ref().unwrap().drain.fire();
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn runtimed_ended(&mut self) {
        let Runtimed { task, drain, end } = self.runtimed.take().unwrap();
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
        drop((drain, end));
    }

    /// As SIGINT, or the end of the home.
    pub(crate) async fn stop_runtimed(&mut self) {
        let Runtimed { task, end, drain } = self.runtimed.take().unwrap();
        end.fire();
        drop(drain);
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
    }

    /// Creates a Run and gives it to the pod. The answer is its UID.
    pub(crate) async fn assigned(&self, name: &str, spec: Value) -> String {
        let run = self.created(name, spec).await.unwrap();
        self.assign(&run).await;
        run.uid().unwrap()
    }

    /// Creates a Run, if the API server admits it.
    pub(crate) async fn created(&self, name: &str, spec: Value) -> kube::Result<Run> {
        let mut object = json!({"metadata": {"name": name}, "spec": {"runtime": "bash"}});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let run = serde_json::from_value(object).unwrap();
        self.runs().create(&PostParams::default(), &run).await
    }

    pub(crate) async fn assign(&self, run: &Run) {
        let now = Timestamp::now();
        let timeline = Timeline {
            seen: Some(MicroTime(now)),
            scheduled: Some(MicroTime(now)),
            ..Timeline::default()
        };
        let assignment = Assignment {
            pod: POD,
            pod_uid: &self.pod_uid,
            attempt: retry::next_attempt(run.status.as_ref()),
            timeline: &timeline,
        };
        status::assign(&self.runs(), run, &assignment, now).await.unwrap();
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) {
        self.runs().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub(crate) async fn patch_status(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        self.runs().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.runs().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The Run as soon as it is as wanted.
    pub(crate) async fn until(&self, name: &str, wanted: impl Fn(&Run) -> bool) -> Run {
        first(self.runs(), name, wanted).await
    }

    pub(crate) async fn until_over(&self, name: &str) -> Run {
        self.until(name, |run| run.phase().is_terminal()).await
    }

    /// The pod as soon as it is as wanted.
    pub(crate) async fn until_pod(&self, wanted: impl Fn(&Pod) -> bool) -> Pod {
        first(Api::namespaced(self.client.clone(), "default"), POD, wanted).await
    }

    /// Waits until the workspace of a Run is gone.
    pub(crate) async fn until_removed(&self, uid: &str) {
        self.until_gone(&format!("workspace/{uid}")).await;
    }

    /// Waits until a file or directory of the pod is gone.
    pub(crate) async fn until_gone(&self, path: &str) {
        let path = self.directory.join(path);
        let wait = async {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }

    /// The Lease of the pod as soon as it is as wanted.
    pub(crate) async fn until_lease(&self, wanted: impl Fn(&Lease) -> bool) -> Lease {
        first(self.leases(), POD, wanted).await
    }

    /// As the controller does.
    pub(crate) async fn break_lease(&self, mut lease: Lease) {
        let labels = lease.metadata.labels.get_or_insert_default();
        labels.insert(labels::BROKEN.to_owned(), "true".to_owned());
        lease.spec.get_or_insert_default().holder_identity = Some(String::new());
        let parameters = PostParams::default();
        if lease.metadata.resource_version.is_some() {
            self.leases().replace(POD, &parameters, &lease).await.unwrap();
        } else {
            lease.metadata.name = Some(POD.to_owned());
            self.leases().create(&parameters, &lease).await.unwrap();
        }
    }

    pub(crate) fn events(&self) -> Api<Event> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) fn pod_uid(&self) -> &str {
        &self.pod_uid
    }

    fn runs(&self) -> Api<Run> {
        Api::namespaced(self.client.clone(), "default")
    }
}

/// Whether runtimed reaches the API server, and how often it did not.
#[derive(Clone, Default)]
pub(crate) struct Reach {
    cut: Arc<AtomicBool>,
    failures: Arc<watch::Sender<u32>>,
}

impl Reach {
    pub(crate) fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }

    /// Waits for so many requests in vain.
    pub(crate) async fn failed(&self, times: u32) {
        let mut failures = self.failures.subscribe();
        let wait = failures.wait_for(|failures| *failures >= times);
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    }
}

#[derive(Clone)]
struct Reached {
    api: ApiService,
    reach: Reach,
}

impl tower::Service<Request<kube::client::Body>> for Reached {
    type Response = <ApiService as tower::Service<Request<kube::client::Body>>>::Response;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        if self.reach.cut.load(Ordering::Relaxed) {
            self.reach.failures.send_modify(|failures| *failures += 1);
            return Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) });
        }
        let answer = tower::Service::call(&mut self.api, request);
        Box::pin(async move { answer.await.map_err(|error| match error {}) })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

async fn first<K>(api: Api<K>, name: &str, wanted: impl Fn(&K) -> bool) -> K
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    K::DynamicType: Default,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, config).applied_objects();
    pin_mut!(events);
    let found = async {
        loop {
            let object = events.next().await.unwrap().unwrap();
            if wanted(&object) {
                return object;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap()
}
