//! What a machine asks for, done: workspaces, the journal, the server.

use super::Runtimed;
use super::calls::{Final, Rpc};
use crate::core::Core;
use crate::faults::Fault;
use crate::message::{Ask, Body, Said, Step};
use crate::pod::Entry;
use crate::points::{Effect as Point, Side};
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::run::event::{Effect, Event};
use kruntimes_rules::run::received::Received;
use std::time::Duration;

pub(super) const EXECUTE_WITHIN: Duration = Duration::from_secs(10);
pub(super) const CALL_WITHIN: Duration = Duration::from_secs(5);

impl Runtimed {
    pub(super) fn perform(&mut self, core: &mut Core, uid: &str, effects: Vec<Effect>) {
        for effect in effects {
            if !core.is_up(self.me) {
                return;
            }
            self.perform_one(core, uid, effect);
        }
    }

    fn perform_one(&mut self, core: &mut Core, uid: &str, effect: Effect) {
        match effect {
            Effect::AcquireSlot => self.acquire_slot(core, uid),
            Effect::ReleaseSlot => self.release_slot(core, uid),
            Effect::PrepareWorkspace => {
                self.set_preparing(uid, true);
                self.prepare(core, uid);
            }
            Effect::StopPreparing => self.set_preparing(uid, false),
            Effect::AwaitLease => {
                if self.is_held(core) {
                    self.tell(core, uid, Event::LeaseHeld);
                } else if let Some(attempt) = self.attempts.get_mut(uid) {
                    attempt.awaits_lease = true;
                }
            }
            Effect::Execute => self.journal(core, uid),
            Effect::StopExecuting => {
                if let Some(attempt) = self.attempts.get_mut(uid) {
                    attempt.abandoned = true;
                }
            }
            Effect::Inspect => {
                if let Some(attempt) = self.attempts.get_mut(uid) {
                    attempt.registered = true;
                }
                self.poll(core, uid);
            }
            Effect::Cancel => self.send_cancel(core, uid),
            Effect::Collect => self.collect(core, uid),
            Effect::KeepArtifacts(_) => self.keep_artifacts(core, uid),
            Effect::StopKeeping => self.stop_keeping(core, uid),
            Effect::Forget => self.send_forget(core, uid),
            Effect::RemoveWorkspace => self.remove_workspace(core, uid),
            Effect::WriteRunning(timeline) => self.start_running(core, uid, timeline),
            Effect::WriteTerminal(outcome, timeline) => {
                self.start_last(core, uid, Final::Terminal(outcome, timeline));
            }
            Effect::WriteRetry(outcome, timeline) => {
                self.start_last(core, uid, Final::Retry(outcome, timeline));
            }
            Effect::HandBack(message) => self.start_last(core, uid, Final::HandBack(message)),
        }
    }

    fn acquire_slot(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        if !attempt.held {
            let request = attempt.request.clone();
            if !self.slots.acquire(uid, &request) {
                return;
            }
            if let Some(attempt) = self.attempts.get_mut(uid) {
                attempt.held = true;
            }
        }
        self.tell(core, uid, Event::SlotGranted);
    }

    fn release_slot(&mut self, core: &mut Core, uid: &str) {
        self.slots.leave_queue(uid);
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        if std::mem::take(&mut attempt.held) {
            let request = attempt.request.clone();
            self.give_back(core, &request);
        }
    }

    fn set_preparing(&mut self, uid: &str, preparing: bool) {
        if let Some(attempt) = self.attempts.get_mut(uid) {
            attempt.preparing = preparing;
        }
    }

    fn prepare(&mut self, core: &mut Core, uid: &str) {
        if !core.gate(self.me, Point::Prepare, Side::Before) {
            return;
        }
        core.pods[self.at].workspaces.insert(uid.to_owned());
        if !core.gate(self.me, Point::Prepare, Side::After) || !core.is_up(self.me) {
            return;
        }
        let well = !core.rolls(Fault::PrepareFails);
        let slow = core.random.permille(60);
        let wait = if slow { core.random.millis(900, 2500) } else { core.random.millis(1, 30) };
        self.schedule(core, uid, wait, Step::Prepared(well));
    }

    fn remove_workspace(&mut self, core: &mut Core, uid: &str) {
        if !core.gate(self.me, Point::Remove, Side::Before) {
            return;
        }
        core.pods[self.at].workspaces.remove(uid);
        if core.gate(self.me, Point::Remove, Side::After) && core.is_up(self.me) {
            self.schedule(core, uid, Duration::from_millis(1), Step::WorkspaceRemoved);
        }
    }

