//! A controller that is killed amid Workflows whose steps share a workspace, and other things that may not hang.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(clippy::needless_pass_by_value, reason = "a test's values are used once")]

#[path = "player/merge.rs"]
mod merge;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::{Phase, Run, RunStatus, Share, Workflow};
use kruntimes_workflow::{Answer, Effect, Execution, NewChild, Seen};
use merge::merge;
use serde_json::{Value, json};
use std::collections::BTreeMap;

struct World {
    now: Timestamp,
    workflow: Value,
    runs: BTreeMap<String, Run>,
    execution: Execution,
    /// What was done, in order.
    log: Vec<String>,
    /// Creations that the API server has not answered when the controller is killed.
    lost: Vec<String>,
    /// Runs that do not end when they are asked to.
    deaf: Vec<String>,
}

fn resume(workflow: &Value, runs: &BTreeMap<String, Run>, now: Timestamp) -> Execution {
    let of: Workflow = serde_json::from_value(workflow.clone()).unwrap();
    Execution::resume(&of, runs.values().filter_map(Seen::run).collect(), None, now).unwrap()
}

impl World {
    fn new(spec: Value) -> Self {
        Self::without(spec, &[])
    }

    fn without(spec: Value, lost: &[&str]) -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let workflow =
            json!({"metadata": {"name": "w", "namespace": "n", "uid": "u"}, "spec": spec});
        let runs = BTreeMap::new();
        let execution = resume(&workflow, &runs, now);
        let lost = lost.iter().map(|name| (*name).to_owned()).collect();
        let mut world =
            Self { now, workflow, runs, execution, log: Vec::new(), lost, deaf: Vec::new() };
        world.go();
        world
    }

    fn restart(&mut self) {
        self.lost.clear();
        self.execution = resume(&self.workflow, &self.runs, self.now);
        self.log.push("restart".to_owned());
        self.go();
    }

    fn end(&mut self, name: &str, phase: Phase) {
        let run = self.runs.get_mut(name).unwrap();
        run.status = Some(RunStatus { phase, ..RunStatus::default() });
        let seen = Seen::run(run).unwrap();
        self.execution.see(seen);
    }

    fn ok(&mut self, name: &str) {
        self.end(name, Phase::Succeeded);
        self.go();
    }

    fn edit(&mut self, field: &str, value: Value) {
        self.workflow["spec"][field] = value;
        let of: Workflow = serde_json::from_value(self.workflow.clone()).unwrap();
        self.execution.changed(&of, self.now);
        self.go();
    }

    fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.go();
    }

    fn go(&mut self) {
        loop {
            let effects = self.execution.advance(self.now);
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Create(creation) => {
                        let name = creation.name.clone();
                        if self.lost.contains(&name) {
                            continue;
                        }
                        if let Some(run) = self.runs.get(&name) {
                            let seen = Seen::run(run).filter(|seen| seen.child == creation.child);
                            match seen {
                                Some(seen) => {
                                    self.execution.answered(&creation, Answer::Made);
                                    self.execution.see(seen);
                                }
                                None => self.execution.answered(&creation, Answer::Taken),
                            }
                            continue;
                        }
                        let answer = match self.execution.object(&creation) {
                            Ok(Some(NewChild::Run(mut run))) => {
                                run.metadata.creation_timestamp = Some(Time(self.now));
                                let what = match run.spec.share() {
                                    Share::None => "",
                                    Share::Holds(_) => " holds",
                                    Share::Within(_) => " within",
                                };
                                self.log.push(format!("run {name}{what}"));
                                self.runs.insert(name, *run);
                                Answer::Made
                            }
                            Ok(Some(NewChild::Workflow(_))) => unreachable!(),
                            Ok(None) => Answer::Unwanted,
                            Err(why) => Answer::Refused(why),
                        };
                        self.execution.answered(&creation, answer);
                    }
                    Effect::Cancel { name, why, .. } => {
                        self.log.push(format!("cancel {name} {why:?}"));
                        if self.deaf.contains(&name) {
                            continue;
                        }
                        let run = self.runs.get_mut(&name).unwrap();
                        let marks = why.patch()["metadata"]["annotations"].clone();
                        run.metadata.annotations = serde_json::from_value(marks).unwrap();
                        self.end(&name, Phase::Cancelled);
                    }
                    Effect::Supersede => unreachable!(),
                }
            }
        }
        if self.execution.has_changed() {
            let patch = self.execution.take_patch();
            merge(&mut self.workflow, &patch);
        }
    }

    fn open(&self) -> Vec<&str> {
        self.runs
            .values()
            .filter(|run| !run.phase().is_terminal())
            .map(|run| run.metadata.name.as_deref().unwrap())
            .collect()
    }

    fn shown(&self) -> String {
        format!(
            "{}\nopen: {:?}\nstatus: {}",
            self.log.join("\n"),
            self.open(),
            self.workflow["status"]
        )
    }
}

