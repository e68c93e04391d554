//! What a Runtime's pool consists of, and what its status says.

use crate::runtime;
use crate::world::World;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kruntimes_api::Runtime;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

/// Status, reason and message of a condition.
fn condition<'a>(runtime: &'a Runtime, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = &runtime.status.as_ref()?.conditions;
    let found = conditions.iter().find(|found| found.type_ == type_)?;
    (found.observed_generation == runtime.metadata.generation).then_some((
        &*found.status,
        &*found.reason,
        &*found.message,
    ))
}

fn is(runtime: &Runtime, type_: &str, status: &str, reason: &str) -> bool {
    condition(runtime, type_).is_some_and(|(a, b, _)| (a, b) == (status, reason))
}

fn ready_pods(generation: i64) -> Value {
    json!({
        "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "observedGeneration": generation,
    })
}

#[tokio::test]
async fn the_pods_of_a_runtime_with_a_bucket_know_which_cluster_this_is() {
    let world = World::start();
    let mut made = runtime("one");
    made["spec"]["artifactStore"] = json!({"driver": "s3", "s3": {"bucket": "b"}});
    world.create::<Runtime>(made).await;
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let uid = namespaces.get("kube-system").await.unwrap().uid().unwrap();
    let told = format!("--artifact-s3-cluster-uid={uid}");
    let is_told = |deployment: &Deployment| {
        let spec = serde_json::to_string(&deployment.spec).unwrap();
        spec.contains(&told)
    };
    world.until::<Deployment>("runtime-bash", is_told).await;
}

#[tokio::test]
async fn every_object_of_the_pool_is_made_and_comes_back() {
    let world = World::start();
    let created: Runtime = world.create(runtime("one")).await;
    let uid = created.uid().unwrap();
    let owned = |owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference]| {
        owners.len() == 1 && owners[0].uid == uid && owners[0].controller == Some(true)
    };
    let name = "runtime-bash";
    world.until::<ServiceAccount>(name, |it| owned(it.owner_references())).await;
    world.until::<Role>(name, |it| owned(it.owner_references())).await;
    world.until::<RoleBinding>(name, |it| owned(it.owner_references())).await;
    world.until::<NetworkPolicy>(name, |it| owned(it.owner_references())).await;
    world.until::<Deployment>(name, |it| owned(it.owner_references())).await;
    let policy = world.until::<NetworkPolicy>(name, |_| true).await;
    world.delete::<NetworkPolicy>(name).await;
    world.until::<NetworkPolicy>(name, |it| it.uid() != policy.uid()).await;
    world.patch::<Role>(name, json!({"rules": []})).await;
    world.until::<Role>(name, |it| it.rules.as_ref().is_some_and(|rules| rules.len() == 6)).await;
    world.delete::<Runtime>("bash").await;
    world.until_gone::<Role>(name).await;
    world.until_gone::<Deployment>(name).await;
    world.until_gone::<ServiceAccount>(name).await;
    world.until_gone::<RoleBinding>(name).await;
    world.until_gone::<NetworkPolicy>(name).await;
}

#[tokio::test]
async fn what_somebody_else_has_is_left_alone_and_said() {
    let world = World::start();
    let foreign = json!({
        "metadata": {"name": "runtime-bash", "labels": {"mine": "yes"}}, "rules": [],
    });
    world.create::<Role>(foreign).await;
    world.create::<Runtime>(runtime("one")).await;
    let told = world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "NameTaken")).await;
    let (_, _, message) = condition(&told, "Ready").unwrap();
    assert!(message.starts_with("Role runtime-bash exists and is not owned by this"), "{message}");
    let role = world.until::<Role>("runtime-bash", |_| true).await;
    assert_eq!((role.labels().len(), role.owner_references().len()), (1, 0));
    world.delete::<Role>("runtime-bash").await;
    world.until::<Deployment>("runtime-bash", |_| true).await;
    world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "PodsStarting")).await;
}

#[tokio::test]
async fn the_conditions_follow_the_pods_and_the_runtime() {
    let world = World::start();
    world.create::<Runtime>(runtime("one")).await;
    let starting = world.until::<Runtime>("bash", |it| condition(it, "Ready").is_some()).await;
    assert_eq!(
        condition(&starting, "Ready"),
        Some(("False", "PodsStarting", "0 of 2 pods are ready"))
    );
    assert!(is(&starting, "TemplateAccepted", "True", "Accepted"));
    assert!(is(&starting, "Isolation", "Unknown", "NotReported"));
    let made = world.until::<Deployment>("runtime-bash", |_| true).await;
    let generation = made.metadata.generation.unwrap();
    world.patch_status::<Deployment>("runtime-bash", ready_pods(generation)).await;
    let ready = world.until::<Runtime>("bash", |it| is(it, "Ready", "True", "PodsReady")).await;
    assert_eq!(ready.status.unwrap().ready_replicas, Some(2));
    let change = json!({"spec": runtime("two")["spec"]});
    world.patch::<Runtime>("bash", change).await;
    // The Deployment has not been looked at since: its ready pods are those of before.
    world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "PodsStarting")).await;
    world.patch_status::<Deployment>("runtime-bash", ready_pods(generation + 1)).await;
    world.until::<Runtime>("bash", |it| is(it, "Ready", "True", "PodsReady")).await;
    let refused = json!({"conditions": [{
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "exceeded quota: small",
    }], "readyReplicas": 1});
    world.patch_status::<Deployment>("runtime-bash", refused).await;
    let told = world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "PodsRefused")).await;
    assert_eq!(
        condition(&told, "Ready").unwrap().2,
        "1 of 2 pods are ready; the cluster refuses to create pods: exceeded quota: small"
    );
}