    fn journal(&mut self, core: &mut Core, uid: &str) {
        let until = core.monotonic(self.me) + EXECUTE_WITHIN;
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        attempt.registered = true;
        attempt.abandoned = false;
        attempt.execute_until = Some(until);
        let (number, received) = (attempt.number, attempt.machine.received());
        let boot = attempt.clock.monotonic(received);
        if !core.gate(self.me, Point::Journal, Side::Before) {
            return;
        }
        if !mutant::is(Mutant::NoJournal) {
            let received = Received { wall: received, boot: Some(boot) };
            let entry = Entry { attempt: number, received, open: true, durable: false };
            core.pods[self.at].journal.insert(uid.to_owned(), entry);
        }
        if mutant::is(Mutant::NoSync) {
            return self.execute_under_lease(core, uid);
        }
        let sync = core.random.millis(0, 20);
        self.schedule(core, uid, sync, Step::Journalled);
    }

    /// As `roles/runtimed/src/execute.rs`: under a held Lease, with the server's dead-man switch set, never sent twice.
    pub(super) fn execute_under_lease(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get(uid) else { return };
        if attempt.execute_until.is_some_and(|until| core.monotonic(self.me) >= until) {
            let why = "the Runtime Server can't be reached".to_owned();
            return self.tell(core, uid, Event::ExecuteFailed(why));
        }
        if attempt.abandoned || !self.is_held(core) {
            return self.lease_missed(core, uid);
        }
        let unarmed = mutant::is(Mutant::NoDeadMan) || mutant::is(Mutant::ExecuteWithoutLease);
        if self.armed == Some(self.epoch) || unarmed {
            return self.send_execute(core, uid);
        }
        let rpc = Rpc::Arm { uid: uid.to_owned(), epoch: self.epoch };
        self.renew(core, rpc);
    }

    fn lease_missed(&mut self, core: &mut Core, uid: &str) {
        core.pods[self.at].journal.remove(uid);
        self.tell(core, uid, Event::LeaseMissed);
    }

    fn send_execute(&mut self, core: &mut Core, uid: &str) {
        let Some(attempt) = self.attempts.get(uid) else { return };
        let timeout = attempt.run.spec.timeout_seconds.and_then(|s| u64::try_from(s).ok());
        let ask = Ask::Execute {
            uid: uid.to_owned(),
            attempt: attempt.number,
            timeout: timeout.map(Duration::from_secs),
        };
        let left = attempt.execute_until.unwrap_or_default();
        let within = left.saturating_sub(core.monotonic(self.me));
        if core.gate(self.me, Point::Execute, Side::Before) {
            self.ask(core, ask, within, Rpc::Execute(uid.to_owned()));
            core.gate(self.me, Point::Execute, Side::After);
        }
    }

    pub(super) fn send_cancel(&mut self, core: &mut Core, uid: &str) {
        if core.gate(self.me, Point::Cancel, Side::Before) {
            let ask = Ask::Cancel { uid: uid.to_owned() };
            self.ask(core, ask, CALL_WITHIN, Rpc::Cancel(uid.to_owned()));
            core.gate(self.me, Point::Cancel, Side::After);
        }
    }

    pub(super) fn send_forget(&mut self, core: &mut Core, uid: &str) {
        if self.leaving {
            return self.tell(core, uid, Event::Forgotten);
        }
        if core.gate(self.me, Point::Forget, Side::Before) {
            let ask = Ask::Forget { uid: uid.to_owned() };
            self.ask(core, ask, CALL_WITHIN, Rpc::Forget(uid.to_owned()));
            core.gate(self.me, Point::Forget, Side::After);
        }
    }

    pub(super) fn poll(&mut self, core: &mut Core, uid: &str) {
        if self.attempts.get(uid).is_some_and(|attempt| !attempt.exited) {
            let ask = Ask::Status { uid: uid.to_owned() };
            self.ask(core, ask, CALL_WITHIN, Rpc::Status(uid.to_owned()));
        }
    }

    pub(super) fn sweep(&mut self, core: &mut Core, uid: &str) {
        if self.leaving {
            return;
        }
        if core.gate(self.me, Point::Cancel, Side::Before) {
            let ask = Ask::Cancel { uid: uid.to_owned() };
            self.ask(core, ask, CALL_WITHIN, Rpc::Sweep(uid.to_owned()));
        }
    }

    fn swept(&mut self, core: &mut Core, uid: &str) {
        core.pods[self.at].workspaces.remove(uid);
        if let Some(entry) = core.pods[self.at].journal.get_mut(uid) {
            entry.open = false;
        }
        self.sweeps.remove(uid);
        self.look_at_sweeps(core);
        self.on_ended(core, uid);
    }

