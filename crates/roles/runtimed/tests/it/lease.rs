//! The pod's Lease: nothing executes without it, and nothing outlives it.

use crate::world::World;
use k8s_openapi::api::coordination::v1::Lease;
use kruntimes_api::{Phase, Run, labels};
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn reason(run: &Run) -> Option<&str> {
    run.status.as_ref()?.reason.as_deref()
}

#[tokio::test]
async fn a_run_executes_under_a_lease_that_is_the_pods_and_renewed() {
    let world = World::start_fencing_after(1, 3).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    let lease = world.until_lease(|lease| holder(lease) == world.pod_uid()).await;
    let owner = &lease.owner_references()[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("Pod", world.pod_uid()));
    assert_eq!(lease.labels().get(labels::RUNTIME).map(String::as_str), Some("bash"));
    let first = lease.resource_version();
    world.until_lease(|lease| lease.resource_version() != first).await;
    let renewals = world.fake.renewals();
    assert_eq!(renewals[0].0, 0, "before Execute");
    let fence = Duration::from_secs(3);
    assert!(renewals.iter().all(|(_, ttl)| *ttl <= fence && *ttl > fence / 2), "{renewals:?}");
    world.fake.exit(&uid, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
}

#[tokio::test]
async fn without_a_renewal_what_executes_is_killed_and_what_waits_goes_on_later() {
    let world = World::start_fencing_after(2, 2).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.reach.cut(true);
    world.fake.called(&format!("Cancel {uid}")).await;
    world.reach.cut(false);
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Failed, Some("Fenced")));
    let again = world.assigned("b", json!({})).await;
    world.fake.called(&format!("Execute {again}")).await;
    world.fake.exit(&again, 0, "");
    assert_eq!(world.until_over("b").await.phase(), Phase::Succeeded);
}

#[tokio::test]
async fn a_short_outage_costs_nothing() {
    let world = World::start_fencing_after(1, 30).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.reach.cut(true);
    world.fake.exit(&uid, 0, "");
    world.reach.failed(2).await;
    world.reach.cut(false);
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), run.status.unwrap().attempt), (Phase::Succeeded, Some(1)));
}

#[tokio::test]
async fn a_break_ends_everything_here_before_the_lease_is_taken_again() {
    let world = World::start_fencing_after(1, 3).await;
    let executing = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.assigned("b", json!({})).await;
    let lease = world.until_lease(|lease| holder(lease) == world.pod_uid()).await;
    break_for_certain(&world, lease).await;
    world.fake.called(&format!("Cancel {executing}")).await;
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Failed, Some("Fenced")));
    let back = world.until("b", |run| run.phase() == Phase::Pending && reason(run).is_some()).await;
    assert_eq!(reason(&back), Some("NotStarted"));
    assert_eq!(back.status.unwrap().attempt, Some(1));
    let taken = world.until_lease(|lease| holder(lease) == world.pod_uid()).await;
    assert!(!taken.labels().contains_key(labels::BROKEN));
    let executes = world.fake.calls().iter().filter(|call| call.starts_with("Execute")).count();
    assert_eq!(executes, 1);
}

/// The pod may renew in between, as often as it likes.
async fn break_for_certain(world: &World, mut lease: Lease) {
    loop {
        let labels = lease.metadata.labels.get_or_insert_default();
        labels.insert(labels::BROKEN.to_owned(), "true".to_owned());
        lease.spec.get_or_insert_default().holder_identity = Some(String::new());
        if world.leases().replace("p1", &Default::default(), &lease).await.is_ok() {
            return;
        }
        lease = world.leases().get("p1").await.unwrap();
    }
}

#[tokio::test]
async fn a_run_that_meets_a_broken_lease_is_handed_back_and_the_next_one_executes() {
    let world = World::start_fencing_after(1, 3).await;
    world.break_lease(Lease::default()).await;
    world.assigned("a", json!({})).await;
    let back = world.until("a", |run| run.phase() == Phase::Pending && reason(run).is_some()).await;
    assert_eq!(reason(&back), Some("NotStarted"));
    world.until_lease(|lease| holder(lease) == world.pod_uid()).await;
    world.assign(&back).await;
    let uid = back.uid().unwrap();
    world.fake.called(&format!("Execute {uid}")).await;
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), run.status.unwrap().attempt), (Phase::Succeeded, Some(1)));
}

#[tokio::test]
async fn what_lives_on_through_a_restart_is_killed_when_the_lease_was_broken_meanwhile() {
    let mut world = World::start_fencing_after(1, 30).await;
    let uid = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    let lease = world.until_lease(|lease| holder(lease) == world.pod_uid()).await;
    world.kill_runtimed().await;
    break_for_certain(&world, lease).await;
    world.start_runtimed();
    world.fake.called(&format!("Cancel {uid}")).await;
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Failed, Some("Fenced")));
}

#[tokio::test]
async fn a_server_that_comes_back_is_armed_before_it_gets_work() {
    let world = World::start_fencing_after(1, 30).await;
    let first = world.assigned("a", json!({})).await;
    world.fake.executed(0).await;
    world.fake.exit(&first, 0, "");
    world.until_over("a").await;
    world.fake.break_streams();
    let second = world.assigned("b", json!({})).await;
    world.fake.called(&format!("Execute {second}")).await;
    let calls = world.fake.calls();
    let execute = calls.iter().position(|call| *call == format!("Execute {second}")).unwrap();
    let renewals = world.fake.renewals();
    let between = renewals.iter().filter(|(before, _)| (1..=execute).contains(before)).count();
    assert!(between > 0, "{renewals:?} {calls:?}");
}
