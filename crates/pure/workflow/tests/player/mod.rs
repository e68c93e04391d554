//! Plays a scenario: a small API server with one Workflow and its children.

mod merge;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::{
    JobPhase, Phase, Run, RunStatus, Share, Workflow, WorkflowPhase, WorkflowStatus,
};
use kruntimes_objects::yaml;
use kruntimes_workflow::{
    Answer, Creation, Effect, Execution, NewChild, Seen, superseded, use_template,
};
use kube::ResourceExt;
use merge::merge;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What of the status is written when the controller is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lag {
    /// All of it.
    None,
    /// Nothing.
    All,
}

impl Lag {
    pub(crate) const ALL: [Self; 2] = [Self::None, Self::All];
}

enum Object {
    Run(Box<Run>),
    Workflow(Box<Workflow>),
}

pub(crate) struct Player {
    now: Timestamp,
    workflow: Value,
    execution: Option<Execution>,
    children: BTreeMap<String, Object>,
    lag: Lag,
}

impl Player {
    pub(crate) fn new(head: &str, lag: Lag) -> Self {
        let (mut workflow, _) = yaml::parse(head).unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        workflow["metadata"] = json!({"name": "w", "namespace": "n", "uid": "u", "generation": 1});
        Self { now, workflow, execution: None, children: BTreeMap::new(), lag }
    }

    fn object(&self) -> Workflow {
        serde_json::from_value(self.workflow.clone()).unwrap()
    }

    pub(crate) fn restart(&mut self) {
        self.execution = None;
        self.resume();
        self.advance();
    }

    fn resume(&mut self) {
        let seen = self.children.values().filter_map(seen).collect();
        let earlier = self
            .workflow
            .get("earlier")
            .map(|earlier| serde_json::from_value(earlier.clone()).unwrap());
        let resumed = Execution::resume(&self.object(), seen, earlier.as_ref(), self.now);
        self.execution = Some(resumed.unwrap_or_else(|wrong| {
            panic!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }));
    }

    /// What came of an event, line by line.
    pub(crate) fn play(&mut self, event: &str) -> Vec<String> {
        if self.execution.is_none() {
            self.resume();
        }
        let words: Vec<&str> = event.split_whitespace().collect();
        let rest = words[1..].iter().filter(|word| **word != "|").copied().collect::<Vec<_>>();
        match (words[0], rest.as_slice()) {
            ("start", []) => {}
            ("ok", [name, outputs @ ..]) => self.end(name, Phase::Succeeded, outputs, ""),
            ("fail", [name]) => self.end(name, Phase::Failed, &[], "it broke"),
            ("fail", [name, why]) => self.end(name, Phase::Failed, &[], why),
            ("user-cancels", [name]) => self.end(name, Phase::Cancelled, &[], "cancelled"),
            ("delete", [name]) => {
                self.children.remove(*name);
                self.execution().gone(name);
            }
            ("supersede", []) => {
                let now = self.now;
                self.execution().supersede(now);
            }
            ("cancel", []) => self.edit("cancelRequested", json!(true)),
            ("suspend", []) => self.edit("suspend", json!(true)),
            ("unsuspend", []) => self.edit("suspend", json!(false)),
            ("approve", [job]) => self.edit("approvals", json!([job])),
            ("wait", [seconds]) => {
                self.now += SignedDuration::from_secs(seconds.parse().unwrap());
            }
            _ => panic!("no such event: {event}"),
        }
        self.advance()
    }

    fn execution(&mut self) -> &mut Execution {
        self.execution.as_mut().unwrap()
    }

    fn edit(&mut self, field: &str, value: Value) {
        self.workflow["spec"][field] = value;
        let (workflow, now) = (self.object(), self.now);
        self.execution().changed(&workflow, now);
    }

    fn end(&mut self, name: &str, phase: Phase, outputs: &[&str], message: &str) {
        let pairs = outputs.iter().map(|pair| pair.split_once('=').unwrap());
        let outputs: BTreeMap<String, String> =
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let known: Vec<String> = self.children.keys().cloned().collect();
        let child = self
            .children
            .get_mut(name)
            .unwrap_or_else(|| panic!("there is no {name} in {known:?}"));
        match child {
            Object::Run(run) => {
                assert!(!run.phase().is_terminal(), "{name} has ended");
                let message = Some(message.to_owned()).filter(|message| !message.is_empty());
                run.status = Some(RunStatus { phase, message, outputs, ..RunStatus::default() });
            }
            Object::Workflow(workflow) => {
                let phase = match phase {
                    Phase::Succeeded => WorkflowPhase::Succeeded,
                    Phase::Cancelled => WorkflowPhase::Cancelled,
                    Phase::Pending
                    | Phase::Scheduled
                    | Phase::Running
                    | Phase::Failed
                    | Phase::Timeout => WorkflowPhase::Failed,
                };
                let message = Some(message.to_owned());
                workflow.status =
                    Some(WorkflowStatus { phase, message, outputs, ..WorkflowStatus::default() });
            }
        }
        let seen = seen(child).unwrap();
        self.execution().see(seen);
    }

