//! What becomes of Runs when a part of the cluster goes away in their midst: the API server, a pod, the kubelet, a node.

use super::behaviour::{apply, items, json_of, run, text};
use super::daemon;
use super::place::Place;
use super::test::World;
use super::up::{self, Tools as ClusterTools};
use crate::suite::Tools;
use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Runs in whose midst something happens.
const RUNS: usize = 200;
/// So many have ended when it does.
const ENDED_BEFORE: usize = 20;
/// `--reap-after-seconds`, as installed.
const REAP_AFTER: Duration = Duration::from_secs(60);
/// What the end of a lost Run may take beyond that.
const SLACK: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(300);
const API_SERVER: &str = "kube-apiserver";
const KUBELET: &str = "kubelet";

/// Without the API server for 20 s nothing is lost.
pub(super) fn api_server_gone_20_s(world: &World, place: &Place) -> anyhow::Result<()> {
    let spec = json!({"args": ["sleep 1"]});
    let runs = amid(&world.tools, &spec, || without(place, API_SERVER, 20))?;
    for run in &runs {
        expect(run, "Succeeded", "RunCompleted")?;
        ensure!(run["status"]["attempt"] == 1, "{} took another attempt", name(run));
    }
    clear(&world.tools)
}

/// Without it for 90 s every pod has killed what it executed; each Run goes on with its next attempt, none beside another.
pub(super) fn api_server_gone_90_s(world: &World, place: &Place) -> anyhow::Result<()> {
    let spec = json!({
        "args": ["sleep $((RANDOM % 20 == 0 ? 45 : 1))"],
        "retryPolicy": {"maxAttempts": 3, "backoff": "100ms"},
    });
    let runs = amid(&world.tools, &spec, || without(place, API_SERVER, 90))?;
    let mut fenced = 0;
    for run in &runs {
        expect(run, "Succeeded", "RunCompleted")?;
        let reasons = reasons(run)?;
        fenced += reasons.iter().filter(|reason| *reason == "Fenced").count();
        let lost = ["PodUnhealthy", "PodGone"];
        let taken = reasons.iter().any(|reason| lost.contains(&reason.as_str()));
        ensure!(!taken, "{}: {reasons:?}: its pod renewed in time", name(run));
    }
    println!("e2e cluster: {fenced} attempts were fenced in 90 s without an API server");
    clear(&world.tools)
}

/// Without the kubelet nobody notices.
pub(super) fn kubelet_stopped(world: &World, place: &Place) -> anyhow::Result<()> {
    let runs = amid(&world.tools, &json!({"args": ["sleep 1"]}), || without(place, KUBELET, 30))?;
    for run in &runs {
        expect(run, "Succeeded", "RunCompleted")?;
        ensure!(run["status"]["attempt"] == 1, "{} took another attempt", name(run));
    }
    clear(&world.tools)
}

/// A pod that is deleted lets its Runs end.
pub(super) fn pod_deleted(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    let spec = json!({"args": ["sleep 1"]});
    let runs = amid(tools, &spec, || {
        tools.kubectl(&format!("delete --wait=false {}", a_pod(tools)?)).map(drop)
    })?;
    for run in &runs {
        expect(run, "Succeeded", "RunCompleted")?;
        ensure!(run["status"]["attempt"] == 1, "{} took another attempt", name(run));
    }
    clear(tools)
}

/// A pod that is deleted by force takes its Runs with it, and no others: each ends in time, as one attempt.
pub(super) fn pod_deleted_by_force(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    let mut at = None;
    // The longer ones outlive the grace of two seconds that the kubelet leaves.
    let runs = amid(tools, &json!({"args": ["sleep $((RANDOM % 4 == 0 ? 6 : 1))"]}), || {
        let pod = a_pod(tools)?;
        at = Some(Timestamp::now());
        tools.kubectl(&format!("delete --force --grace-period=0 {pod}")).map(drop)
    })?;
    let at = at.context("nothing was deleted")?;
    let mut lost = 0;
    for run in &runs {
        ensure!(run["status"]["attempt"] == 1, "{} took another attempt", name(run));
        if text(run, "/status/phase") != "Succeeded" {
            // The pod may yet have said itself that it was killed.
            let reason = text(run, "/status/reason");
            ensure!(
                ["PodGone", "PodTerminating", "RuntimeError"].contains(&reason),
                "{}: {reason}",
                name(run)
            );
            expect(run, "Failed", reason)?;
            let ended: Timestamp = text(run, "/status/completionTime").parse()?;
            let took = Duration::try_from(ended.duration_since(at)).unwrap_or_default();
            ensure!(took <= REAP_AFTER + SLACK, "{} ended after {took:?}", name(run));
            lost += 1;
        }
    }
    ensure!(lost > 0, "no Run was lost: nothing was tried");
    println!("e2e cluster: {lost} of {RUNS} Runs went with a pod that was deleted by force");
    clear(tools)
}

