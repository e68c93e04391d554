//! A world of the scheduler: API server, scheduler, and what the test puts in.

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod};
use kruntimes_api::{Run, Runtime};
use kruntimes_apiserver::{ApiServer, Options, User};
use kruntimes_daemon::{Shutdown, Trigger};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Long enough for the slowest machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    client: Client,
    _trigger: Trigger,
}

impl World {
    pub(crate) fn start() -> Self {
        let server = ApiServer::open(Options {
            data_dir: None,
            crds: kruntimes_api::crd::all(),
            history_limit: 10_000,
        })
        .unwrap();
        let client = Client::new(server.service(User::admin("test")), "default");
        let (trigger, shutdown) = Shutdown::new();
        let config = kruntimes_scheduler::Config::default();
        tokio::spawn(kruntimes_scheduler::serve(config, client.clone(), shutdown));
        Self { client, _trigger: trigger }
    }

    pub(crate) async fn namespace(&self, name: &str) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        if namespaces.get_opt(name).await.unwrap().is_none() {
            let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        }
    }

    pub(crate) async fn runtime(&self, namespace: &str) {
        self.runtime_with(namespace, json!({"runs": 9, "gpu": 2})).await;
    }

    pub(crate) async fn runtime_with(&self, namespace: &str, resources: Value) {
        let runtimes: Api<Runtime> = Api::namespaced(self.client.clone(), namespace);
        let runtime = serde_json::from_value(json!({
            "metadata": {"name": "bash"},
            "spec": {
                "template": {"spec": {"containers": [{"name": "runtime", "image": "x"}]}},
                "capacity": {"resources": resources},
            },
        }))
        .unwrap();
        runtimes.create(&PostParams::default(), &runtime).await.unwrap();
    }

    /// A ready pod; the answer is its UID.
    pub(crate) async fn ready_pod(&self, namespace: &str, name: &str, capacity: &str) -> String {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "labels": {"runtime": "bash"},
                "annotations": {"kruntimes.io/capacity.runs": capacity, "kruntimes.io/capacity.gpu": "2"},
            },
            "spec": {"containers": [{"name": "runtime", "image": "x"}]},
        }))
        .unwrap();
        let created = pods.create(&PostParams::default(), &pod).await.unwrap();
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "kruntimes.io/RuntimedReady", "status": "True"},
        ]}});
        pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        created.uid().unwrap()
    }

    /// The Lease of a pod of the Runtime bash, with these labels beside that of the Runtime.
    pub(crate) async fn lease(&self, namespace: &str, pod: &str, labels: Value) {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), namespace);
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": pod, "labels": {"runtime": "bash"}},
        });
        lease["metadata"]["labels"]
            .as_object_mut()
            .unwrap()
            .extend(labels.as_object().unwrap().clone());
        let lease: Lease = serde_json::from_value(lease).unwrap();
        match leases.get_opt(pod).await.unwrap() {
            None => leases.create(&PostParams::default(), &lease).await.unwrap(),
            Some(former) => {
                let mut lease = lease;
                lease.metadata.resource_version = former.resource_version();
                leases.replace(pod, &PostParams::default(), &lease).await.unwrap()
            }
        };
    }

    pub(crate) async fn run(&self, namespace: &str, name: &str, spec: Value) -> Run {
        let mut object = json!({"metadata": {"name": name}, "spec": {"runtime": "bash"}});
        object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let run = serde_json::from_value(object).unwrap();
        self.runs(namespace).create(&PostParams::default(), &run).await.unwrap()
    }

    pub(crate) async fn patch(&self, namespace: &str, name: &str, patch: Value) {
        let parameters = PatchParams::default();
        self.runs(namespace).patch(name, &parameters, &Patch::Merge(patch)).await.unwrap();
    }

    /// The Run as soon as it is as wanted.
    pub(crate) async fn until(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&Run) -> bool,
    ) -> Run {
        self.until_any(namespace, |run| run.name_any() == name && wanted(run)).await
    }

    /// What was said of a Run of the namespace `default`.
    pub(crate) async fn until_event_about(&self, run: &str) -> Event {
        let config = watcher::Config::default().fields(&format!("involvedObject.name={run}"));
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let events = watcher(events, config).applied_objects();
        pin_mut!(events);
        tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap()
    }

    /// The first Run that is as wanted.
    pub(crate) async fn until_any(&self, namespace: &str, wanted: impl Fn(&Run) -> bool) -> Run {
        let events = watcher(self.runs(namespace), watcher::Config::default()).applied_objects();
        pin_mut!(events);
        let found = async {
            loop {
                let run = events.next().await.unwrap().unwrap();
                if wanted(&run) {
                    return run;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap()
    }

    /// Assigned Runs by pod.
    pub(crate) async fn pods_of(&self, namespace: &str) -> BTreeMap<String, usize> {
        let runs = self.runs(namespace).list(&ListParams::default()).await.unwrap();
        let mut counts = BTreeMap::new();
        for pod in runs.items.into_iter().filter_map(|run| run.status?.assigned_pod) {
            *counts.entry(pod).or_default() += 1;
        }
        counts
    }

    fn runs(&self, namespace: &str) -> Api<Run> {
        Api::namespaced(self.client.clone(), namespace)
    }
}
