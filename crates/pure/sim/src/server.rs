//! A Runtime Server and its processes, as ours behaves: an id is taken once, Cancel waits for the death, a renewal that
//! stays away kills.

use crate::core::Core;
use crate::faults::Fault;
use crate::message::{Address, Ask, Body, Reported, Said};
use crate::pod::{Execution, Process, State, Waiter};
use crate::points::{Effect, Side};
use kruntimes_rules::mutant::{self, Mutant};
use std::time::Duration;

/// SIGTERM, then SIGKILL.
const TERMINATE_GRACE: Duration = Duration::from_secs(2);

/// Handles what happens to the server of a pod.
pub(crate) fn handle(core: &mut Core, pod: usize, body: Body) {
    match body {
        Body::Rpc { call, until, ask } => {
            if core.now > until {
                // The caller has given up, and the connection has told so.
                return;
            }
            if core.rolls(Fault::ServerHangs) {
                core.pods[pod].disturbances += 1;
                core.pods[pod].hung_until = core.pods[pod].hung_until.max(until);
                return;
            }
            asked(core, pod, call, ask);
        }
        Body::ProcessEnds { process, killed } => ends(core, pod, process, killed),
        Body::Expires => expires(core, pod),
        _ => {}
    }
}

/// The server and all of its processes are gone at once.
pub(crate) fn stop(core: &mut Core, pod: usize) {
    core.pods[pod].server = crate::pod::Server::default();
    let mine: Vec<u64> = core.oracle.processes_of(pod);
    for process in mine {
        crate::oracle::process_ended(core, process, None);
    }
}

fn say(core: &mut Core, pod: usize, call: u64, said: Said) {
    core.after(Duration::from_millis(1), Address::Runtimed(pod), Body::Said { call, said });
}

fn asked(core: &mut Core, pod: usize, call: u64, ask: Ask) {
    match ask {
        Ask::Renew { .. } if core.pods[pod].foreign => say(core, pod, call, Said::Done),
        Ask::Renew { ttl } => {
            let now = core.monotonic(Address::Server(pod));
            let until = now + ttl;
            core.pods[pod].server.until = Some(until);
            core.wake(Address::Server(pod), until, Body::Expires);
            say(core, pod, call, Said::Done);
        }
        Ask::Execute { uid, attempt, timeout } => execute(core, pod, call, uid, attempt, timeout),
        Ask::Status { uid } => {
            let said = match core.pods[pod].server.table.get(&uid).map(|known| &known.state) {
                None => Said::NotFound,
                Some(State::Runs { .. }) => Said::Running,
                Some(State::Ended { exit_code, error }) => {
                    Said::Ended { exit_code: *exit_code, error: error.clone() }
                }
            };
            say(core, pod, call, said);
        }
        Ask::Cancel { uid } => cancel(core, pod, &uid, Waiter::Cancel(call)),
        Ask::Forget { uid } => {
            let said = match core.pods[pod].server.table.get(&uid).map(|known| &known.state) {
                None => Said::NotFound,
                Some(State::Runs { .. }) => Said::Refused,
                Some(State::Ended { .. }) => {
                    core.pods[pod].server.table.remove(&uid);
                    Said::Done
                }
            };
            say(core, pod, call, said);
        }
    }
}

fn expired(core: &Core, pod: usize) -> bool {
    let now = core.monotonic(Address::Server(pod));
    core.pods[pod].server.until.is_some_and(|until| until <= now) && !mutant::is(Mutant::NoDeadMan)
}

fn execute(
    core: &mut Core,
    pod: usize,
    call: u64,
    uid: String,
    attempt: i32,
    timeout: Option<Duration>,
) {
    if core.pods[pod].server.table.contains_key(&uid) {
        return cancel(core, pod, &uid, Waiter::Execute { call, attempt, timeout });
    }
    if expired(core, pod) {
        return say(core, pod, call, Said::Refused);
    }
    if !core.gate(Address::Server(pod), Effect::Start, Side::Before) {
        return;
    }
    let process = core.fresh();
    let state = State::Runs { process };
    core.pods[pod].server.table.insert(uid.clone(), Execution { attempt, state });
    let plan = crate::oracle::plan_of(core, &uid, attempt);
    let made = Process {
        run: uid.clone(),
        attempt,
        pod,
        exit_code: plan.exit_code,
        ignores_term: plan.ignores_term,
        killed: None,
        request: plan.request,
    };
    crate::oracle::process_started(core, process, made);
    core.after(plan.lasts, Address::Server(pod), Body::ProcessEnds { process, killed: false });
    if let Some(timeout) = timeout
        && timeout < plan.lasts
        && !core.pods[pod].foreign
    {
        let at = core.now + timeout;
        core.oracle.server_timeouts.insert(process, at);
        core.post(at, Address::Server(pod), Body::ProcessEnds { process, killed: false });
    }
    tell(core, pod, &uid, attempt, Reported::Started);
    say(core, pod, call, Said::Done);
    core.gate(Address::Server(pod), Effect::Start, Side::After);
}