    /// The server has answered, or has not.
    pub(super) fn said(&mut self, core: &mut Core, call: u64, said: Said) {
        let Some((rpc, life)) = self.rpcs.remove(&call) else { return };
        // What an attempt asked ends with it.
        if self.life_of(&rpc) != life {
            return;
        }
        match rpc {
            Rpc::Execute(uid) => self.executed(core, &uid, said),
            Rpc::Status(uid) => self.status(core, &uid, said),
            Rpc::Cancel(uid) => match said {
                Said::Done | Said::NotFound => self.tell(core, &uid, Event::CancelAcknowledged),
                _ => self.schedule(core, &uid, Duration::from_millis(200), Step::CancelAgain),
            },
            Rpc::Forget(uid) => match said {
                Said::Done | Said::NotFound => self.tell(core, &uid, Event::Forgotten),
                // It runs: it is killed.
                Said::Refused => {
                    let ask = Ask::Cancel { uid: uid.clone() };
                    self.ask(core, ask, CALL_WITHIN, Rpc::Forget(uid));
                }
                _ => self.schedule(core, &uid, Duration::from_millis(200), Step::ForgetAgain),
            },
            Rpc::Sweep(uid) => match said {
                Said::Done | Said::NotFound => self.swept(core, &uid),
                _ => core.after(Duration::from_millis(200), self.me, Body::SweepAgain { uid }),
            },
            Rpc::Arm { uid, epoch } => {
                if said == Said::Done {
                    self.armed = Some(epoch);
                    self.execute_under_lease(core, &uid);
                } else {
                    self.schedule(core, &uid, Duration::from_millis(100), Step::ExecuteAgain);
                }
            }
            Rpc::Renew { epoch } => {
                if said == Said::Done {
                    self.armed = Some(epoch);
                }
            }
        }
    }

    fn executed(&mut self, core: &mut Core, uid: &str, said: Said) {
        match said {
            Said::Done => self.tell(core, uid, Event::Executed),
            Said::Unreachable => {
                self.schedule(core, uid, Duration::from_millis(100), Step::ExecuteAgain);
            }
            _ => self.tell(core, uid, Event::ExecuteFailed(format!("{said:?}"))),
        }
    }

    fn status(&mut self, core: &mut Core, uid: &str, said: Said) {
        let at = core.wall(self.me);
        let Some(attempt) = self.attempts.get_mut(uid) else { return };
        let suspicious = std::mem::take(&mut attempt.suspicious);
        let (grace, backstop) = (Duration::from_millis(250), Duration::from_secs(10));
        match said {
            Said::NotFound if suspicious => self.tell(core, uid, Event::Lost),
            Said::Ended { exit_code, error } if suspicious => {
                if !std::mem::replace(&mut attempt.exited, true) {
                    let exit = super::attempt::exit(exit_code, error);
                    self.tell(core, uid, Event::Exited(exit, at));
                }
            }
            // With events an end counts once the stream had its time to bring it.
            Said::NotFound | Said::Ended { .. } => {
                attempt.suspicious = true;
                self.schedule(core, uid, grace, Step::Poll);
            }
            Said::Running => self.schedule(core, uid, backstop, Step::Poll),
            _ => self.schedule(core, uid, Duration::from_millis(500), Step::Poll),
        }
    }

    /// The stream of events is open again: the server may be another one.
    pub(super) fn reconnected(&mut self, core: &mut Core) {
        self.epoch += 1;
        self.arm(core);
        for uid in self.attempts.keys().cloned().collect::<Vec<_>>() {
            if self.attempts.get(&uid).is_some_and(|attempt| attempt.registered) {
                self.schedule(core, &uid, Duration::from_millis(250), Step::Poll);
            }
        }
    }

    fn life_of(&self, rpc: &Rpc) -> Option<u64> {
        self.attempts.get(rpc.attempt()?).map(|attempt| attempt.life)
    }

    pub(super) fn ask(&mut self, core: &mut Core, ask: Ask, within: Duration, rpc: Rpc) {
        let call = core.fresh();
        let life = self.life_of(&rpc);
        self.rpcs.insert(call, (rpc, life));
        let server = crate::message::Address::Server(self.at);
        if core.is_up(server) {
            let until = core.now + within;
            core.after(Duration::from_millis(1), server, Body::Rpc { call, until, ask });
            core.after(within, self.me, Body::Said { call, said: Said::Silent });
        } else {
            let said = Said::Unreachable;
            core.after(Duration::from_millis(1), self.me, Body::Said { call, said });
        }
    }
}
