//! The promises about a Run's status: each accepted change is held against the table and against the truth.

use crate::core::Core;
use crate::message::Address;
use crate::net::phase;
use crate::oracle::check as promise;
use crate::schema::Kind;
use kruntimes_api::{Phase, Reason, Run};
use kruntimes_rules::run::phase::{Writer, legal};
use kruntimes_rules::run::retry;
use serde_json::Value;
use std::time::Duration;

/// The status of a Run has changed.
pub(crate) fn check(core: &mut Core, from: Address, uid: &str, old: &Value, new: &Value) {
    let (before, after) = (phase(old), phase(new));
    promise(core, "a terminal status never changes", !before.is_terminal(), || {
        format!("{uid}: {before} -> {after} by {from:?}")
    });
    let writer = match from {
        Address::Scheduler(_) => Writer::Scheduler,
        Address::Controller(_) => Writer::Controller,
        Address::Runtimed(pod) => {
            check_token(core, pod, uid, old);
            Writer::Runtimed
        }
        Address::Api | Address::Server(_) | Address::Cluster | Address::Client => {
            return promise(core, "only the three roles write a status", false, || {
                format!("{uid}: {before} -> {after} by {from:?}")
            });
        }
    };
    // A write that arrives twice changes no phase.
    let repeated = before == after && writer == Writer::Runtimed;
    promise(
        core,
        "every change of phase is in the table",
        repeated || legal(before, after, writer),
        || format!("{uid}: {before} -> {after} by {from:?}"),
    );
    if !repeated {
        core.counts.transition(before, after, writer);
    }
    let (Ok(run), Ok(was)) =
        (serde_json::from_value::<Run>(new.clone()), serde_json::from_value::<Run>(old.clone()))
    else {
        return;
    };
    check_attempt(core, uid, &was, &run);
    check_outputs(core, uid, &run);
    match after {
        Phase::Scheduled if before == Phase::Pending => assigned(core, uid, &was, &run),
        Phase::Pending if before != Phase::Pending => handed_on(core, uid, &run),
        Phase::Pending | Phase::Scheduled | Phase::Running => {}
        Phase::Succeeded | Phase::Failed | Phase::Timeout | Phase::Cancelled => {
            ended(core, from, uid, &run);
        }
    }
}

/// A write of a runtimed counts only for its own Runs, and only while its pod is there.
fn check_token(core: &mut Core, pod: usize, uid: &str, old: &Value) {
    let mine = core.pods[pod].uid.clone();
    let owner = old.pointer("/status/assignedPodUID").and_then(Value::as_str).map(str::to_owned);
    let name = core.pods[pod].name.clone();
    let exists = core.api.get(Kind::Pod, &name).is_some_and(|stored| stored.uid == mine);
    promise(core, "a zombie changes nothing", owner.as_deref() == Some(&mine) && exists, || {
        format!("{uid}: pod {pod} ({mine}) wrote a status of {owner:?}")
    });
}

fn check_attempt(core: &mut Core, uid: &str, was: &Run, run: &Run) {
    let number = |run: &Run| run.status.as_ref().and_then(|status| status.attempt).unwrap_or(0);
    let (before, after) = (number(was), number(run));
    promise(core, "the attempt never falls", after >= before, || {
        format!("{uid}: attempt {before} -> {after}")
    });
    let most = retry::max_attempts(run.spec.retry_policy.as_ref());
    promise(core, "no attempt beyond maxAttempts", after <= most, || {
        format!("{uid}: attempt {after} of {most}")
    });
}

/// Each attempt gives out one value that names it.
fn check_outputs(core: &mut Core, uid: &str, run: &Run) {
    let Some(status) = &run.status else { return };
    let own = format!("of-{}", status.attempt.unwrap_or(0));
    let outputs: Vec<_> = status.outputs.keys().cloned().collect();
    let alone = outputs.iter().all(|name| *name == own);
    promise(core, "outputs are those of the newest attempt alone", alone, || {
        format!("{uid}: {outputs:?}, not {own}")
    });
    let kept = core.oracle.runs.get(uid).and_then(|truth| truth.stored);
    let whole = status.artifact_refs.is_empty() || kept == status.attempt;
    promise(core, "the store has what a status refers to", whole, || {
        format!("{uid}: {kept:?}, not {:?}", status.attempt)
    });
    let complete = status.phase != Phase::Succeeded || !outputs.is_empty();
    promise(core, "a success has its outputs", complete, || format!("{uid}: {:?}", status.attempt));
}

fn assigned(core: &mut Core, uid: &str, was: &Run, run: &Run) {
    let status = run.status.clone().unwrap_or_default();
    let owner = core
        .pods
        .iter()
        .find(|pod| Some(&pod.uid) == status.assigned_pod_uid.as_ref())
        .map(|pod| pod.name.clone());
    promise(
        core,
        "pod and UID of an assignment belong together",
        owner == status.assigned_pod,
        || format!("{uid}: {:?} is {owner:?}", status.assigned_pod),
    );
    let now = core.now;
    let cancelled = was.spec.cancel_requested == Some(true);
    promise(core, "a cancelled Run is not placed", !cancelled, || uid.to_owned());
    let Some(truth) = core.oracle.runs.get_mut(uid) else { return };
    if let Some(not_before) = truth.not_before.take() {
        promise(core, "a retry waits for its backoff", now >= not_before, || {
            format!("{uid}: placed {:?} early", not_before - now)
        });
    }
}

