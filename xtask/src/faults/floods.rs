//! Whatever a Run prints, it ends as its command does, and the sidecar stays small.

use super::{World, expect_phase};
use anyhow::{Context, ensure};
use kruntimes_api::Phase;
use serde_json::json;
use std::fs;

/// What the sidecar may take at its largest.
const RUNTIMED_KIB: u64 = 128 * 1024;
const PRINTS: [(&str, &str); 4] = [
    ("no-text", "printf '\\xff'"),
    ("one-gib", "yes 'a line of the flood' | head -c 1G"),
    ("endless-line", "head -c 1G /dev/zero | tr '\\0' x"),
    ("both-streams", "{ head -c 200M /dev/zero | tee /dev/stderr; }"),
];

pub(super) async fn check(world: &World) -> anyhow::Result<()> {
    for (name, script) in PRINTS {
        world.create(name, script, json!({})).await?;
    }
    for (name, _) in PRINTS {
        expect_phase(&world.until_over(name).await?, Phase::Succeeded)?;
    }
    let all = crate::processes::of_home(world.home.pid())?;
    let sidecars = all.iter().filter(|process| process.role.contains("serve runtimed"));
    let peaks = sidecars.map(|process| peak_kib(process.pid)).collect::<Result<Vec<_>, _>>()?;
    let peak = peaks.into_iter().max().context("no runtimed runs")?;
    ensure!(peak <= RUNTIMED_KIB, "runtimed took {peak} KiB, the limit is {RUNTIMED_KIB}");
    println!("faults: {} floods of output, runtimed at most {} MiB", PRINTS.len(), peak / 1024);
    Ok(())
}

/// The largest resident set so far (proc(5), VmHWM).
fn peak_kib(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.context("no VmHWM")?.split_whitespace().next().context("no number")?;
    Ok(words.parse()?)
}
