//! The Workflows of a seed: small ones of every feature, and what their users do with them.

use crate::core::Core;
use crate::faults::{Fault, Faults};
use crate::message::{Act, Address, Body, ClientStep};
use crate::random::Random;
use crate::schema::Kind;
use crate::store::Op;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Of seven seeds two have Workflows. The others are as they were before there were any, and so are the seeds that are
/// kept because they found something.
const WITH: [u64; 2] = [3, 6];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// What a Run is tried again for: its result is that of its script, unless it meets this eight times.
const INFRASTRUCTURE: [&str; 8] = [
    "ExecutionLost",
    "PodGone",
    "PodTerminating",
    "PodUnhealthy",
    "Fenced",
    "PrepareSource",
    "RuntimeExecute",
    "ArtifactStoreFailed",
];

/// Of a thousand seeds with Workflows so many have a fault of theirs.
const FAULTS_PERMILLE: u64 = 450;
/// So long a Workflow is suspended.
const SUSPENDED: Duration = Duration::from_secs(17);

/// Whether a seed has Workflows.
pub(crate) const fn has(seed: u64) -> bool {
    seed % 7 == WITH[0] || seed % 7 == WITH[1]
}

/// Draws the Workflows of a seed and when what happens to each.
pub(crate) fn draw(core: &mut Core, random: &mut Random, within: Duration) {
    if core.settings.faults != Faults::None {
        let kept = Fault::OF_WORKFLOWS.into_iter().filter(|_| random.permille(FAULTS_PERMILLE));
        core.settings.timed.extend(kept);
    }
    let within = u64::try_from(within.as_millis()).unwrap_or(0);
    let count = 1 + random.below(4);
    for number in 0..usize::try_from(count).unwrap_or(1) {
        let spec = spec(random);
        let at = random.millis(0, within);
        let mut post = |after: u64, act: Act| {
            let later = at + Duration::from_millis(after);
            let step = ClientStep::Workflow(number, act);
            core.post_any(later, Address::Client, Body::Client(step));
        };
        post(0, Act::Create);
        if random.permille(100) {
            post(random.below(20_000), Act::Suspend(true));
        }
        if random.permille(120) {
            post(random.below(30_000), Act::Cancel);
        }
        let name = name(number);
        let body = json!({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Workflow",
            "metadata": {"name": name}, "spec": spec});
        core.oracle.workflows.awaited.insert(name.clone());
        core.oracle.workflows.plans.insert(name, body);
        agree(core, random, number, at);
    }
}

/// Its user lets go on what waits for that.
pub(crate) fn agree(core: &mut Core, random: &mut Random, number: usize, from: Duration) {
    let Some(plan) = core.oracle.workflows.plans.get(&name(number)) else { return };
    let mut acts = Vec::new();
    if plan["spec"]["suspend"] == json!(true) {
        acts.push(Act::Suspend(false));
    }
    for (name, job) in plan["spec"]["jobs"].as_object().into_iter().flatten() {
        if job.get("approval").is_some() {
            acts.push(Act::Approve(name.clone()));
        }
    }
    for act in acts {
        let at = from + random.millis(0, 40_000);
        core.post_any(at, Address::Client, Body::Client(ClientStep::Workflow(number, act)));
    }
}

/// The name of a Workflow. The later one of a group comes first where names are sorted.
pub(crate) fn name(number: usize) -> String {
    format!("flow-{}", 9 - number)
}

fn spec(random: &mut Random) -> Value {
    let count = usize::try_from(1 + random.below(5)).unwrap_or(1);
    let names = &NAMES[..count];
    let finally = count > 1 && random.permille(250);
    let mut jobs = Map::new();
    for (at, name) in names.iter().enumerate() {
        let is_finally = finally && at + 1 == count;
        let before = if is_finally { &[] } else { &names[..at] };
        jobs.insert((*name).to_owned(), job(random, before));
    }
    let mut spec = json!({"jobs": jobs});
    if finally {
        spec["finally"] = json!([names[count - 1]]);
    }
    if random.permille(600) {
        spec["fail-fast"] = json!(false);
    }
    if random.permille(300) {
        spec["parallelism"] = json!(1 + random.below(3));
    }
    if random.permille(350) {
        spec["concurrency"] = json!({"group": "g", "cancel-in-progress": random.permille(450)});
    }
    if random.permille(60) {
        spec["timeoutSeconds"] = json!(5 + random.below(40));
    }
    if random.permille(100) {
        spec["suspend"] = json!(true);
    }
    spec
}

