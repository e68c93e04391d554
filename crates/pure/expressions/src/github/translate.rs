//! From a file in GitHub's syntax to the `spec` of a Workflow.

use super::{MAX_REFUSALS, Refusal, check_keys};
use crate::script::Interpreter;
use crate::value;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Characters of a step's name.
const NAME_CHARS: usize = 63;
/// The Runtime of a job that names none.
const RUNTIME: &str = "bash";

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct Translated {
    /// Its `name`, as it stands there.
    pub name: Option<String>,
    /// Of a Workflow; its fields are not checked here.
    pub spec: Value,
}

/// The Workflow that means the same as the file, or each key that has no such meaning.
pub fn translate(file: &Value) -> Result<Translated, Vec<Refusal>> {
    let mut translation = Translation { refusals: check_keys(file) };
    let mut name = None;
    let mut spec = Map::new();
    for (key, value) in file.as_object().into_iter().flatten() {
        let translated = match key.as_str() {
            "name" => {
                name = Some(translation.text(value, key));
                continue;
            }
            "env" | "with" | "outputs" => translation.texts(value, key),
            "on" => {
                if let Some(inputs) = translation.events(value) {
                    spec.insert("inputs".to_owned(), inputs);
                }
                continue;
            }
            "concurrency" => translation.concurrency(value),
            "jobs" => translation.jobs(value),
            _ => value.clone(),
        };
        spec.insert(key.clone(), translated);
    }
    if file.get("inputs").is_some() && file.pointer("/on/workflow_dispatch/inputs").is_some() {
        translation.refuse("on.workflow_dispatch.inputs", "there are inputs at the top already");
    }
    // On GitHub a job that fails ends those alone that need it.
    spec.entry("fail-fast").or_insert(Value::Bool(false));
    translation.refusals.truncate(MAX_REFUSALS);
    if translation.refusals.is_empty() {
        Ok(Translated { name, spec: Value::Object(spec) })
    } else {
        Err(translation.refusals)
    }
}

pub(super) struct Translation {
    refusals: Vec<Refusal>,
}

impl Translation {
    pub(super) fn refuse(&mut self, path: &str, message: &str) {
        if !self.refusals.iter().any(|refusal| refusal.path == path) {
            self.refusals.push(Refusal::new(path, message));
        }
    }

    /// YAML's numbers and booleans are texts, as GitHub has them.
    pub(super) fn text(&mut self, value: &Value, path: &str) -> String {
        match value::text(value) {
            Ok(text) => text.into_owned(),
            Err(_) => {
                self.refuse(path, "a text is needed here");
                String::new()
            }
        }
    }

    fn texts(&mut self, value: &Value, path: &str) -> Value {
        let Some(members) = value.as_object() else {
            self.refuse(path, "an object of names and texts is needed here");
            return Value::Null;
        };
        let member = |(name, value): (&String, &Value)| {
            let text = self.text(value, &format!("{path}.{name}"));
            (name.clone(), Value::String(text))
        };
        members.iter().map(member).collect::<Map<_, _>>().into()
    }

    fn concurrency(&mut self, value: &Value) -> Value {
        if value.is_object() {
            self.switch(value, "cancel-in-progress", "concurrency");
            value.clone()
        } else {
            json!({"group": self.text(value, "concurrency")})
        }
    }

    /// A boolean, and no expression for one.
    fn switch(&mut self, object: &Value, key: &str, path: &str) {
        if object.get(key).is_some_and(|value| !value.is_boolean()) {
            self.refuse(
                &format!("{path}.{key}"),
                "true or false is needed here, and no expression",
            );
        }
    }

    fn object(&mut self, value: &Value, path: &str, message: &str) {
        if !value.is_object() {
            self.refuse(path, message);
        }
    }

    fn jobs(&mut self, value: &Value) -> Value {
        let Some(jobs) = value.as_object() else {
            self.refuse("jobs", "an object of names and jobs is needed here");
            return Value::Null;
        };
        let job =
            |(name, job): (&String, &Value)| (name.clone(), self.job(job, &format!("jobs.{name}")));
        jobs.iter().map(job).collect::<Map<_, _>>().into()
    }

