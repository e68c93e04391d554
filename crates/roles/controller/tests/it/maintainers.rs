//! Who looks after the artifact stores of a cluster.

use crate::world::World;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kruntimes_api::Run;
use kruntimes_api::labels::ARTIFACT_FINALIZER;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const DEPLOYMENT: &str = "runtime-maintainer-45d07093075a44a9";
const ACCOUNT: &str = "kruntimes-runtime-maintainer";

/// A Run whose artifacts are in a store, as the controller guards it.
async fn guarded(runs: &Api<Run>, name: &str) {
    let run = json!({"metadata": {"name": name}, "spec": {"runtime": "gone"}});
    let run = serde_json::from_value(run).unwrap();
    runs.create(&PostParams::default(), &run).await.unwrap();
    let status = json!({"status": {
        "phase": "Scheduled", "assignedPod": "p", "assignedPodUID": "u", "attempt": 1,
        "artifactStore": {"driver": "filesystem", "filesystem": {"volumeClaimName": "pvc1"}},
    }});
    let (patch, parameters) = (Patch::Merge(status), PatchParams::default());
    runs.patch_status(name, &parameters, &patch).await.unwrap();
}

async fn free(runs: &Api<Run>, name: &str) {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": []}}));
    runs.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_store_has_a_maintainer_from_its_first_run_until_after_its_last() {
    let world = World::start();
    let runs: Api<Run> = world.api();
    guarded(&runs, "a").await;
    world.until::<Deployment>(DEPLOYMENT, |_| true).await;
    world.until::<ServiceAccount>(ACCOUNT, |_| true).await;
    let role = world.until::<Role>(ACCOUNT, |_| true).await;
    let verbs = &role.rules.unwrap()[0].verbs;
    assert_eq!(verbs, &["get", "list", "watch", "patch"]);
    world.until::<RoleBinding>(ACCOUNT, |_| true).await;
    guarded(&runs, "b").await;
    world.until::<Run>("b", is_guarded).await;
    // What somebody changes is put back.
    world.patch::<Deployment>(DEPLOYMENT, json!({"spec": {"replicas": 0}})).await;
    let replicas = |it: &Deployment| it.spec.as_ref().and_then(|spec| spec.replicas);
    world.until::<Deployment>(DEPLOYMENT, |it| replicas(it) == Some(1)).await;
    let first = world.until::<Deployment>(DEPLOYMENT, |_| true).await.uid();
    world.delete::<Deployment>(DEPLOYMENT).await;
    world.until::<Deployment>(DEPLOYMENT, |it| it.uid() != first).await;
    for name in ["a", "b"] {
        assert!(world.api::<Deployment>().get_opt(DEPLOYMENT).await.unwrap().is_some());
        world.delete::<Run>(name).await;
        free(&runs, name).await;
        world.until_gone::<Run>(name).await;
    }
    world.until_gone::<Deployment>(DEPLOYMENT).await;
    guarded(&runs, "c").await;
    world.until::<Deployment>(DEPLOYMENT, |_| true).await;
}

#[tokio::test]
async fn an_account_of_somebody_else_stays_as_it_is_and_is_waited_for() {
    let world = World::start();
    let theirs: Value = json!({"metadata": {"name": ACCOUNT, "labels": {"a": "b"}}});
    world.create::<ServiceAccount>(theirs).await;
    guarded(&world.api(), "a").await;
    world.until::<Run>("a", is_guarded).await;
    let account: ServiceAccount = world.api().get(ACCOUNT).await.unwrap();
    assert_eq!(account.labels().len(), 1);
    assert!(world.api::<Deployment>().get_opt(DEPLOYMENT).await.unwrap().is_none());
    world.delete::<ServiceAccount>(ACCOUNT).await;
    world.until::<Deployment>(DEPLOYMENT, |_| true).await;
}

fn is_guarded(run: &Run) -> bool {
    run.finalizers().iter().any(|name| name == ARTIFACT_FINALIZER)
}

#[tokio::test]
async fn runs_of_a_namespace_that_ends_are_let_go_and_of_no_other() {
    let world = World::start();
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let team = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces.create(&PostParams::default(), &team).await.unwrap();
    let of_team: Api<Run> = Api::namespaced(world.client.clone(), "team");
    guarded(&world.api(), "other").await;
    world.until::<Run>("other", is_guarded).await;
    for number in 0..100 {
        let name = format!("r-{number}");
        guarded(&of_team, &name).await;
        let waiting = await_condition(of_team.clone(), &name, |run: Option<&Run>| {
            run.is_some_and(is_guarded)
        });
        timeout(PATIENCE, waiting).await.unwrap().unwrap();
    }
    // One is deleted before its namespace is.
    of_team.delete("r-0", &DeleteParams::default()).await.unwrap();
    world.delete::<Run>("other").await;
    let team = namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let team = team.left().unwrap().uid().unwrap();
    let waiting = await_condition(namespaces, "team", is_deleted(&team));
    timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(is_guarded(&world.api::<Run>().get("other").await.unwrap()));
}
