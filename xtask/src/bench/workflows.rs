//! `cargo xtask bench workflows`: a chain of steps, and a thousand legs beside as many plain Runs, in alternating rounds.

use super::{ROUNDS, print_figure};
use crate::home::{self, Home};
use crate::load::{self, Load};
use anyhow::{Context, ensure};
use kruntimes_api::{Workflow, WorkflowPhase};
use kube::api::{Api, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

const CHAIN: usize = 40;
const LEGS: usize = 1_000;
const AT_ONCE: usize = 64;
const PODS: usize = 2;
const TAKES_AT_MOST: Duration = Duration::from_secs(120);

/// Builds krt and measures.
pub(crate) fn run() -> anyhow::Result<()> {
    measure(&home::build(home::Build::Release)?)
}

/// Measures this binary.
pub(crate) fn measure(krt: &Path) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let home = Home::start(krt)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure_all(&home))
}

async fn measure_all(home: &Home) -> anyhow::Result<()> {
    Load::widen(home, AT_ONCE / PODS).await?;
    let client = load::client(home).await?;
    let plain = Load::new(home, &super::TRUE).await?;
    plain.run_many(AT_ONCE * 4, AT_ONCE).await?;
    let (mut steps, mut alone, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let mut one_by_one = Duration::ZERO;
        for _ in 0..CHAIN {
            one_by_one += plain.run_one().await?;
        }
        alone.push(milliseconds(one_by_one) / CHAIN as f64);
        let took = time(&client, chain(&format!("chain-{round}"))).await?;
        steps.push(milliseconds(took) / CHAIN as f64);
        let rate = plain.run_many(LEGS, AT_ONCE).await?;
        let took = time(&client, wide(&format!("wide-{round}"))).await?;
        ratios.push(LEGS as f64 / took.as_secs_f64() / rate);
    }
    print_figure("a plain Run, one at a time [ms]", &mut alone);
    print_figure("a step of a chain of 40 [ms]", &mut steps);
    print_figure("1,000 legs / 1,000 plain Runs, Runs a second", &mut ratios);
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn chain(name: &str) -> Value {
    let step = |number: usize| json!({"name": format!("s{number}"), "run": "true"});
    let steps: Vec<Value> = (0..CHAIN).map(step).collect();
    json!({"metadata": {"name": name}, "spec": {"jobs": {"chain": {"runs-on": "bash", "steps": steps}}}})
}

/// As many legs at once as there are plain Runs in flight.
fn wide(name: &str) -> Value {
    let values: Vec<usize> = (0..LEGS).collect();
    json!({"metadata": {"name": name}, "spec": {"parallelism": AT_ONCE, "jobs": {"wide": {
        "runs-on": "bash", "strategy": {"matrix": {"number": values}}, "steps": [{"name": "s", "run": "true"}],
    }}}})
}

/// How long a Workflow takes from its creation to its end, as a watch shows it.
async fn time(client: &Client, workflow: Value) -> anyhow::Result<Duration> {
    let workflows: Api<Workflow> = Api::default_namespaced(client.clone());
    let workflow: Workflow = serde_json::from_value(workflow)?;
    let started = Instant::now();
    workflows.create(&PostParams::default(), &workflow).await?;
    let has_ended =
        |workflow: Option<&Workflow>| workflow.is_none_or(|it| it.phase().is_terminal());
    let name = workflow.name_any();
    let ended =
        tokio::time::timeout(TAKES_AT_MOST, await_condition(workflows.clone(), &name, has_ended))
            .await;
    let ended =
        ended.with_context(|| format!("{name} has not ended"))??.context("it was deleted")?;
    let took = started.elapsed();
    ensure!(
        ended.phase() == WorkflowPhase::Succeeded,
        "{name} is {:?}",
        ended.status.and_then(|status| status.message)
    );
    workflows.delete(&name, &kube::api::DeleteParams::background()).await?;
    Ok(took)
}