fn shared(steps: Value) -> Value {
    json!({"runs-on": "bash", "workspace": "shared", "steps": steps})
}

fn two() -> Value {
    shared(json!([{"name": "one", "run": "true"}, {"name": "two", "run": "true"}]))
}

/// Killed between the two creations (they are sent at once), the step waits for a holder that nobody makes.
#[test]
fn a_step_whose_holder_was_not_created_before_a_kill_gets_one() {
    let mut world = World::without(json!({"jobs": {"build": two()}}), &["wf-w-build"]);
    world.restart();
    assert!(world.runs.contains_key("wf-w-build"), "no holder:\n{}", world.shown());
}

/// Deleted while no controller ran: the second step works in a new, empty directory of the same group.
#[test]
fn a_holder_that_was_deleted_while_the_controller_was_down_is_lost() {
    let mut world = World::new(json!({"jobs": {"build": two()}}));
    world.end("wf-w-build-one", Phase::Succeeded);
    world.runs.remove("wf-w-build");
    world.restart();
    assert!(!world.runs.contains_key("wf-w-build-two"), "step two runs:\n{}", world.shown());
}

/// The same, with the end of step one already in the status.
#[test]
fn a_holder_that_was_deleted_while_the_controller_was_down_is_lost_though_the_status_has_the_step()
{
    let steps = json!([{"name": "one", "run": "true"}, {"name": "two", "run": "true"}, {"name": "three", "run": "true"}]);
    let mut world = World::new(json!({"jobs": {"build": shared(steps)}}));
    world.ok("wf-w-build-one");
    world.end("wf-w-build-two", Phase::Succeeded);
    world.runs.remove("wf-w-build");
    world.restart();
    assert!(!world.runs.contains_key("wf-w-build-three"), "step three runs:\n{}", world.shown());
}

/// Its holder ended while no controller ran: the step that waits for it is not ended.
#[test]
fn a_step_whose_holder_ended_while_the_controller_was_down_is_ended() {
    let mut world = World::new(json!({"jobs": {"build": two()}}));
    world.end("wf-w-build", Phase::Failed);
    world.restart();
    assert!(world.execution.phase().is_terminal(), "still runs:\n{}", world.shown());
}

/// One slot, parallelism 1: a leg that holds its workspace waits behind one that needs the slot.
#[test]
fn a_leg_that_holds_a_workspace_goes_before_one_that_holds_none() {
    let mut world = World::new(json!({"parallelism": 1, "jobs": {"a": two(), "b": two()}}));
    world.edit("suspend", json!(true));
    world.ok("wf-w-a-one");
    world.edit("suspend", json!(false));
    assert_eq!(world.open(), ["wf-w-a", "wf-w-a-two"], "{}", world.shown());
}

/// The same by a restart: a was approved when z held the only slot.
#[test]
fn after_a_restart_a_leg_that_holds_a_workspace_goes_before_one_that_holds_none() {
    let mut approved = two();
    approved["approval"] = json!("required");
    let mut world = World::new(json!({"parallelism": 1, "jobs": {"a": approved, "z": two()}}));
    world.edit("approvals", json!(["a"]));
    assert_eq!(world.open(), ["wf-w-z", "wf-w-z-one"], "{}", world.shown());
    world.end("wf-w-z-one", Phase::Succeeded);
    world.restart();
    assert_eq!(world.open(), ["wf-w-z", "wf-w-z-two"], "{}", world.shown());
}