#[tokio::test]
async fn nothing_is_written_when_nothing_is_to_change() {
    let world = World::start();
    world.create::<Runtime>(runtime("one")).await;
    let made = world.until::<Deployment>("runtime-bash", |_| true).await;
    let generation = made.metadata.generation.unwrap();
    world.patch_status::<Deployment>("runtime-bash", ready_pods(generation)).await;
    world.until::<Runtime>("bash", |it| is(it, "Ready", "True", "PodsReady")).await;
    assert_eq!(world.take_writes().len(), 5 + 2, "five objects, the status as it was and is");
    // Each of these wakes the controller up.
    let note = json!({"metadata": {"annotations": {"note": "x"}}});
    world.patch::<Runtime>("bash", note.clone()).await;
    world.patch::<Deployment>("runtime-bash", note.clone()).await;
    world.patch::<Role>("runtime-bash", note).await;
    let mut other = runtime("one");
    other["metadata"]["name"] = json!("other");
    world.create::<Runtime>(other).await;
    world.until::<Runtime>("other", |it| condition(it, "Ready").is_some()).await;
    let writes = world.take_writes();
    assert_eq!(writes.iter().filter(|write| !write.contains("other")).count(), 5, "{writes:?}");
    let creations = writes.iter().filter(|write| write.starts_with("POST")).count();
    assert_eq!((creations, writes.len()), (5, 6), "{writes:?}");
}

#[tokio::test]
async fn what_keeps_a_pod_is_said_until_it_is_gone() {
    let world = World::start();
    world.create::<Runtime>(runtime("one")).await;
    world.until::<Deployment>("runtime-bash", |_| true).await;
    let pod: Pod = world
        .create(json!({
            "metadata": {"name": "p", "labels": {"runtime": "bash"}},
            "spec": {"containers": [{"name": "runtime", "image": "one"}]},
        }))
        .await;
    let waiting = |reason: &str, message: &str| {
        json!({"phase": "Pending", "containerStatuses": [{
            "name": "runtime", "image": "one", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]})
    };
    world.patch_status::<Pod>("p", waiting("ErrImagePull", "no such image")).await;
    let told =
        world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "ImagePullFailed")).await;
    let message = condition(&told, "Ready").unwrap().2;
    assert!(
        message.starts_with("0 of 2 pods are ready; pod p: container runtime can't get the image"),
        "{message}"
    );
    world.patch_status::<Pod>("p", waiting("ContainerCreating", "")).await;
    world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "PodsStarting")).await;
    let event = json!({
        "metadata": {"name": "p.1"}, "reason": "FailedMount", "type": "Warning",
        "message": "MountVolume.SetUp failed for volume \"v\" : secret \"tls\" not found",
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p", "uid": pod.uid()},
    });
    world.create::<Event>(event).await;
    let told =
        world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "VolumeUnavailable")).await;
    let message = condition(&told, "Ready").unwrap().2;
    assert!(message.contains("secret \"tls\" not found: create what is missing"), "{message}");
    world.delete::<Pod>("p").await;
    world.until::<Runtime>("bash", |it| is(it, "Ready", "False", "PodsStarting")).await;
}

#[tokio::test]
async fn a_refused_template_leaves_the_pods_as_they_were_and_is_said() {
    let world = World::start();
    world.create::<Runtime>(runtime("one")).await;
    let before = world.until::<Deployment>("runtime-bash", |_| true).await;
    let mut hostile = runtime("two")["spec"].clone();
    hostile["template"]["spec"]["hostNetwork"] = json!(true);
    world.patch::<Runtime>("bash", json!({"spec": hostile})).await;
    let told = world
        .until::<Runtime>("bash", |it| is(it, "TemplateAccepted", "False", "TemplateRefused"))
        .await;
    let message = condition(&told, "TemplateAccepted").unwrap().2;
    assert!(message.starts_with("spec.template.spec.hostNetwork: true is refused: "), "{message}");
    assert!(is(&told, "Ready", "False", "TemplateRefused"));
    let after = world.until::<Deployment>("runtime-bash", |_| true).await;
    assert_eq!(after.spec, before.spec);
}
