//! A workspace that Runs share: held by a Run that executes nothing, until that one is cancelled or the pod ends.

use crate::world::World;
use kruntimes_api::{Phase, Run};
use serde_json::{Value, json};

fn holder() -> Value {
    json!({"workspaceGroup": "g", "holdsWorkspace": true, "source": null})
}

fn step() -> Value {
    json!({"workspaceGroup": "g", "source": {"inline": "true"}})
}

async fn held(world: &World) -> String {
    let uid = world.assigned("h", holder()).await;
    world.until("h", |run| run.phase() == Phase::Running).await;
    uid
}

async fn runs(world: &World, name: &str, holder: &str, number: usize) -> String {
    let uid = world.assigned(name, step()).await;
    let request = world.fake.executed(number).await;
    let workspace = world.directory.join("workspace");
    assert_eq!(request.id, uid);
    assert_eq!(request.working_dir, workspace.join(holder).join("work").display().to_string());
    let own = workspace.join(&uid);
    assert_eq!(request.entrypoint, own.join("work/script").display().to_string());
    assert_eq!(request.env["KRUNTIME_OUTPUTS"], own.join("outputs").display().to_string());
    uid
}

fn reason(run: &Run) -> Option<&str> {
    run.status.as_ref().and_then(|status| status.reason.as_deref())
}

#[tokio::test]
async fn runs_of_a_group_execute_one_after_the_other_in_one_directory_until_its_holder_is_cancelled()
 {
    let world = World::start(1).await;
    let holder = held(&world).await;
    let workspace = world.directory.join("workspace").join(&holder);
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        // The pod has one slot, which the holder has.
        let uid = runs(&world, name, &holder, number).await;
        world.fake.exit(&uid, 0, "");
        assert_eq!(world.until_over(name).await.phase(), Phase::Succeeded);
        assert!(workspace.join("work").is_dir(), "{name}");
    }
    world.patch("h", json!({"spec": {"cancelRequested": true}})).await;
    assert_eq!(world.until_over("h").await.phase(), Phase::Cancelled);
    let executed = world.fake.calls().iter().filter(|call| call.starts_with("Execute")).count();
    assert_eq!(executed, 2, "the holder executes nothing");
    world.assigned("late", step()).await;
    let late = world.until_over("late").await;
    assert_eq!((late.phase(), reason(&late)), (Phase::Failed, Some("WorkspaceLost")));
    world.until_removed(&holder).await;
}

#[tokio::test]
async fn a_restarted_runtimed_still_holds_the_workspace() {
    let mut world = World::start(2).await;
    let holder = held(&world).await;
    let running = runs(&world, "a", &holder, 0).await;
    let file = world.directory.join("workspace").join(&holder).join("work/file");
    std::fs::write(&file, "kept").unwrap();
    world.kill_runtimed().await;
    world.start_runtimed();
    world.fake.exit(&running, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
    runs(&world, "b", &holder, 1).await;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
    let run = world.until("h", |_| true).await;
    assert_eq!(run.phase(), Phase::Running);
}

#[tokio::test]
async fn a_pod_that_ends_lets_the_workspace_go_when_nobody_works_in_it() {
    let mut world = World::start(2).await;
    let holder = held(&world).await;
    let running = runs(&world, "a", &holder, 0).await;
    world.drain_runtimed();
    world.until_pod(|pod| crate::readiness::ready(pod) == Some("False")).await;
    let run = world.until("h", |_| true).await;
    assert_eq!(run.phase(), Phase::Running, "a Run works there");
    world.fake.exit(&running, 0, "");
    assert_eq!(world.until_over("a").await.phase(), Phase::Succeeded);
    let run = world.until_over("h").await;
    assert_eq!((run.phase(), reason(&run)), (Phase::Failed, Some("PodTerminating")));
    world.runtimed_ended().await;
}
