//! Faults that come at times of their own: what they do, and what ends them.

use crate::cluster::{look, replace, stop_all};
use crate::core::Core;
use crate::faults::Fault;
use crate::message::{Address, Body, ClusterStep, Shown};
use crate::oracle::KILL_WITHIN;
use crate::pod::Life;
use crate::schema::Kind;
use crate::store::Op;
use std::time::Duration;

/// What is stopped for less than this is not excused for it.
const LONG_PAUSE: Duration = Duration::from_secs(4);

/// The next fault strikes, and another one is due.
pub(crate) fn next(core: &mut Core) {
    if !core.settings.active || core.settings.timed.is_empty() {
        return;
    }
    let timed = core.settings.timed.clone();
    let fault = core.random.pick(&timed);
    if strike(core, fault) {
        core.trace.say(core.now, || format!("fault {fault:?}"));
        core.fault(fault);
    }
    let every = core.settings.every;
    let wait = every / 2 + core.random.millis(0, u64::try_from(every.as_millis()).unwrap_or(1));
    core.post_any(core.now + wait, Address::Cluster, Body::Cluster(ClusterStep::Fault));
}

fn strike(core: &mut Core, fault: Fault) -> bool {
    match fault {
        Fault::StaleWatch | Fault::DroppedEvents | Fault::BrokenWatch => of_watch(core, fault),
        Fault::CutRequests | Fault::CutAnswers | Fault::CutBoth => cut(core, fault),
        Fault::PauseScheduler => pause(core, Address::Scheduler),
        Fault::PauseController => pause(core, Address::Controller),
        Fault::CrashScheduler => {
            let number = replica(core);
            core.kill(Address::Scheduler(number))
        }
        Fault::CrashController => {
            let number = replica(core);
            core.kill(Address::Controller(number))
        }
        Fault::ApiDown => core.kill(Address::Api),
        Fault::ClockStep => step_clock(core),
        Fault::ChildDeleted | Fault::NameTaken | Fault::WorkflowDeleted | Fault::WorkflowEdited => {
            crate::workflows::strike(core, fault)
        }
        _ => match live_pod(core) {
            Some(pod) => of_pod(core, fault, pod),
            None => false,
        },
    }
}

fn replica(core: &mut Core) -> u8 {
    core.random.pick(&[0, 1])
}

fn pause(core: &mut Core, of: impl Fn(u8) -> Address) -> bool {
    let node = of(replica(core));
    let until = core.now + core.random.millis(500, core.settings.longest);
    core.pause(node, until);
    true
}

fn live_pod(core: &mut Core) -> Option<usize> {
    let live: Vec<usize> =
        (0..core.pods.len()).filter(|at| core.pods[*at].life == Life::Runs).collect();
    (!live.is_empty()).then(|| core.random.pick(&live))
}

/// Any node that talks to the API server.
fn talker(core: &mut Core) -> Address {
    let number = replica(core);
    let pod = live_pod(core).map_or(Address::Scheduler(number), Address::Runtimed);
    let all = [Address::Scheduler(number), Address::Controller(number), pod, pod, pod];
    core.random.pick(&all)
}

fn of_watch(core: &mut Core, fault: Fault) -> bool {
    let node = talker(core);
    let slots: Vec<usize> =
        core.api.sessions.keys().filter(|(to, _)| *to == node).map(|(_, slot)| *slot).collect();
    if slots.is_empty() {
        return false;
    }
    let slot = core.random.pick(&slots);
    let code = usize::try_from(node.code()).unwrap_or(0);
    match fault {
        Fault::StaleWatch => {
            let lag = core.random.millis(200, 60_000);
            let Some((_, session)) = core.api.sessions.get_mut(&(node, slot)) else { return false };
            session.lag = lag;
            later(core, fault, code, 5_000, 60_000);
        }
        Fault::DroppedEvents => {
            let Some((_, session)) = core.api.sessions.get_mut(&(node, slot)) else { return false };
            session.deaf = true;
            later(core, fault, code, 500, 20_000);
        }
        _ => core.break_watch((node, slot), Shown::Broken),
    }
    true
}

fn later(core: &mut Core, fault: Fault, which: usize, from: u64, to: u64) {
    let at = core.now + core.random.millis(from, to);
    let body = Body::Cluster(ClusterStep::Heal(fault, which));
    core.post_any(at, Address::Cluster, body);
}

fn cut(core: &mut Core, fault: Fault) -> bool {
    let node = talker(core);
    let until = core.now + core.random.millis(500, core.settings.longest);
    let cut = core.cuts.entry(node).or_default();
    if fault != Fault::CutAnswers {
        cut.requests = cut.requests.max(until);
    }
    if fault != Fault::CutRequests {
        cut.answers = cut.answers.max(until);
    }
    if let Some(pod) = node.pod() {
        core.pods[pod].kubelet_cut_until = until;
        if fault == Fault::CutBoth && core.random.permille(400) {
            // Kubernetes gives up on a machine that it does not hear of: its containers run on.
            let at = core.now + core.random.millis(5_000, 50_000);
            let body = Body::Cluster(ClusterStep::CollectLost(pod));
            core.post_any(at, Address::Cluster, body);
        }
    }
    true
}

