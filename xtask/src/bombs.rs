//! Runs that use up what they can, beside Runs that share their pod: each bomb ends in time and with its reason. Prints how
//! much longer the others' starts take, at the 99th percentile, than beside a neighbour that does nothing.

use crate::bench::percentile;
use crate::home::{self, Home};
use crate::load::{self, Load, Work};
use anyhow::{Context, ensure};
use kruntimes_api::Run;
use kube::Api;
use kube::api::PostParams;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Bombs of each kind.
pub(crate) const QUICK: usize = 2;
pub(crate) const FULL: usize = 20;
const SAMPLES: usize = 500;
const SLOTS: usize = 8;
const ENDS_WITHIN: Duration = Duration::from_secs(5);
const TRUE: [Work; 1] = [("bash", "true")];

struct Bomb {
    name: &'static str,
    script: &'static str,
    reason: &'static str,
}

const BOMBS: [Bomb; 4] = [
    Bomb {
        name: "forks",
        script: "bomb() { [ $1 = 0 ] && exec sleep 20; \
    bomb $(($1 - 1)) | bomb $(($1 - 1)) & wait; }; bomb 10",
        reason: "ProcessLimit",
    },
    Bomb {
        name: "hiding",
        script: "bomb() { [ $1 = 0 ] && exec sleep 20; \
    setsid bash -c \"$(declare -f bomb); bomb $(($1 - 1)) & bomb $(($1 - 1))\" & wait; }; bomb 10",
        reason: "ProcessLimit",
    },
    Bomb {
        name: "memory",
        script: "python3 -c 'b = []\nwhile True: b.append(bytes([1]) * 2**20)'",
        reason: "MemoryLimit",
    },
    Bomb {
        name: "disk",
        script: "while :; do head -c 1M /dev/zero >> file; done",
        reason: "DiskLimit",
    },
];

/// Sets off so many bombs of each kind in a local home.
pub(crate) fn run(count: usize) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let home = Home::start(&home::build(home::Build::Dev)?)?;
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        let client = load::client(&home).await?;
        load::resize(&client, json!({"replicas": 1}), SLOTS).await?;
        let runs: Api<Run> = Api::default_namespaced(client);
        let load = Load::new(&home, &TRUE).await?;
        create(&runs, "neighbour", "exec sleep 1000", &json!({})).await?;
        samples(&load, 50).await?;
        let idle = percentile(&mut samples(&load, SAMPLES).await?, 99);
        println!("bombs: beside a neighbour that sleeps, p99 of a start {:.1} ms", idle * 1e3);
        for bomb in &BOMBS {
            beside(&runs, &load, bomb, count, idle).await.context(bomb.name)?;
        }
        let neighbour = runs.get("neighbour").await?;
        let phase = neighbour.phase();
        ensure!(!phase.is_terminal(), "the neighbour is {phase}");
        anyhow::Ok(())
    })
}

async fn beside(
    runs: &Api<Run>,
    load: &Load,
    bomb: &Bomb,
    count: usize,
    idle: f64,
) -> anyhow::Result<()> {
    let limits = json!({"memory": "64Mi", "processes": 100, "disk": "8Mi"});
    let mut times = Vec::new();
    let mut longest = Duration::ZERO;
    for number in 0..count {
        let name = format!("{}-{number}", bomb.name);
        create(runs, &name, bomb.script, &limits).await?;
        let started = std::time::Instant::now();
        let over = |run: Option<&Run>| run.is_some_and(|run| run.phase().is_terminal());
        let mut over = std::pin::pin!(await_condition(runs.clone(), &name, over));
        loop {
            tokio::select! {
                ended = &mut over => break drop(ended?),
                time = load.run_one() => times.push(time?.as_secs_f64()),
            }
        }
        longest = longest.max(started.elapsed());
        let reason = runs.get(&name).await?.status.and_then(|status| status.reason);
        ensure!(reason.as_deref() == Some(bomb.reason), "{name} has ended with {reason:?}");
    }
    // As many as beside the sleeper, so that both percentiles mean the same.
    times.extend(samples(load, SAMPLES.saturating_sub(times.len())).await?);
    let ratio = percentile(&mut times, 99) / idle;
    println!(
        "bombs: {count} of {count} {} ended, the slowest after {} ms; p99 of the others' starts {ratio:.2} times",
        bomb.name,
        longest.as_millis()
    );
    ensure!(longest <= ENDS_WITHIN, "one took {longest:?}, the limit is {ENDS_WITHIN:?}");
    Ok(())
}

async fn create(runs: &Api<Run>, name: &str, script: &str, limits: &Value) -> anyhow::Result<()> {
    let run = json!({
        "metadata": {"name": name},
        "spec": {"runtime": "bash", "args": [script], "resources": {"limits": limits}},
    });
    timeout(ENDS_WITHIN, runs.create(&PostParams::default(), &serde_json::from_value(run)?))
        .await??;
    Ok(())
}

async fn samples(load: &Load, count: usize) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..count {
        times.push(load.run_one().await?.as_secs_f64());
    }
    Ok(times)
}
