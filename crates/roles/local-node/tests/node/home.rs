//! A local home without roles: API server, node, and what tests ask of them.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kruntimes_apiserver::{ApiServer, Options, User};
use kruntimes_daemon::{Shutdown, Trigger};
use kruntimes_local_node::{Config, LogOptions, PodIdentity, PodLogs, Tokens, serve};
use kube::api::{ListParams, PostParams};
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client, Resource};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

/// No state that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stands in for krt: says what it was started with, and lives until the home is gone.
const PROGRAM: &str = "#!/bin/bash\necho \"role=$*\"\nenv\nexec cat\n";

static HOMES: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Home {
    pub(crate) client: Client,
    pub(crate) tokens: Arc<Issued>,
    pub(crate) logs: PodLogs,
    pub(crate) directory: PathBuf,
    running: Option<(Trigger, JoinHandle<()>)>,
}

/// Tokens that are valid.
#[derive(Debug, Default)]
pub(crate) struct Issued(pub(crate) Mutex<Vec<String>>);

impl Tokens for Issued {
    fn issue(&self, pod: &PodIdentity) -> String {
        let token = format!("token-of-{}", pod.uid);
        self.0.lock().unwrap().push(token.clone());
        token
    }

    fn revoke(&self, token: &str) {
        self.0.lock().unwrap().retain(|known| known != token);
    }
}

impl Home {
    pub(crate) fn start() -> Self {
        let number = HOMES.fetch_add(1, Ordering::Relaxed);
        let name = format!("krt-node-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let program = directory.join("krt");
        std::fs::write(&program, PROGRAM).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let server = ApiServer::open(Options::default()).unwrap();
        let client = Client::new(server.service(User::admin("test")), "default");
        let mut home =
            Self { client, tokens: Arc::default(), logs: PodLogs::new(), directory, running: None };
        home.serve();
        home
    }

    /// Starts the node, again if it was stopped.
    pub(crate) fn serve(&mut self) {
        let config = Config {
            data_dir: self.directory.clone(),
            program: self.directory.join("krt"),
            api_url: "https://127.0.0.1:6443".to_owned(),
            ca_pem: "CA".to_owned(),
            log_filter: "info".to_owned(),
            search_path: "/usr/local/bin:/usr/bin:/bin".to_owned(),
            runtimed_settings: Vec::new(),
            bucket_settings: Vec::new(),
        };
        let (trigger, shutdown) = Shutdown::new();
        let tokens: Arc<dyn Tokens> = Arc::<Issued>::clone(&self.tokens);
        let node = serve(config, self.client.clone(), tokens, self.logs.clone(), shutdown);
        let task = tokio::spawn(async move { node.await.unwrap() });
        self.running = Some((trigger, task));
    }

    /// Stops the node and waits for its end.
    pub(crate) async fn stop(&mut self) {
        let (trigger, task) = self.running.take().unwrap();
        trigger.fire();
        task.await.unwrap();
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn create_pod(&self, pod: &Value) -> Pod {
        let pod = serde_json::from_value(pod.clone()).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    pub(crate) async fn create_deployment(&self, deployment: &Value) {
        let deployment = serde_json::from_value(deployment.clone()).unwrap();
        self.deployments().create(&PostParams::default(), &deployment).await.unwrap();
    }

    pub(crate) async fn list_pods(&self) -> Vec<Pod> {
        self.pods().list(&ListParams::default()).await.unwrap().items
    }

    /// Waits for a pod by name.
    pub(crate) async fn pod(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        until(self.pods(), |pod| pod.metadata.name.as_deref() == Some(name) && wanted(pod)).await
    }

    /// Waits until there is no pod of this name.
    pub(crate) async fn no_pod(&self, name: &str) {
        let mut events = std::pin::pin!(watcher(self.pods(), watcher::Config::default()));
        let mut there = false;
        let gone = async {
            while let Some(event) = events.next().await {
                let named = |pod: &Pod| pod.metadata.name.as_deref() == Some(name);
                match event.unwrap() {
                    watcher::Event::Delete(pod) if named(&pod) => return,
                    watcher::Event::InitDone if !there => return,
                    watcher::Event::InitApply(pod) => there |= named(&pod),
                    watcher::Event::Apply(_)
                    | watcher::Event::Delete(_)
                    | watcher::Event::Init
                    | watcher::Event::InitDone => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("the pod does not go");
    }

    /// Waits for a line of a container that begins with `key=`, and gives the rest of it.
    pub(crate) async fn line(&self, pod: &str, container: &str, key: &str) -> String {
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let mut stream = self.logs.read("default", pod, container, options).await.unwrap();
        let mut text = String::new();
        let found = async {
            loop {
                let bytes = stream.next().await.expect("the log ends").unwrap();
                text.push_str(&String::from_utf8_lossy(&bytes));
                let mut lines =
                    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
                let found = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
                if let Some(rest) = found {
                    return rest.to_owned();
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("no such line")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// Waits for an object that is as wanted.
pub(crate) async fn until<K>(api: Api<K>, wanted: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + std::fmt::Debug + Send + 'static + serde::de::DeserializeOwned,
{
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()));
    let mut last = None;
    let found = async {
        while let Some(event) = events.next().await {
            if let watcher::Event::Apply(object) | watcher::Event::InitApply(object) =
                event.unwrap()
            {
                if wanted(&object) {
                    return Some(object);
                }
                last = Some(object);
            }
        }
        None
    };
    match tokio::time::timeout(PATIENCE, found).await {
        Ok(Some(object)) => object,
        _ => panic!("no object is as wanted; the last one was {last:#?}"),
    }
}

/// A container whose process is this command.
pub(crate) fn pod_running(name: &str, command: &[&str]) -> Value {
    json!({
        "metadata": {
            "name": name,
            "annotations": {"kruntimes.io/local-command": json!(command).to_string()},
        },
        "spec": {"containers": [{"name": "runtime", "image": "any"}]},
    })
}

/// A Deployment of pods with a Runtime Server and runtimed.
pub(crate) fn deployment(name: &str, replicas: i32, command: &[&str]) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {"kruntimes.io/local-command": json!(command).to_string()},
                },
                "spec": {"containers": [
                    {"name": "runtime", "image": "any"},
                    {"name": "runtimed", "image": "kruntimes-runtimed:latest", "args": ["--workers=2"]},
                ]},
            },
        },
    })
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
        && pod.metadata.deletion_timestamp.is_none()
}

pub(crate) fn containers(pod: &Pod) -> Vec<ContainerStatus> {
    pod.status.as_ref().and_then(|status| status.container_statuses.clone()).unwrap_or_default()
}

/// The processes of a pod's containers.
pub(crate) fn pids(pod: &Pod) -> Vec<i32> {
    let ids = containers(pod).into_iter().filter_map(|status| status.container_id);
    ids.map(|id| id.strip_prefix("process://").unwrap().parse().unwrap()).collect()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok()
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}