    fn advance(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let now = self.now;
            let effects = self.execution().advance(now);
            if effects.is_empty() {
                break;
            }
            effects.into_iter().for_each(|effect| self.carry_out(effect, &mut lines));
        }
        if self.lag == Lag::None || self.execution().phase().is_terminal() {
            self.flush();
        }
        lines
    }

    /// Writes the status.
    pub(crate) fn flush(&mut self) {
        if let Some(execution) = self.execution.as_mut().filter(|execution| execution.has_changed())
        {
            let patch = execution.take_patch();
            merge(&mut self.workflow, &patch);
        }
    }

    fn carry_out(&mut self, effect: Effect, lines: &mut Vec<String>) {
        match effect {
            Effect::Create(creation) => self.create(&creation, lines),
            Effect::Cancel { name, why, .. } => {
                lines.push(format!("cancel {name}: {why:?}"));
                let patch = why.patch();
                let Some(child) = self.children.get_mut(&name) else { return };
                let annotations =
                    serde_json::from_value(patch["metadata"]["annotations"].clone()).unwrap();
                match child {
                    Object::Run(run) => run.metadata.annotations = Some(annotations),
                    Object::Workflow(workflow) => workflow.metadata.annotations = Some(annotations),
                }
                self.end(&name, Phase::Cancelled, &[], "");
            }
            Effect::Supersede => {
                lines.push("supersede".to_owned());
                merge(&mut self.workflow, &superseded());
                let (workflow, now) = (self.object(), self.now);
                self.execution().changed(&workflow, now);
            }
        }
    }

    fn create(&mut self, creation: &Creation, lines: &mut Vec<String>) {
        let name = creation.name.clone();
        let taken = self.workflow["taken"].as_array();
        let answer = if taken.is_some_and(|taken| taken.contains(&json!(name))) {
            Answer::Taken
        } else {
            match self.execution().object(creation) {
                Ok(Some(object)) => self.add(&name, object, lines),
                Ok(None) => Answer::Unwanted,
                Err(why) => Answer::Refused(why),
            }
        };
        self.execution().answered(creation, answer);
    }

    fn add(&mut self, name: &str, object: NewChild, lines: &mut Vec<String>) -> Answer {
        let most = self.workflow["spec"]["parallelism"].as_u64().unwrap_or(u64::MAX);
        let open = self.open();
        assert!((open.len() as u64) < most, "{name} beside {open:?}");
        let child = match object {
            NewChild::Run(mut run) => {
                lines.push(shown(&run));
                run.metadata.creation_timestamp = Some(Time(self.now));
                Object::Run(run)
            }
            NewChild::Workflow(job) => {
                let spec = self.workflow["templates"].get(&job.template).cloned();
                let found = spec.map(|spec| serde_json::from_value(json!({"spec": spec})).unwrap());
                let line = format!("workflow {name}: {} with {:?}", job.template, job.with);
                match use_template(&self.object(), found.as_ref(), *job) {
                    Ok(mut workflow) => {
                        workflow.metadata.creation_timestamp = Some(Time(self.now));
                        lines.push(line);
                        Object::Workflow(Box::new(workflow))
                    }
                    Err(why) => return Answer::Refused(why),
                }
            }
        };
        assert!(self.children.insert(name.to_owned(), child).is_none(), "{name} was created twice");
        Answer::Made
    }

    /// Bytes of the status as JSON.
    pub(crate) fn status_bytes(&self) -> usize {
        self.workflow["status"].to_string().len()
    }

    /// The names of all children that have not ended.
    pub(crate) fn open(&self) -> Vec<String> {
        let is_open = |child: &Object| match child {
            Object::Run(run) => !run.phase().is_terminal(),
            Object::Workflow(workflow) => !workflow.phase().is_terminal(),
        };
        self.children
            .iter()
            .filter(|(_, child)| is_open(child))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The status in short.
    pub(crate) fn summary(&self) -> String {
        let workflow = self.object();
        let status = workflow.status.unwrap_or_default();
        let mut text = line("", status.phase.as_str(), status.message.as_deref(), &status.outputs);
        for (name, job) in &status.jobs {
            text.push_str(&line(
                &format!("  {name} "),
                job.phase.as_str(),
                job.message.as_deref(),
                &job.outputs,
            ));
            for (name, step) in &job.steps {
                text.push_str(&step_line(&format!("    {name} "), step));
            }
            for (name, leg) in &job.legs {
                text.push_str(&line(
                    &format!("    {name} "),
                    leg.phase.as_str(),
                    leg.message.as_deref(),
                    &BTreeMap::new(),
                ));
                for (name, step) in &leg.steps {
                    text.push_str(&step_line(&format!("      {name} "), step));
                }
            }
        }
        text
    }
}

fn step_line(name: &str, step: &kruntimes_api::StepStatus) -> String {
    let phase: JobPhase = step.phase;
    line(name, phase.as_str(), step.message.as_deref(), &step.outputs)
}

fn line(
    name: &str,
    phase: &str,
    message: Option<&str>,
    outputs: &BTreeMap<String, String>,
) -> String {
    let mut text = format!("{name}{phase}");
    for (key, value) in outputs {
        text.push_str(&format!(" {key}={value}"));
    }
    if let Some(message) = message {
        text.push_str(&format!(" ({message})"));
    }
    text + "\n"
}

fn shown(run: &Run) -> String {
    let mut text = format!("run {} on {}", run.name_any(), run.spec.runtime);
    match run.spec.share() {
        Share::None => {}
        Share::Holds(group) => text.push_str(&format!(" holds {group}")),
        Share::Within(group) => text.push_str(&format!(" in {group}")),
    }
    if !run.spec.args.is_empty() {
        text.push_str(&format!(" args {:?}", run.spec.args));
    }
    for input in &run.spec.inputs {
        let from = input.from_run.as_deref().unwrap_or_default();
        text.push_str(&format!(" input {} of {from} at {}", input.name, input.place()));
    }
    for variable in &run.spec.env {
        text.push_str(&format!(
            " {}={}",
            variable.name,
            variable.value.as_deref().unwrap_or_default()
        ));
    }
    text
}

fn seen(child: &Object) -> Option<Seen> {
    match child {
        Object::Run(run) => Seen::run(run),
        Object::Workflow(workflow) => Seen::workflow(workflow),
    }
}
