//! One attempt, as `roles/runtimed/src/attempt.rs` drives its machine.

use super::Runtimed;
use crate::core::Core;
use crate::message::{Address, Body, Reported, Step};
use crate::pod::Entry;
use crate::points::{Effect as Point, Side};
use jiff::Timestamp;
use kruntimes_api::{Run, RunSpec};
use kruntimes_rules::capacity::Resources;
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::run::event::Event;
use kruntimes_rules::run::machine::Machine;
use kruntimes_rules::run::outcome::Exit;
use kruntimes_rules::run::roster::Origin;
use std::sync::Arc;
use std::time::Duration;

/// One attempt.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) life: u64,
    pub(super) run: Arc<Run>,
    pub(super) machine: Machine,
    pub(super) number: i32,
    pub(super) clock: AttemptClock,
    pub(super) request: Arc<Resources>,
    pub(super) held: bool,
    pub(super) awaits_lease: bool,
    pub(super) preparing: bool,
    /// Nobody wants the Execute any more.
    pub(super) abandoned: bool,
    cancel_told: bool,
    pub(super) ending: bool,
    pub(super) gone: bool,
    pub(super) keeping_stopped: bool,
    /// Events of the server are for this attempt.
    pub(super) registered: bool,
    pub(super) exited: bool,
    pub(super) suspicious: bool,
    pub(super) execute_until: Option<Duration>,
    pub(super) pause: Duration,
    pub(super) last: Option<(Arc<Run>, super::calls::Final)>,
    pub(super) running: Option<(Arc<Run>, kruntimes_api::Timeline)>,
    pub(super) running_pause: Duration,
    timer: Option<Timestamp>,
}

/// Wall time at the start, monotonic from there.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttemptClock {
    wall: Timestamp,
    origin: Duration,
}

impl AttemptClock {
    pub(super) fn now(self, core: &Core, me: Address) -> Timestamp {
        let elapsed = core.monotonic(me).saturating_sub(self.origin);
        self.wall.checked_add(elapsed).unwrap_or(self.wall)
    }

    /// When an earlier life received what it journalled, on this clock.
    fn read(self, core: &Core, me: Address, entry: Entry) -> Timestamp {
        if mutant::is(Mutant::WallClockJournal) {
            return entry.received.wall;
        }
        entry.received.on(self.now(core, me), core.monotonic(me))
    }

    pub(super) fn monotonic(self, time: Timestamp) -> Duration {
        self.origin + Duration::try_from(time.duration_since(self.wall)).unwrap_or_default()
    }
}

impl Runtimed {
    pub(super) fn begin(&mut self, core: &mut Core, uid: &str, run: Arc<Run>, origin: Origin) {
        let clock = AttemptClock { wall: core.wall(self.me), origin: core.monotonic(self.me) };
        let status = run.status.as_ref();
        let number = status.and_then(|status| status.attempt).unwrap_or(0);
        let spec = RunSpec {
            timeout_seconds: run.spec.timeout_seconds,
            retry_policy: run.spec.retry_policy.clone(),
            ..RunSpec::default()
        };
        let request = Resources::requested(&run.spec).unwrap_or_else(|_| Resources::one_run());
        let entry = core.pods[self.at].journal.get(uid).copied();
        let journalled = entry.filter(|entry| entry.attempt == number);
        let received = |entry: Entry| clock.read(core, self.me, entry);
        let held = journalled.is_some();
        let (machine, effects) = match (journalled, origin) {
            (Some(entry), _) => {
                self.slots.take_now(&request);
                let known = status.and_then(|status| status.timeline.as_ref());
                Machine::reattach(spec, number, received(entry), known)
            }
            (None, Origin::Former) => Machine::give_back(spec, number, clock.now(core, self.me)),
            (None, Origin::Here) => {
                let former = entry.filter(|_| mutant::is(Mutant::DeadlineNotReset));
                let received = former.map_or(clock.now(core, self.me), received);
                core.oracle.received(uid, self.at, core.now);
                Machine::start(spec, number, received)
            }
        };
        self.lives += 1;
        let attempt = Attempt {
            life: self.lives,
            run,
            machine,
            number,
            clock,
            request,
            held,
            awaits_lease: false,
            preparing: false,
            abandoned: false,
            cancel_told: false,
            ending: false,
            gone: false,
            keeping_stopped: false,
            registered: false,
            exited: false,
            suspicious: false,
            execute_until: None,
            pause: super::calls::FIRST_PAUSE,
            last: None,
            running: None,
            running_pause: super::calls::FIRST_PAUSE,
            timer: None,
        };
        self.attempts.insert(uid.to_owned(), attempt);
        core.trace.say(core.now, || format!("pod {} begins {uid} attempt {number}", self.at));
        self.perform(core, uid, effects);
        self.tell_cancel(core, uid);
        self.settle(core, uid);
    }

    /// Has the machine handle an event.
    pub(super) fn tell(&mut self, core: &mut Core, uid: &str, event: Event) {
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        let now = attempt.clock.now(core, self.me);
        core.trace.say(core.now, || format!("pod {} {uid}: {event:?}", self.at));
        let executed = event == Event::Executed;
        let effects = attempt.machine.handle(event, now);
        self.perform(core, uid, effects);
        if executed {
            self.schedule(core, uid, Duration::from_secs(10), Step::Poll);
        }
        self.settle(core, uid);
    }