/// A leg that took too long executes its clean-up for ever; nobody can cancel it, nor does the whole's time end it.
#[test]
fn a_cancel_ends_what_runs_after_a_timeout() {
    let steps = json!([{"name": "one", "run": "true"}, {"name": "clean", "if": "always()", "run": "sleep infinity"}]);
    let mut job = shared(steps);
    job["timeoutSeconds"] = json!(10);
    let mut world = World::new(json!({"timeoutSeconds": 60, "jobs": {"build": job}}));
    world.wait(11);
    assert_eq!(world.open(), ["wf-w-build", "wf-w-build-clean"]);
    world.wait(100_000);
    world.edit("cancelRequested", json!(true));
    assert!(world.open().is_empty(), "{}", world.shown());
}

/// Two children of one Workflow with one name, at once.
#[test]
fn two_steps_of_one_name_both_end() {
    let job = |step: &str| json!({"runs-on": "bash", "steps": [{"name": step, "run": "true"}]});
    let mut world = World::new(json!({"jobs": {"a": job("b-c"), "a-b": job("c")}}));
    for name in world.open().into_iter().map(str::to_owned).collect::<Vec<_>>() {
        world.ok(&name);
    }
    assert!(world.execution.phase().is_terminal(), "still runs:\n{}", world.shown());
}

/// A holder that has the name of another job's step.
#[test]
fn a_holder_and_a_step_of_one_name_both_end() {
    let mut world = World::new(
        json!({"jobs": {"build": {"runs-on": "bash", "steps": [{"name": "one", "run": "true"}]},
        "build-one": shared(json!([{"name": "s", "run": "true"}]))}}),
    );
    for _ in 0..4 {
        for name in world.open().into_iter().map(str::to_owned).collect::<Vec<_>>() {
            if world.runs[&name].spec.holds_workspace.is_none() {
                world.ok(&name);
            }
        }
    }
    assert!(world.execution.phase().is_terminal(), "still runs:\n{}", world.shown());
}

/// One matrix: the holder of the leg `a-s` has the name of the step s of the leg a, which starts later.
#[test]
fn a_holder_that_is_there_when_a_step_of_its_name_starts_stays_the_holder() {
    let mut job = shared(json!([{"name": "p", "run": "true"}, {"name": "s", "run": "true"}]));
    job["strategy"] = json!({"matrix": {"n": ["a", "a-s"]}});
    let mut world = World::new(json!({"jobs": {"t": job}}));
    world.deaf = vec![];
    for _ in 0..6 {
        for name in world.open().into_iter().map(str::to_owned).collect::<Vec<_>>() {
            let is_step = world.runs[&name].spec.holds_workspace.is_none();
            if is_step && !world.runs[&name].phase().is_terminal() {
                world.ok(&name);
            }
        }
    }
    assert!(
        world.execution.phase().is_terminal() && world.open().is_empty(),
        "still runs:\n{}",
        world.shown()
    );
}

/// The Workflow that a rerun takes jobs from goes (its TTL) while the rerun executes; the controller starts anew.
#[test]
fn a_rerun_goes_on_though_the_earlier_workflow_is_gone() {
    let one = json!({"runs-on": "bash", "steps": [{"name": "s", "run": "true"}]});
    let mut rerun = json!({"metadata": {"name": "w", "namespace": "n", "uid": "u"},
        "spec": {"reuse": {"workflow": "old", "uid": "o", "jobs": ["a"]}, "jobs": {"a": one, "b": two()}}});
    let old: Workflow = serde_json::from_value(json!({"metadata": {"name": "old", "namespace": "n", "uid": "o"},
        "spec": {"jobs": {}}, "status": {"phase": "Failed", "jobs": {"a": {"phase": "Succeeded"}}}})).unwrap();
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let of: Workflow = serde_json::from_value(rerun.clone()).unwrap();
    let mut execution = Execution::resume(&of, Vec::new(), Some(&old), now).unwrap();
    assert_eq!(execution.advance(now).len(), 2, "a holder and a step");
    let patch = execution.take_patch();
    merge(&mut rerun, &patch);
    let of: Workflow = serde_json::from_value(rerun.clone()).unwrap();
    let again = Execution::resume(&of, Vec::new(), None, now);
    assert!(again.is_ok(), "{:?}, with status {}", again.err(), rerun["status"]);
}