fn cancel(core: &mut Core, pod: usize, uid: &str, waiter: Waiter) {
    match core.pods[pod].server.table.get(uid).map(|known| known.state.clone()) {
        None => answer(core, pod, uid, waiter, Said::NotFound),
        Some(State::Ended { .. }) => {
            core.pods[pod].server.table.remove(uid);
            answer(core, pod, uid, waiter, Said::Done);
        }
        Some(State::Runs { process }) => {
            if kill(core, pod, process, "cancelled") {
                core.pods[pod].server.waiting.entry(uid.to_owned()).or_default().push(waiter);
            }
        }
    }
}

fn answer(core: &mut Core, pod: usize, uid: &str, waiter: Waiter, said: Said) {
    match waiter {
        Waiter::Cancel(call) => say(core, pod, call, said),
        Waiter::Execute { call, attempt, timeout } => {
            execute(core, pod, call, uid.to_owned(), attempt, timeout);
        }
    }
}

fn kill(core: &mut Core, pod: usize, process: u64, why: &'static str) -> bool {
    let Some(known) = core.oracle.processes.get_mut(&process) else { return true };
    if known.killed.is_some() {
        return true;
    }
    let wait = if known.ignores_term { TERMINATE_GRACE } else { Duration::from_millis(5) };
    if !core.gate(Address::Server(pod), Effect::Kill, Side::Before) {
        return false;
    }
    if let Some(known) = core.oracle.processes.get_mut(&process) {
        known.killed = Some(why);
    }
    let wait = wait + core.random.millis(0, 300);
    core.after(wait, Address::Server(pod), Body::ProcessEnds { process, killed: true });
    core.gate(Address::Server(pod), Effect::Kill, Side::After)
}

/// No renewal came: everything is killed.
fn expires(core: &mut Core, pod: usize) {
    if !expired(core, pod) {
        return;
    }
    for process in core.oracle.processes_of(pod) {
        if !kill(core, pod, process, kruntimes_rules::run::outcome::NOT_RENEWED) {
            return;
        }
    }
}

fn ends(core: &mut Core, pod: usize, process: u64, killed: bool) {
    let Some(known) = core.oracle.processes.get(&process).cloned() else { return };
    let timed_out = core.oracle.server_timeouts.get(&process).is_some_and(|at| *at <= core.now);
    if !killed && timed_out && known.killed.is_none() {
        kill(core, pod, process, "timeout");
        return;
    }
    if !killed && known.killed.is_some() && known.ignores_term {
        // It would have ended by itself while it is being killed.
        return;
    }
    let (exit_code, error) = match known.killed {
        Some("cancelled") => (-1, "cancelled".to_owned()),
        Some(why) => (-1, why.to_owned()),
        None if known.exit_code == 0 => (0, String::new()),
        None => (known.exit_code, format!("exit status {}", known.exit_code)),
    };
    crate::oracle::process_ended(core, process, Some(exit_code));
    let cancelled = known.killed == Some("cancelled");
    if cancelled {
        core.pods[pod].server.table.remove(&known.run);
    } else {
        let state = State::Ended { exit_code, error: error.clone() };
        let ended = Execution { attempt: known.attempt, state };
        core.pods[pod].server.table.insert(known.run.clone(), ended);
    }
    for waiter in core.pods[pod].server.waiting.remove(&known.run).unwrap_or_default() {
        core.pods[pod].server.table.remove(&known.run);
        answer(core, pod, &known.run, waiter, Said::Done);
    }
    if core.gate(Address::Server(pod), Effect::Report, Side::Before) {
        let event = Reported::Exited { exit_code, error };
        tell(core, pod, &known.run, known.attempt, event);
        core.gate(Address::Server(pod), Effect::Report, Side::After);
    }
}

/// The stream of events; what it loses Status finds.
fn tell(core: &mut Core, pod: usize, uid: &str, attempt: i32, event: Reported) {
    if core.rolls(Fault::ServerForgetsEvent) {
        return;
    }
    let body = Body::Told { uid: uid.to_owned(), attempt, event };
    core.after(Duration::from_millis(1), Address::Runtimed(pod), body);
}
