//! A world of the controller: API server, controller, and what the test puts in.

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Event;
use kruntimes_apiserver::{ApiServer, Options, User};
use kruntimes_daemon::{Shutdown, Trigger};
use kruntimes_rules::pool::Settings;
use kruntimes_rules::reaper::Times;
use kruntimes_rules::retention::Policy;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower::ServiceExt;

/// Long enough for the slowest machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);

/// A namespaced kind.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + 'static
{
}
impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + 'static
{
}

pub(crate) struct World {
    pub(crate) client: Client,
    /// What the controller wrote: method and path.
    writes: Arc<Mutex<Vec<String>>>,
    refuse: Arc<AtomicBool>,
    _trigger: Trigger,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with_crds(kruntimes_api::crd::all())
    }

    /// A world whose objects were admitted before there were patterns and rules.
    pub(crate) fn without_rules() -> Self {
        let mut crds = kruntimes_api::crd::all();
        crds.iter_mut().for_each(drop_rules);
        Self::with_crds(crds)
    }

    /// A world whose controller takes the Runs of a pod that was silent for so long.
    pub(crate) fn reaping_after(reap_after: Duration) -> Self {
        Self::open(kruntimes_api::crd::all(), reap_after)
    }

    fn with_crds(crds: Vec<Value>) -> Self {
        Self::open(crds, Times::default().reap_after)
    }

    fn open(crds: Vec<Value>, reap_after: Duration) -> Self {
        let server =
            ApiServer::open(Options { data_dir: None, crds, history_limit: 10_000 }).unwrap();
        let client = Client::new(server.service(User::admin("test")), "default");
        let (trigger, shutdown) = Shutdown::new();
        let config = kruntimes_controller::Config {
            pools: Settings::new(
                "kruntimes-runtimed:latest".to_owned(),
                Times::default().fence_after,
            ),
            reap_after,
            maintainers: Some(kruntimes_controller::Maintainers {
                image: "kruntimes:latest".to_owned(),
                cluster: None,
                lingers: Duration::from_millis(200),
                look_again: Duration::from_millis(200),
            }),
            instance: "test".to_owned(),
            retention: Policy { default_ttl: None, max_runs: None },
        };
        let (writes, refuse) = (Arc::default(), Arc::default());
        let observed = watched(&server, Arc::clone(&writes), Arc::clone(&refuse));
        tokio::spawn(kruntimes_controller::serve(config, observed, shutdown));
        Self { client, writes, refuse, _trigger: trigger }
    }

    /// The next Run that the controller creates is refused, as by a server that is busy.
    pub(crate) fn refuse_next_run(&self) {
        self.refuse.store(true, Ordering::SeqCst);
    }

    /// What the controller wrote since the last call.
    pub(crate) fn take_writes(&self) -> Vec<String> {
        std::mem::take(&mut *self.writes.lock().unwrap())
    }

    pub(crate) async fn create<K: Object>(&self, object: Value) -> K {
        let object = serde_json::from_value(object).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    pub(crate) async fn patch<K: Object>(&self, name: &str, patch: Value) {
        let patch = Patch::Merge(patch);
        self.api::<K>().patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn patch_status<K: Object>(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete<K: Object>(&self, name: &str) {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// The object as soon as it is as wanted.
    pub(crate) async fn until<K: Object>(&self, name: &str, wanted: impl Fn(&K) -> bool) -> K {
        self.until_event(name, |event| match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                wanted(&object).then_some(object)
            }
            watcher::Event::Init | watcher::Event::InitDone | watcher::Event::Delete(_) => None,
        })
        .await
    }

    /// Resolves when the object does not exist.
    pub(crate) async fn until_gone<K: Object>(&self, name: &str) {
        let mut listed = false;
        self.until_event::<K, ()>(name, |event| match event {
            watcher::Event::Init => {
                listed = false;
                None
            }
            watcher::Event::InitApply(_) | watcher::Event::Apply(_) => {
                listed = true;
                None
            }
            watcher::Event::InitDone => (!listed).then_some(()),
            watcher::Event::Delete(_) => Some(()),
        })
        .await;
    }

    /// What was said of a Run.
    pub(crate) async fn until_event_about(&self, run: &str) -> Event {
        let config = watcher::Config::default().fields(&format!("involvedObject.name={run}"));
        let events = watcher(self.api::<Event>(), config).applied_objects();
        pin_mut!(events);
        tokio::time::timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap()
    }

    async fn until_event<K: Object, T>(
        &self,
        name: &str,
        mut wanted: impl FnMut(watcher::Event<K>) -> Option<T>,
    ) -> T {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let events = watcher(self.api::<K>(), config);
        pin_mut!(events);
        let found = async {
            loop {
                if let Some(found) = wanted(events.next().await.unwrap().unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.unwrap()
    }

    pub(crate) fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), "default")
    }
}

/// A client whose writes are noted.
fn watched(
    server: &Arc<ApiServer>,
    writes: Arc<Mutex<Vec<String>>>,
    refuse: Arc<AtomicBool>,
) -> Client {
    let service = server.service(User::admin("controller"));
    let noted = service.map_request(move |mut request: http::Request<Body>| {
        if request.method() != http::Method::GET {
            let write = format!("{} {}", request.method(), request.uri().path());
            let is_run = request.method() == http::Method::POST && write.ends_with("/runs");
            writes.lock().unwrap().push(write);
            if is_run && refuse.swap(false, Ordering::SeqCst) {
                // Nobody serves it, and another try may do better.
                *request.method_mut() = http::Method::TRACE;
            }
        }
        request
    });
    Client::new(noted, "default")
}

fn drop_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "x-kubernetes-validations" && name != "pattern");
            fields.values_mut().for_each(drop_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