    fn job(&mut self, job: &Value, path: &str) -> Value {
        let mut translated = Map::new();
        self.object(job, path, "a job is an object with steps or uses");
        for (key, value) in job.as_object().into_iter().flatten() {
            let at = format!("{path}.{key}");
            let (key, value) = match key.as_str() {
                "name" => continue,
                "if" => ("if", self.text(value, &at).into()),
                "needs" if !value.is_array() => ("needs", json!([self.text(value, &at)])),
                "env" | "outputs" | "with" => (key.as_str(), self.texts(value, &at)),
                "timeout-minutes" => ("timeoutSeconds", self.seconds(value, &at)),
                "steps" => {
                    let runtime = job.get("runs-on").and_then(Value::as_str).unwrap_or(RUNTIME);
                    ("steps", self.steps(value, &at, Interpreter::of(runtime)))
                }
                "runs-on" if !value.is_string() => {
                    self.refuse(&at, "the name of one Runtime is needed here");
                    continue;
                }
                "strategy" => {
                    self.object(value, &at, "a strategy is an object with matrix");
                    self.switch(value, "fail-fast", &at);
                    ("strategy", value.clone())
                }
                other => (other, value.clone()),
            };
            translated.insert(key.to_owned(), value);
        }
        self.switch(job, "continue-on-error", path);
        if job.get("uses").is_none() {
            translated.entry("runs-on").or_insert_with(|| RUNTIME.into());
            translated.entry("workspace").or_insert_with(|| "shared".into());
        }
        translated.into()
    }

    fn seconds(&mut self, value: &Value, path: &str) -> Value {
        let seconds = value.as_f64().map(|minutes| (minutes * 60.0).ceil());
        match seconds.filter(|seconds| (1.0..=1e9).contains(seconds)) {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole, and below 1e9")]
            Some(seconds) => json!(seconds as i64),
            None => {
                self.refuse(path, "a number of minutes is needed here, and no expression");
                Value::Null
            }
        }
    }

    fn steps(&mut self, value: &Value, path: &str, of: Interpreter<'_>) -> Value {
        let Some(steps) = value.as_array() else {
            self.refuse(path, "a list of steps is needed here");
            return Value::Null;
        };
        let ids = steps.iter().filter_map(|step| step.get("id")?.as_str());
        let mut taken: BTreeSet<String> = ids.map(str::to_owned).collect();
        let step = |(place, step)| {
            let path = format!("{path}[{place}]");
            let mut translated = self.step(step, place, &path, &mut taken);
            self.script(step, &path, of, &mut translated);
            Value::Object(translated)
        };
        steps.iter().enumerate().map(step).collect::<Vec<_>>().into()
    }

    fn step(
        &mut self,
        step: &Value,
        place: usize,
        path: &str,
        taken: &mut BTreeSet<String>,
    ) -> Map<String, Value> {
        let mut translated = Map::new();
        self.object(step, path, "a step is an object with run");
        for (key, value) in step.as_object().into_iter().flatten() {
            let at = format!("{path}.{key}");
            let (key, value) = match key.as_str() {
                "id" | "name" | "shell" | "run" => continue,
                "if" => ("if", self.text(value, &at).into()),
                "env" => ("env", self.texts(value, &at)),
                "timeout-minutes" => ("timeoutSeconds", self.seconds(value, &at)),
                other => (other, value.clone()),
            };
            translated.insert(key.to_owned(), value);
        }
        self.switch(step, "continue-on-error", path);
        let name = match (step.get("id"), step.get("name")) {
            (Some(id), _) => self.text(id, &format!("{path}.id")),
            (None, Some(name)) => {
                unique(&fit(&self.text(name, &format!("{path}.name")), place), taken)
            }
            (None, None) => unique(&fit("", place), taken),
        };
        translated.insert("name".to_owned(), name.into());
        translated
    }

    /// What GitHub's runners tell bash before a script.
    fn script(
        &mut self,
        step: &Value,
        path: &str,
        of: Interpreter<'_>,
        into: &mut Map<String, Value>,
    ) {
        let options = match (step.get("shell"), of) {
            (None, Interpreter::Bash) => "set -e; ",
            (Some(shell), Interpreter::Bash) if shell == "bash" => "set -eo pipefail; ",
            (None, Interpreter::Other(_)) => "",
            (Some(_), _) => {
                let path = format!("{path}.shell");
                return self.refuse(
                    &path,
                    "bash of a Runtime of bash is the only one: the Runtime executes the script",
                );
            }
        };
        if let Some(run) = step.get("run") {
            // On its first line, so that no line of the script has another number.
            let text = self.text(run, &format!("{path}.run"));
            into.insert("run".to_owned(), format!("{options}{text}").into());
        }
    }
}

/// The name with a dash for each run of what a name can't have.
fn fit(name: &str, place: usize) -> String {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "._".contains(letter);
    let words = name.split(|letter| !is_of_name(letter)).filter(|word| !word.is_empty());
    let mut fit = words.collect::<Vec<_>>().join("-");
    fit.truncate(NAME_CHARS);
    let fit = fit.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
    if fit.is_empty() { format!("step-{}", place + 1) } else { fit.to_owned() }
}

fn unique(name: &str, taken: &mut BTreeSet<String>) -> String {
    let mut number = 2;
    let mut own = name.to_owned();
    while !taken.insert(own.clone()) {
        let end = format!("-{number}");
        own = format!("{}{end}", &name[..name.len().min(NAME_CHARS - end.len())]);
        number += 1;
    }
    own
}
