//! The controller's side of pods' Leases, as scripts: what is seen, and what is ordered at which second.

mod leases;
mod pods;

pub(super) use super::*;
use serde_json::json;

pub(super) const REAP: u64 = 60;

pub(super) fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn key(pod: &str) -> PodKey {
    PodKey { namespace: "n".to_owned(), name: pod.to_owned() }
}

/// `p/1` is the pod `p` with the UID `p-1`.
pub(super) fn id(pod: &str) -> PodId {
    let (name, number) = pod.split_once('/').unwrap();
    PodId { key: key(name), uid: format!("{name}-{number}") }
}

pub(super) fn run_key(name: &str) -> RunKey {
    RunKey { namespace: "n".to_owned(), name: name.to_owned() }
}

pub(super) fn run(name: &str, pod: &str, phase: &str, version: u64) -> Arc<Run> {
    let pod = id(pod);
    let value = json!({
        "metadata": {"name": name, "namespace": "n", "uid": format!("uid-{name}"),
            "resourceVersion": version.to_string()},
        "spec": {"runtime": "bash"},
        "status": {"phase": phase, "assignedPod": pod.key.name, "assignedPodUID": pod.uid, "attempt": 1},
    });
    Arc::new(serde_json::from_value(value).unwrap())
}

/// One thing that the controller sees, hears or does. The number is the second.
pub(super) enum Line {
    /// Run, pod, version.
    Scheduled(u64, &'static str, &'static str, u64),
    Running(u64, &'static str, &'static str, u64),
    RunGone(&'static str),
    Pod(u64, &'static str, Life),
    PodGone(u64, &'static str),
    /// Pod, version, who claims it.
    Lease(u64, &'static str, &'static str, Option<&'static str>),
    LeaseGone(u64, &'static str),
    Interrupted(u64),
    LeasesSynced(u64),
    Broke(u64, &'static str, BreakAnswer),
    Found(u64, &'static str, FindAnswer),
    /// Run, version.
    Took(u64, &'static str, u64, TakeAnswer),
    /// What is ordered now.
    Step(u64, &'static [&'static str]),
    /// When the next step is due.
    Due(Option<u64>),
}
pub(super) use Line::{
    Broke, Due, Found, Interrupted, Lease, LeaseGone, LeasesSynced, Pod, PodGone as GonePod,
    RunGone, Running, Scheduled, Step, Took,
};

pub(super) fn told(order: &Order) -> String {
    match order {
        Order::Request(Request::BreakLease { pod, runtime, version, claimed_by }) => {
            assert_eq!(runtime, "bash");
            let by = claimed_by.as_ref().map_or(String::new(), |uid| format!(" of {uid}"));
            format!("break {} {}{by}", pod.uid, version.as_deref().unwrap_or("-"))
        }
        Order::Request(Request::FindPod { pod }) => format!("find {}", pod.uid),
        Order::Request(Request::Take { run, reason, message }) => {
            let version = run.resource_version().unwrap();
            format!("take {}@{version}: {reason}: {message}", run.name_any())
        }
        Order::LookAtNamespace { run } => format!("namespace of {}", run.name_any()),
    }
}

pub(super) fn broken(version: &str) -> BreakAnswer {
    BreakAnswer::Broken(version.to_owned())
}

/// A reaper that has been shown pod `p/1`, that there are no others, and no Leases.
pub(super) fn synced() -> Reaper {
    let mut reaper = Reaper::new(at(REAP));
    reaper.pod_seen(PodSeen { id: id("p/1"), life: Life::Stays }, at(0));
    reaper.pods_synced();
    reaper.leases_synced(at(0));
    reaper
}

pub(super) fn check(mut reaper: Reaper, script: Vec<Line>) {
    for (index, line) in script.into_iter().enumerate() {
        match line {
            Scheduled(now, name, pod, version) => {
                reaper.run_seen(run(name, pod, "Scheduled", version), at(now));
            }
            Running(now, name, pod, version) => {
                reaper.run_seen(run(name, pod, "Running", version), at(now));
            }
            RunGone(name) => reaper.run_gone(&run_key(name)),
            Pod(now, pod, life) => reaper.pod_seen(PodSeen { id: id(pod), life }, at(now)),
            GonePod(now, name) => reaper.pod_gone(&key(name), at(now)),
            Lease(now, name, version, claimed_by) => {
                let (version, claimed_by) = (version.to_owned(), claimed_by.map(str::to_owned));
                reaper.lease_seen(LeaseSeen { key: key(name), version, claimed_by }, at(now));
            }
            LeaseGone(now, name) => reaper.lease_gone(&key(name), at(now)),
            Interrupted(now) => reaper.leases_interrupted(at(now)),
            LeasesSynced(now) => reaper.leases_synced(at(now)),
            Broke(now, pod, answer) => reaper.broke(&id(pod), answer, at(now)),
            Found(now, pod, answer) => reaper.found(&id(pod), answer, at(now)),
            Took(now, name, version, answer) => {
                reaper.took(&run_key(name), Some(&version.to_string()), answer, at(now));
            }
            Step(now, want) => {
                let orders: Vec<String> = reaper.step(at(now)).iter().map(told).collect();
                assert_eq!(orders, want, "line {index}");
            }
            Due(want) => assert_eq!(reaper.deadline(), want.map(at), "line {index}"),
        }
    }
}

pub(super) const UNHEALTHY: &str =
    "take a@5: PodUnhealthy: pod p has not renewed its Lease for 60 s";
pub(super) const NOT_STARTED: &str =
    "take a@5: NotStarted: pod p did not take the Run, and held no Lease";
pub(super) const GONE: &str = "take a@5: PodGone: pod p is gone";
pub(super) const ENDED: &str = "take a@5: PodGone: pod p has ended";
