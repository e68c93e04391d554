//! The main process of a home killed amid Workflows: at each point where the controller is about to create a step, to write
//! a status or to cancel, and at points of the API server and the scheduler beside them.
//!
//! Each Workflow comes to the end that it has without the kills, with one Run for each step and every output in its place.

use crate::home::{self, Build, Home};
use crate::load;
use crate::outside::Outside;
use anyhow::{Context, ensure};
use kruntimes_api::{Run, Workflow, WorkflowPhase};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::sleep;

const POINTS: [&str; 5] = [
    "controller-workflow-creating",
    "controller-workflow-status",
    "api-committed",
    "api-committing",
    "scheduler-assigned",
];
const CANCELLING: &str = "controller-workflow-cancelling";
/// Steps of the chain, and legs of the matrix behind it.
const CHAIN: usize = 4;
const LEGS: usize = 4;
const POINT_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(120);
/// Nothing tells that a process has ended: this often it is looked.
const LOOK: Duration = Duration::from_millis(5);
const VARIABLE: &str = "KRUNTIMES_CRASH_DIRECTORY";

struct World {
    krt: PathBuf,
    home: Home,
    outside: Outside,
    kills: usize,
}

/// Kills so often at each point.
pub(crate) fn run(times: usize) -> anyhow::Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(kill_all(times))
}

