//! A sidecar that is stopped while its Run executes, and goes on after the Run has moved: nothing it says is taken, and the
//! process of its attempt is dead, before the next attempt starts and ever after.

use super::{Counts, World, expect_phase, numbers, runtimed_of, until_dead};
use crate::outside::{BEGINS, ENDS};
use anyhow::{Context, ensure};
use futures::future::try_join_all;
use kruntimes_api::{Phase, Run};
use kube::ResourceExt;
use serde_json::json;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Stopped at once: as many pods stay healthy.
const AT_ONCE: usize = 10;
/// After a zombie wakes.
const DEAD_WITHIN: Duration = Duration::from_secs(5);

struct Zombie {
    name: String,
    runtimed: u32,
    pids: Vec<u32>,
}

pub(super) async fn check(krt: &Path, counts: Counts) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut woke = 0;
    for (round, stopped) in counts.zombies.iter().enumerate() {
        let world = World::start(krt, &[]).await?;
        world.widen(2 * AT_ONCE, 1).await?;
        let batch = batch(&world, *stopped).await;
        woke += batch.with_context(|| format!("round {round}, {stopped:?}"))?;
    }
    ensure!(woke > 0, "no zombie woke: nothing was tried");
    println!(
        "faults: {} sidecars stopped, {woke} woke: every Run moved, nothing of a zombie was taken, {:.0} s",
        counts.zombies.len() * AT_ONCE,
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The answer is how many woke; the node restarts those that slept for too long.
async fn batch(world: &World, stopped: Duration) -> anyhow::Result<usize> {
    let zombies = try_join_all((0..AT_ONCE).map(|number| stop(world, number))).await?;
    let since = Instant::now();
    let mut moved = Vec::new();
    for zombie in &zombies {
        let run = world.until(&zombie.name, |run| run.phase() == Phase::Succeeded).await?;
        let dead = until_dead(&zombie.pids, Duration::ZERO).await;
        dead.with_context(|| format!("{} moved before it was dead", zombie.name))?;
        moved.push(run);
    }
    sleep(stopped.saturating_sub(since.elapsed())).await;
    let woken = zombies.iter().filter(|zombie| signal("-CONT", zombie.runtimed).is_ok()).count();
    let pids: Vec<u32> = zombies.iter().flat_map(|zombie| zombie.pids.clone()).collect();
    until_dead(&pids, DEAD_WITHIN).await?;
    // Long enough for whatever a zombie has to say.
    sleep(DEAD_WITHIN).await;
    for (zombie, before) in zombies.iter().zip(&moved) {
        let after = world.runs.get(&zombie.name).await?;
        ensure!(after.status == before.status, "{} was written by a zombie", zombie.name);
        check_history(&after)?;
    }
    let starts = world.outside.starts()?;
    ensure!(starts.values().all(|starts| *starts == 2), "starts: {starts:?}");
    Ok(woken)
}

/// A Run that executes, and whose sidecar does nothing more. Its next attempt ends at once.
async fn stop(world: &World, number: usize) -> anyhow::Result<Zombie> {
    let name = format!("zombie-{number}");
    let pids = world.outside.path(&format!("{name}.pids"));
    let script = format!(
        "{BEGINS}; if [ -e {0} ]; then {ENDS}; exit 0; fi; echo $BASHPID >{0}; sleep 300",
        pids.display()
    );
    world.create(&name, &script, json!({"retryPolicy": {"maxAttempts": 2}})).await?;
    let pids = numbers(&pids, 1).await?;
    let run = world.until(&name, |run| run.phase() == Phase::Running).await?;
    let status = run.status.context("a Run that runs has a status")?;
    let uid = status.assigned_pod_uid.context("a Run that runs has a pod")?;
    let runtimed = runtimed_of(&world.home, &uid)?;
    signal("-STOP", runtimed)?;
    Ok(Zombie { name, runtimed, pids })
}

fn signal(signal: &str, pid: u32) -> anyhow::Result<()> {
    let mut kill = Command::new("kill");
    let status = kill.args([signal, &pid.to_string()]).stderr(Stdio::null()).status()?;
    ensure!(status.success(), "kill {signal} {pid}: {status}");
    Ok(())
}

/// One lost attempt and one that succeeded, elsewhere.
fn check_history(run: &Run) -> anyhow::Result<()> {
    expect_phase(run, Phase::Succeeded)?;
    let attempts = run.status.as_ref().map(|status| status.attempts.clone()).unwrap_or_default();
    let reasons: Vec<_> = attempts.iter().map(|attempt| attempt.reason.as_deref()).collect();
    let want = [Some("PodUnhealthy"), Some("RunCompleted")];
    ensure!(reasons == want, "{}: {reasons:?}", run.name_any());
    ensure!(attempts[0].pod != attempts[1].pod, "{} stayed on its pod", run.name_any());
    Ok(())
}