    pub(super) fn tell_cancel(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        if attempt.run.spec.cancel_requested == Some(true) && !attempt.cancel_told {
            attempt.cancel_told = true;
            crate::oracle::watch_death(core, self.at, uid);
            if !mutant::is(Mutant::CancelIgnored) {
                self.tell(core, uid, Event::CancelRequested);
            }
        }
    }

    /// Sets the timer anew, or ends the attempt.
    fn settle(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        if attempt.machine.is_done() {
            return self.close(core, uid);
        }
        let deadline = attempt.machine.deadline();
        if deadline != attempt.timer {
            attempt.timer = deadline;
            if let Some(deadline) = deadline {
                let (life, at) = (attempt.life, attempt.clock.monotonic(deadline));
                let uid = uid.to_owned();
                core.wake(self.me, at, Body::Attempt { uid, life, what: Step::Deadline });
            }
        }
    }

    fn close(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.remove(uid) else { return };
        if attempt.held {
            self.give_back(core, &attempt.request);
        }
        self.slots.leave_queue(uid);
        let kept = mutant::is(Mutant::JournalLeftOpen) && !attempt.machine.may_have_started();
        if let Some(entry) = core.pods[self.at].journal.get_mut(uid).filter(|_| !kept) {
            entry.open = false;
        }
        core.trace.say(core.now, || format!("pod {} ends {uid}", self.at));
        self.on_ended(core, uid);
    }

    pub(super) fn give_back(&mut self, core: &mut Core, request: &Resources) {
        for granted in self.slots.release(request) {
            if let Some(attempt) = self.attempts.get_mut(&granted) {
                attempt.held = true;
                self.tell(core, &granted, Event::SlotGranted);
            }
        }
    }

    pub(super) fn schedule(&mut self, core: &mut Core, uid: &str, wait: Duration, what: Step) {
        if let Some(attempt) = self.attempts.get(uid) {
            let (uid, life) = (uid.to_owned(), attempt.life);
            core.after(wait, self.me, Body::Attempt { uid, life, what });
        }
    }

    pub(super) fn step_of(&mut self, core: &mut Core, uid: &str, life: u64, what: &Step) {
        if self.attempts.get(uid).is_none_or(|attempt| attempt.life != life) {
            return;
        }
        match what {
            Step::Deadline => {
                if let Some(attempt) = self.attempts.get_mut(uid) {
                    attempt.timer = None;
                }
                self.on_deadline(core, uid);
            }
            Step::Prepared(true) => self.tell(core, uid, Event::Prepared),
            Step::Prepared(false) => {
                let why = "git clone: the fault of a test".to_owned();
                let event = Event::PrepareFailed(kruntimes_api::Reason::PrepareSource, why);
                self.tell(core, uid, event);
            }
            Step::Journalled => {
                if let Some(entry) = core.pods[self.at].journal.get_mut(uid) {
                    entry.durable = true;
                }
                if core.gate(self.me, Point::Journal, Side::After) && core.is_up(self.me) {
                    self.execute_under_lease(core, uid);
                }
            }
            Step::ExecuteAgain => self.execute_under_lease(core, uid),
            Step::CancelAgain => self.send_cancel(core, uid),
            Step::ForgetAgain => self.send_forget(core, uid),
            Step::Poll => self.poll(core, uid),
            Step::Collected => self.collected(core, uid),
            Step::Kept => self.kept(core, uid),
            Step::WorkspaceRemoved => self.tell(core, uid, Event::WorkspaceRemoved),
            Step::WriteAgain => self.write_last(core, uid),
            Step::RunningAgain => self.write_running(core, uid),
        }
    }

    fn on_deadline(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get(uid) else { return };
        let timeout = attempt.run.spec.timeout_seconds.and_then(|s| u64::try_from(s).ok());
        if let Some(timeout) = timeout {
            let due = attempt.machine.received().checked_add(Duration::from_secs(timeout));
            if due.is_ok_and(|due| attempt.clock.now(core, self.me) >= due) {
                crate::oracle::watch_death(core, self.at, uid);
                if mutant::is(Mutant::TimeoutIgnored) {
                    return;
                }
            }
        }
        self.tell(core, uid, Event::Deadline);
    }

    /// What the server tells of its own accord.
    pub(super) fn told(&mut self, core: &mut Core, uid: &str, number: i32, event: Reported) {
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        if !attempt.registered || attempt.number != number || attempt.exited {
            return;
        }
        let at = core.wall(self.me);
        let event = match event {
            Reported::Started => Event::Started(at),
            Reported::Exited { exit_code, error } => {
                attempt.exited = true;
                Event::Exited(exit(exit_code, error), at)
            }
        };
        self.tell(core, uid, event);
    }
}

pub(super) fn exit(exit_code: i32, error_message: String) -> Exit {
    Exit { exit_code, signal: 0, error_message, stderr_tail: String::new() }
}