async fn kill_all(times: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    let krt = home::build(Build::Dev)?;
    let outside = Outside::new()?;
    let home = Home::start_with(&krt, &[(VARIABLE, &outside.path("points"))], &[])?;
    let mut world = World { krt, home, outside, kills: 0 };
    for round in 0..times {
        for (index, point) in POINTS.into_iter().enumerate() {
            let name = format!("crash-{round}-{index}");
            world.goes_on(&name, point).await.with_context(|| format!("{name}: {point}"))?;
        }
        world.is_cancelled(&format!("cancel-{round}")).await.with_context(|| CANCELLING)?;
    }
    println!(
        "crashes: {} kills amid Workflows, {:.0} s: each came to the same end, with one Run a step",
        world.kills,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

impl World {
    async fn client(&self) -> anyhow::Result<Client> {
        load::client(&self.home).await
    }

    /// A Workflow whose home is killed at the point, the later in it the more rounds there were.
    async fn goes_on(&mut self, name: &str, point: &str) -> anyhow::Result<()> {
        self.create(name, chain_and_matrix()).await?;
        for _ in 0..self.kills % 5 {
            sleep(LOOK).await;
        }
        self.arm(point)?;
        self.until_killed(point).await?;
        let workflow = self.until_ended(name).await?;
        let status = workflow.status.context("no status")?;
        ensure!(
            status.phase == WorkflowPhase::Succeeded,
            "it is {:?}: {:?}",
            status.phase,
            status.message
        );
        let last = status.jobs.get("last").context("no last job")?;
        let told = last.steps["tell"].outputs.get("n");
        ensure!(told == Some(&format!("{}", CHAIN + 1)), "the last step tells {told:?}");
        let runs = self.runs_of(name).await?;
        ensure!(runs == CHAIN + LEGS + 1, "{runs} Runs for {} steps", CHAIN + LEGS + 1);
        Ok(())
    }

    async fn is_cancelled(&mut self, name: &str) -> anyhow::Result<()> {
        let step = json!({"name": "s", "run": "sleep 300"});
        self.create(name, json!({"jobs": {"a": {"runs-on": "bash", "steps": [step]}}})).await?;
        let runs: Api<Run> = Api::default_namespaced(self.client().await?);
        let begun = Instant::now();
        while runs.get_opt(&format!("wf-{name}-a-s")).await?.is_none() {
            ensure!(begun.elapsed() < POINT_WITHIN, "its step has no Run");
            sleep(LOOK).await;
        }
        self.arm(CANCELLING)?;
        let workflows: Api<Workflow> = Api::default_namespaced(self.client().await?);
        let cancel = Patch::Merge(json!({"spec": {"cancelRequested": true}}));
        // The answer may be lost with the process that gives it; the controller acts on what is durable.
        drop(workflows.patch(name, &PatchParams::default(), &cancel).await);
        self.until_killed(CANCELLING).await?;
        let phase = self.until_ended(name).await?.phase();
        ensure!(phase == WorkflowPhase::Cancelled, "it is {phase:?}");
        Ok(())
    }

    async fn create(&self, name: &str, spec: Value) -> anyhow::Result<()> {
        let workflows: Api<Workflow> = Api::default_namespaced(self.client().await?);
        let workflow = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        workflows.create(&PostParams::default(), &workflow).await?;
        Ok(())
    }

    fn arm(&self, point: &str) -> anyhow::Result<()> {
        fs::write(self.outside.path("points").join(point), "")?;
        Ok(())
    }

    async fn until_killed(&mut self, point: &str) -> anyhow::Result<()> {
        let begun = Instant::now();
        while !self.home.has_ended()? {
            if begun.elapsed() > POINT_WITHIN {
                drop(fs::remove_file(self.outside.path("points").join(point)));
                anyhow::bail!("nobody came by");
            }
            sleep(LOOK).await;
        }
        self.kills += 1;
        let points = self.outside.path("points");
        self.home.start_again(&self.krt, &[(VARIABLE, &points)])
    }

    async fn until_ended(&self, name: &str) -> anyhow::Result<Workflow> {
        let workflows: Api<Workflow> = Api::default_namespaced(self.client().await?);
        let begun = Instant::now();
        loop {
            let workflow = workflows.get(name).await?;
            if workflow.phase().is_terminal() {
                return Ok(workflow);
            }
            ensure!(begun.elapsed() < ENDS_WITHIN, "stuck: {:?}", workflow.status);
            sleep(LOOK * 10).await;
        }
    }

    async fn runs_of(&self, name: &str) -> anyhow::Result<usize> {
        let runs: Api<Run> = Api::default_namespaced(self.client().await?);
        let of = ListParams::default().labels(&format!("workflow={name}"));
        let all = runs.list(&of).await?.items;
        let open: Vec<String> = all
            .iter()
            .filter(|run| !run.phase().is_terminal())
            .map(ResourceExt::name_any)
            .collect();
        ensure!(open.is_empty(), "still under way: {open:?}");
        Ok(all.len())
    }
}

/// Four steps that count, four legs that take the count, and a step behind all of them. All pods end with the home: each step
/// has attempts left.
fn chain_and_matrix() -> Value {
    let retry = json!({"maxAttempts": 50, "backoff": "10ms"});
    let step = |number: usize| {
        let before = if number == 0 {
            "0".to_owned()
        } else {
            format!("${{{{ steps.s{}.outputs.n }}}}", number - 1)
        };
        json!({
            "name": format!("s{number}"), "retryPolicy": retry,
            "run": format!("n=\"{before}\"; echo n=$((n + 1)) > \"$KRUNTIME_OUTPUTS\""),
        })
    };
    let chain: Vec<Value> = (0..CHAIN).map(step).collect();
    let legs: Vec<usize> = (0..LEGS).collect();
    let take = "n=\"${{ jobs.chain.outputs.n }}\"; echo n=$((n + 1)) > \"$KRUNTIME_OUTPUTS\"";
    json!({"jobs": {
        "chain": {"runs-on": "bash", "steps": chain},
        "legs": {
            "runs-on": "bash", "strategy": {"matrix": {"number": legs}}, "outputs": {"n": "${{ steps.take.outputs.n }}"},
            "steps": [{"name": "take", "run": take, "retryPolicy": retry}],
        },
        "last": {"runs-on": "bash", "steps": [{
            "name": "tell", "retryPolicy": retry, "run": "echo \"n=${{ jobs.legs.outputs.n }}\" > \"$KRUNTIME_OUTPUTS\"",
        }]},
    }})
}
