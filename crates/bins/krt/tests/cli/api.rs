//! A home's API, as a program uses it beside krt.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// Nothing that a test waits for takes this long.
const LIMIT: Duration = Duration::from_secs(90);

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(LIMIT, work).await.expect("in time") })
}

pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// What the API server answers to a GET.
pub(crate) fn get(kubeconfig: &Path, path: &str) -> Value {
    block_on(async {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        client(kubeconfig).await.request(request).await.unwrap()
    })
}

/// Creates an object as it stands: typed objects would go without their kind.
pub(crate) async fn create<K>(api: &Api<K>, body: Value) -> K
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    let request = kube::core::Request::new(api.resource_url());
    let request =
        request.create(&PostParams::default(), serde_json::to_vec(&body).unwrap()).unwrap();
    api.clone().into_client().request(request).await.unwrap()
}

pub(crate) async fn namespace(client: &Client, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    create(&Api::<Namespace>::all(client.clone()), body).await;
}
