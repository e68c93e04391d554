//! Random walks: a world of server, API and disk answers the machine in every order; the invariants hold at each step.

use super::times::after;
use super::*;
use crate::random::Random;
use crate::run::event::Collected;
use kruntimes_api::RetryPolicy;

#[derive(Default)]
struct World {
    pending: Vec<Event>,
    executes: u32,
    execute_reached: bool,
    alive: bool,
    ever_alive: bool,
    cancels: u32,
    finals: u32,
    deleted: bool,
    slot: bool,
    workspace: bool,
    keeps: bool,
    log: Vec<String>,
}

impl World {
    fn perform(&mut self, effect: &Effect, random: &mut Random) {
        self.log.push(format!("  {effect:?}"));
        if *effect == Effect::Execute {
            return self.execute(random);
        }
        let log = &self.log;
        match effect {
            Effect::AcquireSlot => {
                self.slot = true;
                self.pending.push(Event::SlotGranted);
            }
            Effect::ReleaseSlot => {
                assert!(self.slot, "released twice {log:#?}");
                assert!(!self.alive, "slot given back while the command lives {log:#?}");
                self.slot = false;
            }
            Effect::PrepareWorkspace => {
                self.workspace = true;
                let failed = random.below(8) == 0;
                let failure = Event::PrepareFailed(Reason::PrepareSource, "no".to_owned());
                self.pending.push(if failed { failure } else { Event::Prepared });
            }
            Effect::AwaitLease => self.pending.push(Event::LeaseHeld),
            // Its answer may be on its way already.
            Effect::StopPreparing => assert_eq!(self.executes, 0, "stopped too late {log:#?}"),
            Effect::StopExecuting => {
                assert!(log.iter().any(|line| line.ends_with("Execute")), "not asked {log:#?}");
            }
            Effect::Cancel => {
                self.cancels += 1;
                assert_eq!(self.cancels, 1, "cancel asked twice {log:#?}");
                self.alive = false;
                self.pending.retain(|event| !matches!(event, Event::Exited(..)));
                self.pending.push(Event::CancelAcknowledged);
            }
            Effect::Collect | Effect::KeepArtifacts(_) => {
                assert!(!self.alive && self.workspace && self.finals == 0, "{log:#?}");
                self.look_or_keep(effect, random);
            }
            Effect::StopKeeping => {}
            Effect::Forget => {
                assert!(!self.alive, "forgot a living command {log:#?}");
                self.pending.push(Event::Forgotten);
            }
            Effect::RemoveWorkspace => {
                assert!(!self.alive, "removed under a living command {log:#?}");
                self.workspace = false;
                self.pending.push(Event::WorkspaceRemoved);
            }
            Effect::WriteRunning(_) => assert_eq!(self.finals, 0, "running after the end {log:#?}"),
            Effect::WriteTerminal(..) => self.final_write(),
            Effect::WriteRetry(..) => {
                assert!(!self.alive, "the next attempt could overlap {:#?}", self.log);
                assert!(!self.keeps, "the next attempt could keep beside this one {:#?}", self.log);
                self.final_write();
            }
            Effect::HandBack(_) => {
                assert!(!self.ever_alive, "handed back what ran {:#?}", self.log);
                self.final_write();
            }
            Effect::Execute | Effect::Inspect => unreachable!("done above, or after a restart"),
        }
    }

    fn look_or_keep(&mut self, effect: &Effect, random: &mut Random) {
        if random.below(8) == 0 {
            // This disk never answers.
            return;
        }
        let artifacts = random.below(2) == 0;
        let collected = Collected { artifacts, ..Collected::default() };
        self.keeps = *effect != Effect::Collect;
        let event =
            if self.keeps { Event::Kept(Ok(Vec::new())) } else { Event::Collected(collected) };
        self.pending.push(event);
    }

    fn execute(&mut self, random: &mut Random) {
        if random.below(4) == 0 {
            return self.pending.push(Event::LeaseMissed);
        }
        self.executes += 1;
        assert_eq!(self.executes, 1, "executed twice {:#?}", self.log);
        match random.below(4) {
            // Refused, or the answer is lost though the command runs.
            0 => self.pending.push(Event::ExecuteFailed("no".to_owned())),
            1 => {
                self.pending.push(Event::ExecuteFailed("late".to_owned()));
                self.spawn();
            }
            _ => {
                self.pending.push(Event::Executed);
                self.spawn();
            }
        }
    }

    fn spawn(&mut self) {
        self.execute_reached = true;
        self.alive = true;
        self.ever_alive = true;
        self.pending.push(Event::Started(Timestamp::UNIX_EPOCH));
        self.pending.push(Event::Exited(Exit::default(), Timestamp::UNIX_EPOCH));
    }

    fn final_write(&mut self) {
        self.finals += 1;
        assert_eq!(self.finals, 1, "two final writes {:#?}", self.log);
        self.pending.push(Event::Written);
    }

    /// One thing that may happen now, anything that is under way or something from outside.
    fn next(&mut self, random: &mut Random, deadline: bool) -> Event {
        if random.below(12) == 0 {
            let outside = [
                Event::CancelRequested,
                Event::Deleted,
                Event::Shutdown,
                Event::Drain,
                Event::Fenced,
                Event::Broken,
            ];
            let event = outside[random.below(outside.len())].clone();
            self.deleted |= event == Event::Deleted;
            return event;
        }
        if self.pending.is_empty() || (deadline && random.below(6) == 0) {
            return Event::Deadline;
        }
        let event = self.pending.swap_remove(random.below(self.pending.len()));
        if matches!(event, Event::Exited(..)) {
            self.alive = false;
        }
        if matches!(event, Event::Kept(_)) {
            self.keeps = false;
        }
        event
    }
}

fn walk(seed: u64) -> World {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let retry_policy =
        RetryPolicy { max_attempts: Some(1 + random.below(2)), ..RetryPolicy::default() };
    let spec = RunSpec {
        timeout_seconds: (random.below(2) == 0).then_some(1),
        retry_policy: Some(retry_policy),
        ..RunSpec::default()
    };
    let mut world = World::default();
    let mut now = Timestamp::UNIX_EPOCH;
    let (mut machine, effects) = Machine::start(spec, 1, now);
    for effect in &effects {
        world.perform(effect, &mut random);
    }
    for _ in 0..200 {
        if machine.is_done() {
            return world;
        }
        let event = world.next(&mut random, machine.deadline().is_some());
        if event == Event::Deadline {
            now = machine.deadline().unwrap_or(now).max(now);
        } else {
            now = after(now, Duration::from_millis(random.below(40) as u64));
        }
        world.log.push(format!("{event:?}"));
        for effect in machine.handle(event, now) {
            world.perform(&effect, &mut random);
        }
    }
    panic!("seed {seed} never ends: {:#?} {machine:#?}", world.log);
}

#[test]
fn every_walk_ends_clean_with_one_status() {
    let mut reached = 0;
    for seed in 0..15_000 {
        let world = walk(seed);
        let log = &world.log;
        assert!(!world.alive, "seed {seed}: a command outlives its attempt {log:#?}");
        assert!(!world.slot, "seed {seed}: the slot is lost {log:#?}");
        assert!(!world.workspace, "seed {seed}: the workspace stays {log:#?}");
        assert!(world.finals == 1 || world.deleted, "seed {seed}: no status {log:#?}");
        reached += u32::from(world.execute_reached);
    }
    assert!(reached > 5_000, "the walks reach the execution: {reached}");
}