/// `kubectl drain` with Runs of 20 s and 60 s of grace: all succeed on attempt 1.
pub(super) fn drained(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    let mut pool = json_of(tools, "get runtime bash")?["spec"].take();
    pool["drainTimeoutSeconds"] = json!(60);
    pool["capacity"]["resources"]["runs"] = json!("10");
    let runtime = json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime",
        "metadata": {"name": "drained"}, "spec": pool,
    });
    apply(tools, "default", &runtime)?;
    tools.kubectl("wait --for=condition=Ready runtime/drained --timeout=180s")?;
    let mut runs: Vec<Value> =
        (0..20).map(|n| run(&format!("drain-{n}"), &json!({"args": ["sleep 20"]}))).collect();
    for run in &mut runs {
        run["spec"]["runtime"] = json!("drained");
    }
    apply(tools, "default", &json!({"apiVersion": "v1", "kind": "List", "items": runs}))?;
    tools.kubectl("wait --for=jsonpath={.status.phase}=Running runs --all --timeout=60s")?;
    let node = tools.kubectl("get nodes -o name")?;
    let drain = "--pod-selector=runtime=drained --delete-emptydir-data --timeout=90s";
    let drained = tools.kubectl(&format!("drain {} {drain}", node.trim()));
    tools.kubectl(&format!("uncordon {}", node.trim()))?;
    drained?;
    let runs = json_of(tools, "get runs")?;
    ensure!(items(&runs).count() == 20, "not 20 Runs");
    for run in items(&runs) {
        expect(run, "Succeeded", "RunCompleted")?;
        ensure!(run["status"]["attempt"] == 1, "{} took another attempt", name(run));
    }
    tools.kubectl("delete runtime drained --timeout=120s")?;
    clear(tools)
}

/// Creates the Runs, lets it happen in their midst, and returns them once all have ended.
fn amid(
    tools: &Tools,
    spec: &Value,
    happens: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Value>> {
    clear(tools)?;
    tools.kubectl("wait --for=condition=Ready runtime/bash --timeout=180s")?;
    let runs: Vec<Value> = (0..RUNS).map(|n| run(&format!("amid-{n}"), spec)).collect();
    apply(tools, "default", &json!({"apiVersion": "v1", "kind": "List", "items": runs}))?;
    let begun = Instant::now();
    let ended = "get runs --field-selector=status.phase=Succeeded -o name";
    while tools.kubectl(ended)?.lines().count() < ENDED_BEFORE {
        ensure!(begun.elapsed() < REAP_AFTER, "the Runs do not get on");
        sleep(LOOK);
    }
    happens()?;
    tools.kubectl("wait --for=condition=Finished runs --all --timeout=300s")?;
    let runs: Vec<Value> = items(&json_of(tools, "get runs")?).cloned().collect();
    ensure!(runs.len() == RUNS, "{} Runs of {RUNS}", runs.len());
    for run in &runs {
        one_after_the_other(run)?;
    }
    Ok(runs)
}

/// Takes a component away for so many seconds.
fn without(place: &Place, component: &'static str, seconds: u64) -> anyhow::Result<()> {
    let tools = ClusterTools::prepare()?;
    daemon::stop(place, component)?;
    sleep(Duration::from_secs(seconds));
    up::start_again(&tools, component)
}

fn clear(tools: &Tools) -> anyhow::Result<()> {
    tools.kubectl("delete runs --all --timeout=120s").map(drop)
}

fn a_pod(tools: &Tools) -> anyhow::Result<String> {
    let pods = tools.kubectl("get pods -l runtime=bash -o name")?;
    pods.lines().next().map(str::to_owned).context("no pod")
}

fn name(run: &Value) -> &str {
    text(run, "/metadata/name")
}

fn expect(run: &Value, phase: &str, reason: &str) -> anyhow::Result<()> {
    let status = &run["status"];
    let is = (text(run, "/status/phase"), text(run, "/status/reason"));
    ensure!(is == (phase, reason), "{} is {is:?}: {}", name(run), status["message"]);
    Ok(())
}

fn attempts(run: &Value) -> impl Iterator<Item = &Value> {
    run["status"]["attempts"].as_array().into_iter().flatten()
}

fn reasons(run: &Value) -> anyhow::Result<Vec<String>> {
    attempts(run)
        .map(|attempt| Ok(attempt["reason"].as_str().context("no reason")?.to_owned()))
        .collect()
}

/// No attempt began before the former had ended.
fn one_after_the_other(run: &Value) -> anyhow::Result<()> {
    let mut ended: Option<Timestamp> = None;
    for attempt in attempts(run) {
        let start: Option<Timestamp> = text(attempt, "/startTime").parse().ok();
        ensure!(start.is_none() || start >= ended, "{}: {}", name(run), run["status"]["attempts"]);
        ended = Some(text(attempt, "/endTime").parse()?);
    }
    Ok(())
}