fn job(random: &mut Random, before: &[&str]) -> Value {
    let needs: Vec<&str> = before.iter().filter(|_| random.permille(350)).copied().collect();
    let legs = if random.permille(250) { 2 + random.below(3) } else { 0 };
    let steps: Vec<Value> =
        (0..1 + random.below(3)).map(|number| step(random, number, legs)).collect();
    let mut job = json!({"runs-on": "bash", "needs": needs, "steps": steps});
    if legs > 0 {
        let values: Vec<u64> = (0..legs).collect();
        job["strategy"] = json!({"matrix": {"v": values}, "fail-fast": random.permille(300)});
        if random.permille(500) {
            job["strategy"]["max-parallel"] = json!(1 + random.below(2));
        }
    }
    if random.permille(200) {
        job["retryPolicy"] = json!({"maxAttempts": 2, "backoff": random.pick(&["200ms", "2s"])});
    }
    if random.permille(150) {
        job["if"] = json!(random.pick(&["always()", "failure()", "success()", "cancelled()"]));
    }
    if random.permille(120) {
        job["continue-on-error"] = json!(true);
    }
    if random.permille(60) {
        job["timeoutSeconds"] = json!(3 + random.below(20));
    }
    if random.permille(80) {
        job["approval"] = json!("required");
    }
    job
}

/// What a step does stands in its script: how long it lasts, at which attempts of its job it fails, and in which leg.
fn step(random: &mut Random, number: u64, legs: u64) -> Value {
    let lasts = random.pick(&[10_u64, 50, 300, 1_000, 3_000, 8_000]);
    let fails = random.pick(&[0_u64, 0, 0, 0, 0, 0, 1, 9]);
    let mut script = format!("lasts={lasts} fails={fails}");
    if legs > 0 {
        script.push_str(&format!(" leg={}", random.below(legs)));
    }
    let mut step = json!({"name": format!("s{number}"), "run": script,
        "retryPolicy": {"maxAttempts": 8, "backoff": "200ms", "retryableReasons": INFRASTRUCTURE}});
    if legs > 0 {
        step["args"] = json!(["${{ matrix.v }}"]);
    }
    if random.permille(120) {
        step["continue-on-error"] = json!(true);
    }
    if random.permille(120) {
        step["if"] = json!(random.pick(&["always()", "failure()", "cancelled()"]));
    }
    step
}

/// What comes of an act of a user.
#[derive(Debug)]
pub(crate) enum Do {
    Now(Op),
    /// The Workflow is not there yet.
    Later,
    Never,
}

/// What an act of a user is for the API server.
pub(crate) fn op(core: &mut Core, number: usize, act: &Act) -> Do {
    let name = name(number);
    if *act == Act::Create {
        let body = core.oracle.workflows.plans.get(&name).cloned();
        return body.map_or(Do::Never, |body| Do::Now(Op::Create(Kind::Workflow, body)));
    }
    let Some(stored) = core.api.get(Kind::Workflow, &name) else {
        let awaited = core.oracle.workflows.awaited.contains(&name);
        return if awaited { Do::Later } else { Do::Never };
    };
    let spec = match act {
        Act::Create => return Do::Never,
        Act::Suspend(suspend) => {
            if *suspend {
                let step = ClientStep::Workflow(number, Act::Suspend(false));
                core.post_any(core.now + SUSPENDED, Address::Client, Body::Client(step));
            }
            json!({"suspend": suspend})
        }
        Act::Cancel => json!({"cancelRequested": true}),
        Act::Approve(job) => {
            let approvals = stored.value().pointer("/spec/approvals").cloned();
            let mut all = approvals.and_then(|all| all.as_array().cloned()).unwrap_or_default();
            all.push(json!(job));
            json!({"approvals": all})
        }
    };
    Do::Now(Op::Patch(Kind::Workflow, name, json!({"spec": spec})))
}
