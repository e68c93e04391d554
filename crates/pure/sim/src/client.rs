//! Clients: the Runs that they create, cancel and delete, and what the commands of these Runs do.

use crate::core::Core;
use crate::message::{Address, Body, ClientStep};
use crate::random::Random;
use crate::schema::Kind;
use crate::store::Op;
use crate::workflows::{self, Script as StepScript};
use kruntimes_rules::capacity::Resources;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// What one Run is to be.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) max_attempts: i32,
    pub(crate) timeout: Option<Duration>,
    pub(crate) fits: bool,
    pub(crate) cancelled: bool,
    pub(crate) deleted: bool,
    request: Arc<Resources>,
    lasts: Duration,
    /// From this attempt on the command succeeds.
    succeeds_at: i32,
    ignores_term: bool,
    body: Value,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            name: String::new(),
            max_attempts: 1,
            timeout: None,
            fits: true,
            cancelled: false,
            deleted: false,
            request: Resources::one_run(),
            lasts: Duration::from_secs(1),
            succeeds_at: 1,
            ignores_term: false,
            body: Value::Null,
        }
    }
}

/// What the command of one attempt does.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) lasts: Duration,
    pub(crate) exit_code: i32,
    pub(crate) ignores_term: bool,
    pub(crate) request: Arc<Resources>,
}

impl Default for Script {
    fn default() -> Self {
        Plan::default().script(1)
    }
}

impl Plan {
    pub(crate) fn script(&self, attempt: i32) -> Script {
        Script {
            lasts: self.lasts,
            exit_code: i32::from(attempt < self.succeeds_at),
            ignores_term: self.ignores_term,
            request: Arc::clone(&self.request),
        }
    }

    /// A step of a Workflow, which may cancel it.
    pub(crate) fn of_step(script: StepScript, most: i32) -> Self {
        let succeeds_at = if script.succeeds { 1 } else { i32::MAX };
        let lasts = script.lasts;
        Self { max_attempts: most, lasts, succeeds_at, cancelled: true, ..Self::default() }
    }

    /// Whether the spec alone decides that it succeeds.
    pub(crate) fn must_succeed(&self) -> bool {
        let in_time =
            self.timeout.is_none_or(|timeout| self.lasts + Duration::from_secs(3) < timeout);
        let left_alone = !self.cancelled && !self.deleted;
        self.fits && left_alone && in_time && self.succeeds_at <= self.max_attempts
    }
}

/// Draws the Runs of a seed and when what happens to each.
pub(crate) fn draw(core: &mut Core, runs: usize, within: Duration) {
    for number in 0..runs {
        let plan = one(&mut core.random, number);
        let at = core.random.millis(0, u64::try_from(within.as_millis()).unwrap_or(0));
        let step = |step| Body::Client(step);
        core.post_any(at, Address::Client, step(ClientStep::Create(number)));
        if plan.cancelled {
            let later = at + core.random.millis(0, 12_000);
            core.post_any(later, Address::Client, step(ClientStep::Cancel(number)));
        }
        if plan.deleted {
            let later = at + core.random.millis(10, 20_000);
            core.post_any(later, Address::Client, step(ClientStep::Delete(number)));
        }
        core.oracle.plans.insert(plan.name.clone(), Arc::new(plan));
    }
}

fn one(random: &mut Random, number: usize) -> Plan {
    let name = format!("run-{number:03}");
    let max_attempts = random.pick(&[1, 1, 2, 3, 4]);
    let lasts = random.pick(&[20, 40, 200, 1_000, 3_000, 8_000, 20_000, 45_000]);
    let lasts = random.millis(lasts, lasts * 2);
    let timeout = random.permille(450).then(|| random.pick(&[1_u64, 2, 5, 10, 30, 60, 60]));
    let succeeds_at = random.pick(&[1, 1, 1, 1, 2, 3, 9]);
    let mut spec = json!({"runtime": "bash", "args": ["true"]});
    if let Some(timeout) = timeout {
        spec["timeoutSeconds"] = json!(timeout);
    }
    if max_attempts > 1 {
        spec["retryPolicy"] = json!({"maxAttempts": max_attempts,
            "backoff": random.pick(&["200ms", "1s", "3s"])});
        if random.permille(100) {
            spec["retryPolicy"]["retryableReasons"] = json!(["RuntimeError", "Fenced", "PodGone"]);
        }
    }
    let gpus = random.pick(&[0_u64, 0, 0, 0, 0, 1, 2, 9]);
    let mut request = Resources::runs(1);
    if gpus > 0 {
        spec["resources"] = json!({"requests": {"gpu": gpus}});
        request = request.with("gpu", gpus);
    }
    if random.permille(60) {
        spec["ttlSecondsAfterFinished"] = json!(random.pick(&[1, 10, 30]));
    }
    let (cancelled, deleted) = (random.permille(170), random.permille(80));
    let body = json!({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
        "metadata": {"name": name}, "spec": spec});
    Plan {
        name,
        max_attempts,
        timeout: timeout.map(Duration::from_secs),
        fits: gpus <= crate::cluster::GPUS,
        cancelled,
        deleted,
        request: Arc::new(request),
        lasts,
        succeeds_at,
        ignores_term: random.permille(300),
        body,
    }
}

/// Does what is due; tries again while the API server does not answer.
pub(crate) fn handle(core: &mut Core, step: ClientStep) {
    let number = match &step {
        ClientStep::Create(number) | ClientStep::Cancel(number) | ClientStep::Delete(number) => {
            *number
        }
        ClientStep::Workflow(number, _) => *number,
    };
    let name = format!("run-{number:03}");
    let again = Body::Client(step.clone());
    let op = match step {
        ClientStep::Create(_) => {
            let body = core.oracle.plans.get(&name).map(|plan| plan.body.clone());
            Op::Create(Kind::Run, body.unwrap_or_default())
        }
        ClientStep::Cancel(_) => {
            Op::Patch(Kind::Run, name, json!({"spec": {"cancelRequested": true}}))
        }
        ClientStep::Delete(_) => Op::Delete { kind: Kind::Run, name, uid: None, grace: None },
        ClientStep::Workflow(_, act) => match workflows::op(core, number, &act) {
            workflows::Do::Now(op) => op,
            workflows::Do::Later => {
                return core.post_any(core.now + Duration::from_secs(1), Address::Client, again);
            }
            workflows::Do::Never => return,
        },
    };
    if !core.direct(Address::Client, &op) {
        core.post_any(core.now + Duration::from_secs(1), Address::Client, again);
    }
}
