//! The time of day jumps by an hour, forth and back, for the controller and for the sidecars: no Run is taken from a
//! healthy pod, and a timeout is right to a second.
//!
//! The clock is not stepped: a library before libc shifts what these processes read of it.

use super::{World, expect_phase};
use anyhow::{Context, ensure};
use jiff::Timestamp;
use kruntimes_api::{Phase, Run};
use serde_json::json;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const HOUR_NANOS: i64 = 3_600_000_000_000;
/// Forth, home, back, home, and so on; each lasts longer than a renewal.
const STEPS: [i64; 6] = [HOUR_NANOS, 0, -HOUR_NANOS, 0, HOUR_NANOS, -HOUR_NANOS];
const STEP_LASTS: Duration = Duration::from_secs(4);
const TIMEOUT: Duration = Duration::from_secs(6);
const EXACT_TO: Duration = Duration::from_secs(1);

pub(super) async fn check(krt: &Path) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let shift = directory.path().join("shift");
    fs::write(&shift, 0_i64.to_ne_bytes())?;
    let library = build(directory.path(), &shift)?;
    let world = World::start(krt, &[("LD_PRELOAD", &library)]).await?;
    let lasts = STEP_LASTS.as_secs() * STEPS.len() as u64;
    world.create("lives", &format!("sleep {lasts}"), json!({"timeoutSeconds": 600})).await?;
    let stepping = async {
        let file = File::options().write(true).open(&shift)?;
        for step in STEPS {
            sleep(STEP_LASTS).await;
            file.write_all_at(&step.to_ne_bytes(), 0)?;
        }
        anyhow::Ok(())
    };
    let timing = async {
        let mut worst = Duration::ZERO;
        let mut shifted = 0;
        for number in 0..3 {
            let (run, error) = one_timeout(&world, number).await?;
            worst = worst.max(error);
            shifted += usize::from(is_shifted(&run));
        }
        ensure!(shifted > 0, "no process had another time of day: nothing was tried");
        anyhow::Ok(worst)
    };
    let ((), worst) = tokio::try_join!(stepping, timing)?;
    let run = world.until_over("lives").await?;
    expect_phase(&run, Phase::Succeeded)?;
    let attempt = run.status.as_ref().and_then(|status| status.attempt);
    ensure!(attempt == Some(1), "the long Run took {attempt:?} attempts");
    println!(
        "faults: {} steps of the clock by an hour: no Run was taken, timeouts right to {worst:.2?}",
        STEPS.len()
    );
    Ok(())
}

/// A Run that ends by its timeout, and how far from it by the clock of this process.
async fn one_timeout(world: &World, number: usize) -> anyhow::Result<(Run, Duration)> {
    let name = format!("timeout-{number}");
    let begun = Instant::now();
    world.create(&name, "sleep 300", json!({"timeoutSeconds": TIMEOUT.as_secs()})).await?;
    let run = world.until_over(&name).await?;
    let error = begun.elapsed().abs_diff(TIMEOUT);
    expect_phase(&run, Phase::Timeout)?;
    ensure!(error <= EXACT_TO, "{name} ended {error:?} beside its timeout");
    Ok((run, error))
}

/// Whether both the API server and the sidecar were in another hour.
fn is_shifted(run: &Run) -> bool {
    let far = |time: Timestamp| {
        let away = time.duration_since(Timestamp::now()).as_nanos().abs();
        away > i128::from(HOUR_NANOS / 2)
    };
    let created = run.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let timeline = run.status.as_ref().and_then(|status| status.timeline.as_ref());
    let received = timeline.and_then(|timeline| timeline.received.as_ref()).map(|time| time.0);
    created.is_some_and(far) && received.is_some_and(far)
}

fn build(directory: &Path, shift: &Path) -> anyhow::Result<std::path::PathBuf> {
    let source = crate::generate::root().join("xtask/src/faults/clock.c");
    let library = directory.join("clock.so");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(format!("-DSHIFT_FILE=\"{}\"", shift.display()))
        .arg(source)
        .arg("-ldl")
        .status()
        .context("start cc")?;
    ensure!(status.success(), "cc: {status}");
    Ok(library)
}
