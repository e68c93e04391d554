//! Kubelets and the controllers of Kubernetes: pods are made, reported, ended and replaced.

use crate::clock::{Clock, DRIFT_PPM};
use crate::core::Core;
use crate::faults::Fault;
use crate::message::{Address, Body, ClusterStep, Shown};
use crate::pod::{Life, Pod, Server};
use crate::schema::Kind;
use crate::store::Op;
use crate::strike;
use kruntimes_api::{conditions, labels};
use kruntimes_rules::capacity::Resources;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// GPUs of each pod.
pub(crate) const GPUS: u64 = 2;
/// Runs of each pod.
const SLOTS: u32 = 2;
/// How long a pod may take to end.
const GRACE: Duration = Duration::from_secs(30);

/// Makes the Runtime and its first pods.
pub(crate) fn create(core: &mut Core, pods: u64) {
    let runtime = json!({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime",
        "metadata": {"name": "bash"},
        "spec": {"capacity": {"resources": {"runs": SLOTS, "gpu": GPUS}},
            "template": {"spec": {"containers": [{"name": "runtime", "image": "bash"}]}}}});
    core.direct(Address::Cluster, &Op::Create(Kind::Runtime, runtime));
    for _ in 0..pods {
        make_pod(core, None);
    }
}

/// A clock of a machine of its own.
pub(crate) fn draw_clock(core: &mut Core, node: Address) {
    let spread = u64::try_from(DRIFT_PPM).unwrap_or(0);
    let ppm = i64::try_from(core.random.below(2 * spread + 1)).unwrap_or(0) - DRIFT_PPM;
    let offset = i64::try_from(core.random.below(7200)).unwrap_or(0) - 3600;
    let base = core.random.millis(1_000_000, 5_000_000);
    core.clocks.insert(node, Clock::new(base, ppm, offset));
}

fn make_pod(core: &mut Core, name: Option<String>) {
    let at = core.pods.len();
    let name = name.unwrap_or_else(|| format!("pod-{at}"));
    let body = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {labels::RUNTIME: "bash"}, "annotations": {
            labels::CAPACITY_RUNS: SLOTS.to_string(), "kruntimes.io/capacity.gpu": GPUS.to_string()}},
        "spec": {"nodeName": format!("node-{at}"), "terminationGracePeriodSeconds": GRACE.as_secs(),
            "containers": [{"name": "runtime", "image": "x"}, {"name": "runtimed", "image": "x"}]}});
    let made = core.direct(Address::Cluster, &Op::Create(Kind::Pod, body));
    let uid = core.api.get(Kind::Pod, &name).map(|stored| stored.uid.clone());
    let known = core.pods.iter().any(|pod| Some(&pod.uid) == uid.as_ref());
    let (Some(uid), true, false) = (uid, made, known) else {
        return core.post_any(
            core.now + Duration::from_secs(1),
            Address::Cluster,
            Body::Cluster(ClusterStep::Recreate { name: Some(name) }),
        );
    };
    let foreign = core.random.permille(200);
    core.pods.push(Pod {
        foreign,
        name,
        uid,
        capacity: Resources::runs(SLOTS).with("gpu", GPUS),
        fence_after: core.settings.fence_after,
        lived: false,
        journal: BTreeMap::new(),
        workspaces: BTreeSet::new(),
        server: Server::default(),
        life: Life::Runs,
        kubelet_cut_until: Duration::ZERO,
        disturbances: 0,
        thawed: Duration::ZERO,
        hung_until: Duration::ZERO,
        frozen_until: Duration::ZERO,
    });
    draw_clock(core, Address::Runtimed(at));
    core.post_any(core.now, Address::Server(at), Body::Start);
    core.post_any(core.now, Address::Runtimed(at), Body::Start);
    look(core, at, Duration::from_millis(100));
}

pub(crate) fn look(core: &mut Core, pod: usize, wait: Duration) {
    let body = Body::Cluster(ClusterStep::KubeletLooks(pod));
    core.post_any(core.now + wait, Address::Cluster, body);
}

/// Handles what the cluster does.
pub(crate) fn handle(core: &mut Core, step: ClusterStep) {
    match step {
        ClusterStep::Fault => strike::next(core),
        ClusterStep::Quiet => strike::quiet(core),
        ClusterStep::Heal(fault, which) => strike::heal(core, fault, which),
        ClusterStep::KubeletLooks(pod) => kubelet(core, pod),
        ClusterStep::Kill(pod) => kill(core, pod),
        ClusterStep::RestartContainer(node) => {
            let lives =
                node.pod().is_none_or(|pod| matches!(core.pods[pod].life, Life::Runs | Life::Ends));
            if lives {
                core.post_any(core.now, node, Body::Start);
            }
        }
        ClusterStep::MachineBack(pod) => {
            core.post_any(core.now, Address::Server(pod), Body::Start);
            core.post_any(core.now, Address::Runtimed(pod), Body::Start);
        }
        ClusterStep::CollectLost(pod) => collect(core, pod),
        ClusterStep::Recreate { name } => make_pod(core, name),
        ClusterStep::ApiBack => core.post_any(core.now, Address::Api, Body::Start),
        ClusterStep::CheckKilled { process, disturbances } => {
            crate::oracle::check_killed(core, process, disturbances);
        }
        ClusterStep::CheckOverlap(pod) => crate::oracle::check_overlap(core, pod),
    }
}

