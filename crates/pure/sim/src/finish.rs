//! What must be true when the last fault is long over.

use crate::core::Core;
use crate::faults::Faults;
use crate::message::Address;
use crate::oracle::check as promise;
use crate::pod::{Life, Pod};
use crate::schema::Kind;
use crate::workflows;
use kruntimes_api::Phase;
use serde_json::Value;

/// Whether nothing is left to happen.
pub(crate) fn is_settled(core: &Core) -> bool {
    let created = core.oracle.runs.len() >= core.oracle.plans.len();
    let all_ended =
        core.oracle.runs.values().all(|truth| truth.terminal.is_some() || truth.deleted);
    created && all_ended && workflows::is_settled(core) && leftovers(core).is_empty()
}

/// Everything has ended, as its spec says, and nothing is left over.
pub(crate) fn check(core: &mut Core, faults: Faults) {
    let mut stuck = Vec::new();
    for (uid, truth) in &core.oracle.runs {
        if truth.terminal.is_none() && !truth.deleted {
            let stored = core.api.get(Kind::Run, &truth.name);
            let status = stored.map(|stored| stored.value()["status"].to_string());
            stuck.push(format!("{uid} {} {}", truth.name, status.unwrap_or_default()));
        }
    }
    workflows::check(core);
    promise(core, "every Run ends", stuck.is_empty(), || stuck.join("; "));
    let left = leftovers(core);
    promise(core, "nothing is left over", left.is_empty(), || left.join("; "));
    if faults == Faults::None {
        let handed_back = core.oracle.handed_back;
        promise(core, "without faults no pod gets more than it has", handed_back == 0, || {
            format!("{handed_back} Runs were handed back")
        });
        let wrong = surprises(core);
        promise(core, "without faults each Run ends as its spec says", wrong.is_empty(), || {
            wrong.join("; ")
        });
    }
}

fn surprises(core: &Core) -> Vec<String> {
    let mut wrong = Vec::new();
    for truth in core.oracle.runs.values().filter(|truth| truth.plan.must_succeed()) {
        if truth.terminal != Some(Phase::Succeeded) {
            wrong.push(format!("{}: {:?}", truth.name, truth.terminal));
        }
    }
    wrong
}

/// What should not be there any more.
fn leftovers(core: &Core) -> Vec<String> {
    let mut left = Vec::new();
    for (number, process) in &core.oracle.processes {
        left.push(format!("process {number} of {} on pod {}", process.run, process.pod));
    }
    for (at, pod) in core.pods.iter().enumerate().filter(|(_, pod)| pod.life == Life::Runs) {
        if !core.is_up(Address::Runtimed(at)) || !core.is_up(Address::Server(at)) {
            left.push(format!("pod {at} is not up"));
        }
        of_pod(core, at, pod, &mut left);
    }
    left
}

fn of_pod(core: &Core, at: usize, pod: &Pod, left: &mut Vec<String>) {
    let open = pod.journal.iter().filter(|(_, entry)| entry.open);
    left.extend(open.map(|(uid, _)| format!("journal of pod {at}: {uid}")));
    left.extend(pod.workspaces.iter().map(|uid| format!("workspace on pod {at}: {uid}")));
    let lease = core.api.get(Kind::Lease, &pod.name).map(|stored| stored.value());
    let holder = lease.as_ref().and_then(|lease| lease.pointer("/spec/holderIdentity"));
    if holder.and_then(Value::as_str).is_some_and(|holder| !holder.is_empty()) {
        left.push(format!("Lease of pod {at} is held"));
    }
}
