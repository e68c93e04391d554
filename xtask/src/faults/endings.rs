//! Cancel, timeout and deletion kill the whole tree within 3 s, however it hides.

use super::{World, numbers, until_dead};
use anyhow::Context;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(1);

/// How a tree hides, the processes that it names, and its script.
const HIDES: [(&str, usize, &str); 5] = [
    ("ignores-sigterm", 1, "trap '' TERM HUP INT; echo $BASHPID >>$PIDS; while :; do sleep 1; done"),
    (
        "daemon",
        2,
        "( setsid bash -c 'trap \"\" TERM HUP; echo $BASHPID >>$PIDS; while :; do sleep 1; done' & )
         echo $BASHPID >>$PIDS; sleep 300",
    ),
    (
        "stopped-child",
        2,
        "bash -c 'echo $BASHPID >>$PIDS; kill -STOP $BASHPID; sleep 300' &
         echo $BASHPID >>$PIDS; sleep 300",
    ),
    ("stops-itself", 1, "echo $BASHPID >>$PIDS; kill -STOP $BASHPID; sleep 300"),
    (
        "nohup",
        3,
        "for i in 1 2; do nohup bash -c 'echo $BASHPID >>$PIDS; sleep 300' >/dev/null 2>&1 & done
         echo $BASHPID >>$PIDS; sleep 300",
    ),
];

#[derive(Debug, Clone, Copy)]
enum Ending {
    Cancel,
    Timeout,
    Deletion,
}

pub(super) async fn check(world: &World) -> anyhow::Result<()> {
    let mut slowest = Duration::ZERO;
    for ending in [Ending::Cancel, Ending::Timeout, Ending::Deletion] {
        for hide in HIDES {
            let took = one(world, ending, hide).await;
            slowest = slowest.max(took.with_context(|| format!("{} by {ending:?}", hide.0))?);
        }
    }
    println!("faults: {} trees that hide, each dead within {slowest:.1?}", 3 * HIDES.len());
    Ok(())
}

async fn one(
    world: &World,
    ending: Ending,
    (hides, processes, script): (&str, usize, &str),
) -> anyhow::Result<Duration> {
    let name = format!("{hides}-{ending:?}").to_lowercase();
    let pids = world.outside.path(&format!("{name}.pids"));
    let script = format!("PIDS={}; export PIDS; {script}", pids.display());
    let spec = match ending {
        Ending::Timeout => json!({"timeoutSeconds": TIMEOUT.as_secs()}),
        Ending::Cancel | Ending::Deletion => json!({}),
    };
    world.create(&name, &script, spec).await?;
    let pids = numbers(&pids, processes).await?;
    let within = match ending {
        Ending::Cancel => {
            let patch = Patch::Merge(json!({"spec": {"cancelRequested": true}}));
            world.runs.patch(&name, &PatchParams::default(), &patch).await?;
            WITHIN
        }
        Ending::Deletion => {
            world.runs.delete(&name, &DeleteParams::default()).await?;
            WITHIN
        }
        Ending::Timeout => WITHIN + TIMEOUT,
    };
    until_dead(&pids, within).await
}