/// The kubelet of a pod's machine compares what is wanted with what is.
fn kubelet(core: &mut Core, at: usize) {
    let pod = &core.pods[at];
    if matches!(pod.life, Life::Lost | Life::Over) {
        return;
    }
    if pod.kubelet_cut_until > core.now || !core.is_up(Address::Api) {
        let wait = pod.kubelet_cut_until.saturating_sub(core.now);
        return look(core, at, wait + Duration::from_secs(1));
    }
    let stored = core.api.get(Kind::Pod, &pod.name).cloned();
    let Some(stored) = stored.filter(|stored| stored.uid == pod.uid) else {
        if pod.life != Life::Ended {
            return end(core, at);
        }
        core.pods[at].life = Life::Over;
        return;
    };
    match pod.life {
        Life::Runs if stored.deleting => end(core, at),
        Life::Ended => report_end(core, at),
        Life::Runs | Life::Ends => report(core, at),
        Life::Lost | Life::Over => {}
    }
}

/// SIGTERM; the rest follows when the time is over.
fn end(core: &mut Core, at: usize) {
    if core.pods[at].life != Life::Runs {
        return;
    }
    core.pods[at].life = Life::Ends;
    core.post_any(core.now, Address::Runtimed(at), Body::Terminate { within: GRACE });
    let kill = Body::Cluster(ClusterStep::Kill(at));
    core.post_any(core.now + GRACE, Address::Cluster, kill);
    report(core, at);
}

/// No container is left.
fn kill(core: &mut Core, at: usize) {
    if !matches!(core.pods[at].life, Life::Runs | Life::Ends) {
        return;
    }
    stop_all(core, at);
    core.pods[at].life = Life::Ended;
    look(core, at, Duration::from_millis(100));
}

pub(crate) fn stop_all(core: &mut Core, at: usize) {
    core.take_down(Address::Runtimed(at));
    core.take_down(Address::Server(at));
    crate::server::stop(core, at);
    core.pods[at].frozen_until = Duration::ZERO;
    core.break_watches(Address::Runtimed(at), &Shown::Broken);
}

fn report_end(core: &mut Core, at: usize) {
    let name = core.pods[at].name.clone();
    let ended = json!({"terminated": {"exitCode": 0}});
    let status = status("Failed", "False", &ended);
    core.direct(Address::Cluster, &Op::PatchStatus(Kind::Pod, name.clone(), status));
    core.direct(Address::Cluster, &Op::Delete { kind: Kind::Pod, name, uid: None, grace: Some(0) });
    core.pods[at].life = Life::Over;
    replace(core, None);
}

pub(crate) fn replace(core: &mut Core, name: Option<String>) {
    let wait = core.random.millis(200, 4000);
    let body = Body::Cluster(ClusterStep::Recreate { name });
    core.post_any(core.now + wait, Address::Cluster, body);
}

fn report(core: &mut Core, at: usize) {
    let up = core.is_up(Address::Runtimed(at)) && core.is_up(Address::Server(at));
    let ready = if up && core.pods[at].life == Life::Runs { "True" } else { "False" };
    let name = core.pods[at].name.clone();
    // Another pod may have its name.
    if core.api.get(Kind::Pod, &name).is_none_or(|stored| stored.uid != core.pods[at].uid) {
        return;
    }
    let body = status("Running", ready, &json!({"running": {}}));
    core.direct(Address::Cluster, &Op::PatchStatus(Kind::Pod, name, body));
}

fn status(phase: &str, ready: &str, state: &Value) -> Value {
    let condition = |kind: &str| json!({"type": kind, "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let container = |name: &str| {
        json!({"name": name, "state": state, "ready": ready == "True", "image": "x",
            "imageID": "x", "restartCount": 0})
    };
    json!({"status": {"phase": phase,
        "conditions": [condition("Ready"), condition(conditions::RUNTIMED_READY)],
        "containerStatuses": [container("runtime"), container("runtimed")]}})
}

/// The controllers of Kubernetes give up on a machine: they write a phase that no kubelet said, and remove the pod.
fn collect(core: &mut Core, at: usize) {
    if !core.is_up(Address::Api) {
        let body = Body::Cluster(ClusterStep::CollectLost(at));
        return core.post_any(core.now + Duration::from_secs(5), Address::Cluster, body);
    }
    let pod = &core.pods[at];
    let mine = core.api.get(Kind::Pod, &pod.name).is_some_and(|stored| stored.uid == pod.uid);
    let silent = pod.life == Life::Lost || pod.kubelet_cut_until > core.now;
    if mine && silent {
        let name = pod.name.clone();
        let failed = json!({"status": {"phase": "Failed"}});
        core.direct(Address::Cluster, &Op::PatchStatus(Kind::Pod, name.clone(), failed));
        let op = Op::Delete { kind: Kind::Pod, name, uid: None, grace: Some(0) };
        if core.random.permille(700) {
            core.direct(Address::Cluster, &op);
        } else {
            let body = Body::Cluster(ClusterStep::Heal(Fault::MachineLoss, at));
            core.post_any(core.now + Duration::from_secs(100), Address::Cluster, body);
        }
        replace(core, None);
    }
}