/// The Run goes to another attempt: nothing of this one may run.
fn handed_on(core: &mut Core, uid: &str, run: &Run) {
    let status = run.status.clone().unwrap_or_default();
    let alive = core
        .oracle
        .processes
        .iter()
        .find(|(_, process)| process.run == uid && crate::oracle::runs(core, process.pod))
        .map(|(number, _)| *number);
    promise(core, "a Run is handed on only when nothing of it runs", alive.is_none(), || {
        format!("{uid}: process {alive:?} runs")
    });
    let attempt = status.attempt.unwrap_or(0);
    if status.reason.as_deref() == Some(Reason::NotStarted.as_str()) {
        let started = core
            .oracle
            .runs
            .get(uid)
            .is_some_and(|truth| truth.starts.iter().any(|start| start.attempt == attempt));
        // What waits no longer than a deleted Run may take to die can't have its slot.
        let timeout = core.oracle.runs.get(uid).and_then(|truth| truth.plan.timeout);
        let patient = timeout.is_none_or(|timeout| timeout > crate::oracle::KILL_WITHIN);
        core.oracle.handed_back += u64::from(patient);
        return promise(core, "what has started counts", !started, || {
            format!("{uid}: attempt {attempt} is said not to have started")
        });
    }
    let delay = retry::delay_before(run.spec.retry_policy.as_ref(), attempt + 1);
    let not_before = core.now + delay * 97 / 100;
    if let Some(truth) = core.oracle.runs.get_mut(uid) {
        truth.not_before = (delay > Duration::ZERO).then_some(not_before);
    }
}

/// A terminal status says what is true.
fn ended(core: &mut Core, from: Address, uid: &str, run: &Run) {
    let status = run.status.clone().unwrap_or_default();
    let Some(truth) = core.oracle.runs.get_mut(uid) else { return };
    let former = truth.terminal.replace(status.phase);
    let last = truth.starts.last().filter(|start| Some(start.attempt) == status.attempt);
    let exit = last.and_then(|start| start.exit_code);
    let received = from.pod().and_then(|pod| truth.received.get(&pod).copied());
    let cancelled = truth.cancelled;
    promise(core, "one terminal status a Run", former.is_none(), || {
        format!("{uid}: {former:?}, then {}", status.phase)
    });
    let reason = status.reason.clone().unwrap_or_default();
    let said = || format!("{uid}: {} {reason}, exit {exit:?}", status.phase);
    match status.phase {
        Phase::Succeeded => {
            promise(core, "what succeeded has exited with 0", exit == Some(0), said)
        }
        Phase::Cancelled => promise(core, "only what was cancelled is Cancelled", cancelled, said),
        Phase::Timeout => {
            let timeout = run.spec.timeout_seconds.and_then(|s| u64::try_from(s).ok());
            let took = received.map(|received| core.now.saturating_sub(received));
            let late = timeout.is_some_and(|seconds| {
                let earliest = Duration::from_secs(seconds).mul_f64(0.98);
                took.is_none_or(|took| took + Duration::from_secs(1) >= earliest)
            });
            promise(core, "a timeout comes when its time is over", late, || {
                format!("{uid}: after {took:?} of {timeout:?}")
            });
        }
        Phase::Failed => failed(core, uid, run, &reason, exit),
        Phase::Pending | Phase::Scheduled | Phase::Running => {}
    }
}

fn failed(core: &mut Core, uid: &str, run: &Run, reason: &str, exit: Option<i32>) {
    let attempt = run.status.as_ref().and_then(|status| status.attempt).unwrap_or(0);
    let known = Reason::ALL.into_iter().find(|known| known.as_str() == reason);
    let Some(known) = known else {
        return promise(core, "a failure has a documented reason", false, || {
            format!("{uid}: {reason}")
        });
    };
    let again = retry::should_retry(&run.spec, attempt, known);
    promise(core, "a failure is final only when no attempt is left", !again, || {
        format!("{uid}: attempt {attempt} {reason}")
    });
    let by_itself = matches!(known, Reason::RuntimeError | Reason::Unschedulable);
    let succeeds = core.oracle.runs.get(uid).is_some_and(|truth| truth.plan.must_succeed());
    let by_fault = !(succeeds && by_itself);
    promise(core, "what succeeds without faults fails only by one", by_fault, || {
        format!("{uid}: attempt {attempt} {reason}")
    });
    if known == Reason::RuntimeError {
        promise(
            core,
            "what failed by itself has exited so",
            exit.is_some_and(|code| code != 0),
            || format!("{uid}: {reason}, exit {exit:?}"),
        );
    }
}
