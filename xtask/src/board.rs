//! `cargo xtask bench board`: how fast the scheduler's board decides, without API server or watches.
//!
//! Each figure is decisions a second over one round of "place everything, end everything"; it must not fall with the
//! backlog or with the pods.

use crate::bench::percentile;
use jiff::Timestamp;
use kruntimes_api::Run;
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::placement::{
    Board, Decision, PodHealth, PodRef, PodView, PoolKey, RunKey, RuntimeView,
};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;
const BUDGET: usize = 256;

/// Prints the rates.
pub(crate) fn run() -> anyhow::Result<()> {
    for (pods, backlog) in [(10, 1_000), (10, 20_000), (1_000, 20_000)] {
        for (what, kinds) in [("runs only", 0), ("four other requests", 4)] {
            let mut rates = Vec::new();
            for _ in 0..ROUNDS {
                rates.push(round(pods, backlog, kinds)?);
            }
            print(&format!("{what}, {pods} pods, {backlog} pending"), &mut rates);
        }
    }
    Ok(())
}

fn print(what: &str, rates: &mut [f64]) {
    let middle = percentile(rates, 50);
    let (low, high) = (rates[0], rates[rates.len() - 1]);
    println!("{what:<45} {middle:>9.0} decisions/s ({low:.0} to {high:.0})");
}

/// Decisions a second until every Run of the backlog has been placed and has ended.
fn round(pods: u32, backlog: usize, kinds: usize) -> anyhow::Result<f64> {
    let wall = Timestamp::UNIX_EPOCH;
    let mut board = board(pods);
    for number in 0..backlog {
        board.set_run(pending(number, kinds)?, Duration::ZERO, wall);
    }
    let mut decided = 0;
    let mut spent = Duration::ZERO;
    while decided < backlog {
        let started = Instant::now();
        let decisions = board.decide(Duration::ZERO, wall, BUDGET);
        spent += started.elapsed();
        anyhow::ensure!(!decisions.is_empty(), "the board stands still at {decided}");
        decided += decisions.len();
        let mut placed = Vec::new();
        for decision in decisions {
            if let Decision::Assign { run, pod, .. } = decision {
                let from = run.metadata.resource_version.clone();
                placed.push((assigned(&run, &pod), from));
            }
        }
        let started = Instant::now();
        for (run, from) in placed {
            let key = RunKey::of(&run);
            board.assigned(run, from.as_deref(), Duration::ZERO, wall);
            board.drop_run(&key);
        }
        spent += started.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    Ok(decided as f64 / spent.as_secs_f64())
}

fn board(pods: u32) -> Board {
    let mut board = Board::default();
    let pool = PoolKey { namespace: "default".to_owned(), runtime: "bash".to_owned() };
    let capacity = Resources::runs(64).with("gpu", 8);
    board.set_runtime(pool.clone(), RuntimeView::Usable(capacity.clone()));
    for number in 0..pods {
        board.set_pod(&PodView {
            pool: pool.clone(),
            pod: PodRef {
                name: format!("runtime-bash-5d8f9c-{number:05}"),
                uid: format!("uid-{number}"),
            },
            health: PodHealth::Ready,
            capacity: capacity.clone(),
        });
    }
    board
}

/// A Run that requests nothing, or one of so many vectors.
fn pending(number: usize, kinds: usize) -> anyhow::Result<Arc<Run>> {
    let mut spec = json!({"runtime": "bash"});
    if kinds > 0 {
        spec["resources"] = json!({"requests": {"gpu": 1 + number % kinds}});
    }
    let name = format!("run-{number:06}");
    Ok(Arc::new(serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "resourceVersion": "1"},
        "spec": spec,
        "status": {"phase": "Pending"},
    }))?))
}

fn assigned(run: &Run, pod: &PodRef) -> Arc<Run> {
    let mut run = run.clone();
    let status = run.status.get_or_insert_default();
    status.phase = kruntimes_api::Phase::Scheduled;
    status.assigned_pod = Some(pod.name.clone());
    status.assigned_pod_uid = Some(pod.uid.clone());
    status.attempt = Some(1);
    Arc::new(run)
}