fn step_clock(core: &mut Core) -> bool {
    let nodes: Vec<Address> = core.clocks.keys().copied().collect();
    let any = core.random.pick(&nodes);
    let pods = live_pod(core).filter(|_| core.random.permille(600));
    let node = pods.map_or(any, Address::Runtimed);
    let seconds = core.random.pick(&[-3600, -600, -61, -2, 2, 61, 600, 3600]);
    if let Some(clock) = core.clocks.get_mut(&node) {
        clock.step(seconds);
    }
    // What a restart reads back was written by another clock.
    if let Address::Runtimed(pod) = node
        && core.random.permille(600)
        && of_pod(core, Fault::RestartRuntimed, pod)
    {
        core.fault(Fault::RestartRuntimed);
    }
    true
}

fn of_pod(core: &mut Core, fault: Fault, pod: usize) -> bool {
    let until = core.now + core.random.millis(200, core.settings.longest);
    let of_runtimed =
        matches!(fault, Fault::RestartRuntimed | Fault::RestartBoth | Fault::PauseRuntimed);
    if of_runtimed && core.pods[pod].foreign {
        return false;
    }
    match fault {
        Fault::RestartRuntimed => core.kill(Address::Runtimed(pod)),
        Fault::RestartServer => core.kill(Address::Server(pod)),
        Fault::RestartBoth => core.kill(Address::Runtimed(pod)) && core.kill(Address::Server(pod)),
        Fault::PauseRuntimed => {
            core.pause(Address::Runtimed(pod), until);
            true
        }
        Fault::PauseServer => {
            // Its own dead-man switch can't be had while it is stopped; runtimed fences meanwhile, and waits for it.
            let until = core.now + core.random.millis(200, 3_000);
            core.pause(Address::Server(pod), until);
            true
        }
        Fault::PausePod => {
            core.pause(Address::Runtimed(pod), until);
            core.pause(Address::Server(pod), until);
            let until = until.max(core.pods[pod].frozen_until);
            core.pods[pod].frozen_until = until;
            if until - core.now > LONG_PAUSE {
                core.pods[pod].thawed = until;
            }
            let check = Body::Cluster(ClusterStep::CheckOverlap(pod));
            core.post_any(until + KILL_WITHIN, Address::Cluster, check);
            true
        }
        Fault::PowerLoss | Fault::MachineLoss => lose_machine(core, fault, pod),
        Fault::PodDeleted | Fault::PodForceDeleted | Fault::PodRecreated => {
            delete(core, fault, pod)
        }
        _ => false,
    }
}

fn lose_machine(core: &mut Core, fault: Fault, pod: usize) -> bool {
    stop_all(core, pod);
    core.pods[pod].lose_power();
    if fault == Fault::PowerLoss {
        let back = core.now + core.random.millis(1_000, 40_000);
        core.pods[pod].kubelet_cut_until = back;
        let body = Body::Cluster(ClusterStep::MachineBack(pod));
        core.post_any(back, Address::Cluster, body);
        look(core, pod, back - core.now);
    } else {
        core.pods[pod].life = Life::Lost;
        let at = core.now + core.random.millis(5_000, 80_000);
        let body = Body::Cluster(ClusterStep::CollectLost(pod));
        core.post_any(at, Address::Cluster, body);
    }
    true
}

fn delete(core: &mut Core, fault: Fault, pod: usize) -> bool {
    if !core.is_up(Address::Api) {
        return false;
    }
    let name = core.pods[pod].name.clone();
    let mine = core.api.get(Kind::Pod, &name).is_some_and(|s| s.uid == core.pods[pod].uid);
    if !mine {
        return false;
    }
    let grace = (fault != Fault::PodDeleted).then_some(0);
    let op = Op::Delete { kind: Kind::Pod, name: name.clone(), uid: None, grace };
    core.direct(Address::Cluster, &op);
    let wait = core.random.millis(100, 20_000);
    look(core, pod, wait);
    match fault {
        Fault::PodForceDeleted => replace(core, None),
        Fault::PodRecreated => replace(core, Some(name)),
        _ => {}
    }
    true
}

/// A fault that lasts ends.
pub(crate) fn heal(core: &mut Core, fault: Fault, which: usize) {
    match fault {
        Fault::StaleWatch => {
            for ((node, _), (_, session)) in &mut core.api.sessions {
                if node.code() == which as u64 {
                    session.lag = Duration::ZERO;
                }
            }
        }
        Fault::DroppedEvents => {
            let deaf: Vec<_> = core
                .api
                .sessions
                .iter()
                .filter(|(_, (_, session))| session.deaf)
                .map(|(key, _)| *key)
                .collect();
            for key in deaf {
                core.break_watch(key, Shown::Expired);
            }
        }
        Fault::MachineLoss => {
            let name = core.pods[which].name.clone();
            let uid = Some(core.pods[which].uid.clone());
            let op = Op::Delete { kind: Kind::Pod, name, uid, grace: Some(0) };
            core.direct(Address::Cluster, &op);
            // The machine may be back.
            look(core, which, Duration::from_secs(1));
        }
        _ => {}
    }
}

/// From now on nothing goes wrong any more.
pub(crate) fn quiet(core: &mut Core) {
    core.settings.active = false;
    core.cuts.clear();
    core.trace.say(core.now, || "faults end".to_owned());
    for (_, session) in core.api.sessions.values_mut() {
        session.lag = Duration::ZERO;
    }
    heal(core, Fault::DroppedEvents, 0);
    for pod in 0..core.pods.len() {
        core.pods[pod].kubelet_cut_until = Duration::ZERO;
        look(core, pod, Duration::from_millis(100));
    }
}
