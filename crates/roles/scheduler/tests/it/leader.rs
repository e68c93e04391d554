//! Replicas of a role on one API server: one of them works.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kruntimes_apiserver::{ApiServer, Options, User};
use kruntimes_cluster::leader::{Candidate, Lost, lead};
use kruntimes_daemon::{Shutdown, Trigger};
use kruntimes_rules::leader::Timing;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing that a test waits for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Short enough to see a Lease run out.
const QUICK: Timing = Timing {
    lease: Duration::from_millis(600),
    renew_within: Duration::from_millis(400),
    retry: Duration::from_millis(50),
};

async fn api_server() -> Client {
    let server = ApiServer::open(Options {
        data_dir: None,
        crds: kruntimes_api::crd::all(),
        ..Options::default()
    })
    .unwrap();
    let client = Client::new(server.service(User::admin("test")), "default");
    let namespace = serde_json::from_value(json!({"metadata": {"name": "system"}})).unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    client
}

struct Replica {
    trigger: Trigger,
    task: JoinHandle<Result<(), Lost>>,
}

/// Says its name when it starts to work, and again when it stops.
fn replica(
    client: &Client,
    name: &'static str,
    timing: Timing,
    said: &mpsc::Sender<String>,
) -> Replica {
    let (trigger, mut shutdown) = Shutdown::new();
    let mut end = shutdown.clone();
    let candidate = Candidate {
        namespace: "system".to_owned(),
        lease: "role".to_owned(),
        identity: name.to_owned(),
        timing,
    };
    let (client, said) = (client.clone(), said.clone());
    let task = tokio::spawn(async move {
        let work = async {
            said.send(name.to_owned()).await.unwrap();
            shutdown.wait().await;
        };
        lead(client, candidate, end.wait(), work).await
    });
    Replica { trigger, task }
}

async fn next(said: &mut mpsc::Receiver<String>) -> String {
    timeout(PATIENCE, said.recv()).await.unwrap().unwrap()
}

async fn holder(client: &Client) -> String {
    let leases: Api<Lease> = Api::namespaced(client.clone(), "system");
    leases.get("role").await.unwrap().spec.unwrap().holder_identity.unwrap()
}

#[tokio::test]
async fn one_of_two_works_and_hands_over_when_it_ends() {
    let client = api_server().await;
    let (sender, mut said) = mpsc::channel(8);
    let first = replica(&client, "first", Timing::default(), &sender);
    assert_eq!(next(&mut said).await, "first");
    let second = replica(&client, "second", Timing::default(), &sender);
    assert_eq!(holder(&client).await, "first");
    first.trigger.fire();
    assert_eq!(timeout(PATIENCE, first.task).await.unwrap().unwrap(), Ok(()));
    // Far sooner than the fifteen seconds of the Lease: it was given back.
    assert_eq!(timeout(Duration::from_secs(10), said.recv()).await.unwrap().unwrap(), "second");
    second.trigger.fire();
    assert_eq!(timeout(PATIENCE, second.task).await.unwrap().unwrap(), Ok(()));
    assert_eq!(holder(&client).await, "");
}

#[tokio::test]
async fn a_replica_that_waits_ends_at_once() {
    let client = api_server().await;
    let (sender, mut said) = mpsc::channel(8);
    let _first = replica(&client, "first", Timing::default(), &sender);
    next(&mut said).await;
    let second = replica(&client, "second", Timing::default(), &sender);
    second.trigger.fire();
    assert_eq!(timeout(PATIENCE, second.task).await.unwrap().unwrap(), Ok(()));
    assert_eq!(holder(&client).await, "first");
}

#[tokio::test]
async fn a_lease_that_nobody_renews_is_taken_over() {
    let client = api_server().await;
    let (sender, mut said) = mpsc::channel(8);
    let first = replica(&client, "first", QUICK, &sender);
    next(&mut said).await;
    let second = replica(&client, "second", QUICK, &sender);
    first.task.abort();
    assert_eq!(next(&mut said).await, "second");
    assert_eq!(holder(&client).await, "second");
    second.trigger.fire();
}

#[tokio::test]
async fn a_leader_whose_lease_was_taken_stops() {
    let client = api_server().await;
    let (sender, mut said) = mpsc::channel(8);
    let first = replica(&client, "first", Timing::default(), &sender);
    next(&mut said).await;
    let leases: Api<Lease> = Api::namespaced(client, "system");
    let taken = json!({"spec": {"holderIdentity": "thief"}});
    leases.patch("role", &PatchParams::default(), &Patch::Merge(taken)).await.unwrap();
    assert_eq!(timeout(PATIENCE, first.task).await.unwrap().unwrap(), Err(Lost));
}
