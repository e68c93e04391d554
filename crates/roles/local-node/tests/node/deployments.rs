//! Deployments keep their pods, whatever happens to these.

use crate::home::{Home, deployment, is_alive, is_ready, kill, phase, pids, until};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Whether a Deployment says that all its pods are of its template and available.
fn is_complete(deployment: &Deployment, replicas: i32) -> bool {
    let Some(status) = &deployment.status else { return false };
    status.observed_generation == deployment.metadata.generation
        && [status.replicas, status.updated_replicas, status.available_replicas]
            .iter()
            .all(|count| *count == Some(replicas))
}

async fn complete(home: &Home, name: &str, replicas: i32) -> Deployment {
    until(home.deployments(), |deployment| {
        deployment.metadata.name.as_deref() == Some(name) && is_complete(deployment, replicas)
    })
    .await
}

fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_has_ready_pods_and_says_so() {
    let mut home = Home::start();
    let start = Instant::now();
    home.create_deployment(&deployment("d", 2, &["cat"])).await;
    let made = complete(&home, "d", 2).await;
    let took = start.elapsed();
    eprintln!("TOOK {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let status = made.status.unwrap();
    assert_eq!((status.ready_replicas, status.unavailable_replicas), (Some(2), Some(0)));
    for condition in status.conditions.unwrap() {
        assert_eq!(condition.status, "True", "{}", condition.type_);
    }
    let pods = home.list_pods().await;
    assert!(pods.len() == 2 && pods.iter().all(is_ready));
    let addresses: BTreeSet<_> =
        pods.iter().map(|pod| pod.status.clone().unwrap().pod_ip).collect();
    assert_eq!(addresses.len(), 2);
    let sets = Api::<ReplicaSet>::namespaced(home.client.clone(), "default");
    let sets = sets.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(sets.len(), 1);
    let hash = &sets[0].metadata.labels.as_ref().unwrap()["pod-template-hash"];
    for pod in &pods {
        assert_eq!(&pod.metadata.labels.as_ref().unwrap()["pod-template-hash"], hash);
        let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), &owner.uid),
            ("ReplicaSet", sets[0].metadata.uid.as_ref().unwrap())
        );
    }
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_pods_are_replaced_by_others_within_three_seconds() {
    let mut home = Home::start();
    home.create_deployment(&deployment("d", 1, &["cat"])).await;
    complete(&home, "d", 1).await;
    for _ in 0..3 {
        let pods = home.list_pods().await;
        let pod = pods.iter().find(|pod| is_ready(pod)).unwrap();
        let start = Instant::now();
        pids(pod).into_iter().for_each(kill);
        let old = uid(pod);
        let name = pod.metadata.name.clone().unwrap();
        until(home.pods(), |other| is_ready(other) && uid(other) != old).await;
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        let failed = home.pod(&name, |pod| phase(pod) == "Failed").await;
        let status = failed.status.unwrap();
        assert_eq!(status.reason.as_deref(), Some("PodProcessesGone"));
        let ended = status.container_statuses.unwrap();
        assert!(ended.iter().all(|it| it.state.as_ref().unwrap().terminated.is_some()));
        complete(&home, "d", 1).await;
    }
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_scales_and_rolls() {
    let mut home = Home::start();
    home.create_deployment(&deployment("d", 2, &["cat"])).await;
    complete(&home, "d", 2).await;
    let before: BTreeSet<String> = home.list_pods().await.iter().map(uid).collect();
    let patch = |patch: serde_json::Value| {
        let api = home.deployments();
        async move { api.patch("d", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap() }
    };
    patch(json!({"spec": {"replicas": 3}})).await;
    complete(&home, "d", 3).await;
    let scaled: BTreeSet<String> = home.list_pods().await.iter().map(uid).collect();
    assert!(scaled.is_superset(&before), "scaling replaced pods");
    patch(json!({"spec": {"replicas": 1, "template": {"metadata": {"labels": {"new": "yes"}}}}}))
        .await;
    let rolled = complete(&home, "d", 1).await;
    let annotations = rolled.metadata.annotations.unwrap();
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "2");
    let live: Vec<Pod> = home.list_pods().await.into_iter().filter(is_ready).collect();
    assert_eq!(live.len(), 1);
    assert_eq!(live[0].metadata.labels.as_ref().unwrap()["new"], "yes");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_deployment_takes_its_pods_along() {
    let mut home = Home::start();
    home.create_deployment(&deployment("d", 1, &["cat"])).await;
    complete(&home, "d", 1).await;
    let pod = home.list_pods().await.remove(0);
    home.deployments().delete("d", &kube::api::DeleteParams::background()).await.unwrap();
    home.no_pod(pod.metadata.name.as_deref().unwrap()).await;
    assert!(!pids(&pod).into_iter().any(is_alive));
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_that_starts_again_replaces_the_pods_of_before() {
    let mut home = Home::start();
    home.create_deployment(&deployment("d", 2, &["cat"])).await;
    complete(&home, "d", 2).await;
    let before = home.list_pods().await;
    home.stop().await;
    assert!(!before.iter().flat_map(pids).any(is_alive));
    kruntimes_local_node::recover(&home.client).await.unwrap();
    let stale = home.deployments().get("d").await.unwrap().status.unwrap();
    assert_eq!(stale.ready_replicas, Some(0), "the end of the pods is not known");
    home.serve();
    for old in &before {
        let name = old.metadata.name.as_deref().unwrap();
        let pod = home.pod(name, |pod| phase(pod) == "Failed").await;
        assert_eq!(pod.status.unwrap().reason.as_deref(), Some("NodeRestarted"));
    }
    let old: BTreeSet<String> = before.iter().map(uid).collect();
    let first = until(home.pods(), |pod| is_ready(pod) && !old.contains(&uid(pod))).await;
    let other = |pod: &Pod| is_ready(pod) && !old.contains(&uid(pod)) && uid(pod) != uid(&first);
    until(home.pods(), other).await;
    complete(&home, "d", 2).await;
    assert_eq!(home.list_pods().await.iter().filter(|pod| is_ready(pod)).count(), 2);
    home.stop().await;
}
