//! `krt get`, `list`, `cancel` and `runtime`: what the API server holds, for people or programs.

use crate::cli::{GetArgs, ListArgs, NameArgs, Output};
use crate::failure::Failure;
use crate::home::Home;
use crate::table::{age, columns, details, plain, print, structured, text};
use crate::{objects, progress::Progress};
use serde_json::Value;

/// Characters of an output that a line shows.
const OUTPUT_CHARS: usize = 200;

/// `krt get`.
pub(crate) async fn get_run(home: &Home, args: &GetArgs) -> Result<(), Failure> {
    let run = objects::get(&home.client, &home.namespace, "runs", &args.name).await?;
    match structured(run.clone(), args.output, objects::RUN_RESOURCE)? {
        Some(text) => print(&text),
        None => print(&run_details(&run)),
    }
}

fn run_details(run: &Value) -> String {
    let env = |item: &Value| match item.get("value") {
        Some(_) | None if item.get("valueFrom").is_some() => {
            format!("{}=(from)", text(item, "/name"))
        }
        Some(_) | None => format!("{}={}", text(item, "/name"), text(item, "/value")),
    };
    details(&[
        ("Name", text(run, "/metadata/name")),
        ("Namespace", text(run, "/metadata/namespace")),
        ("Runtime", text(run, "/spec/runtime")),
        ("Phase", phase(run)),
        ("Reason", text(run, "/status/reason")),
        ("Exit Code", text(run, "/status/exitCode")),
        ("Attempt", text(run, "/status/attempt")),
        ("Assigned Pod", text(run, "/status/assignedPod")),
        ("Message", text(run, "/status/message")),
        ("Outputs", outputs(run)),
        ("Artifacts", artifacts(run)),
        ("Args", list(run, "/spec/args", |arg| text(arg, ""))),
        ("Env", list(run, "/spec/env", env)),
        ("Entrypoint", text(run, "/spec/entrypoint")),
        ("Handler", text(run, "/spec/handler")),
        ("Source Inline", first_line(&text(run, "/spec/source/inline"))),
        ("Source Repo", text(run, "/spec/source/repoURL")),
        ("Source Commit", text(run, "/spec/source/commitSHA")),
        ("Inputs", list(run, "/spec/inputs", input)),
        ("Timeout", seconds(&text(run, "/spec/timeoutSeconds"))),
        ("Created", text(run, "/metadata/creationTimestamp")),
        ("Start Time", text(run, "/status/startTime")),
        ("Completion Time", text(run, "/status/completionTime")),
        ("Attempts", attempts(run)),
        ("Timeline", timeline(run)),
    ])
}

/// `krt list`.
pub(crate) async fn list_runs(home: &Home, args: &ListArgs) -> Result<(), Failure> {
    let mut fields = Vec::new();
    if let Some(runtime) = &args.runtime {
        fields.push(format!("spec.runtime={runtime}"));
    }
    if let Some(phase) = args.phase {
        fields.push(format!("status.phase={}", phase.as_str()));
    }
    let namespace = (!args.all_namespaces).then_some(home.namespace.as_str());
    let selector = (!fields.is_empty()).then(|| fields.join(","));
    let runs = objects::list(&home.client, namespace, "runs", selector.as_deref()).await?;
    show_list(&runs, args.output, objects::RUN_RESOURCE, namespace, |runs| {
        let now = jiff::Timestamp::now();
        let row = |run: &Value| {
            let pod = text(run, "/status/assignedPod");
            let pod = if pod.is_empty() { "-".to_owned() } else { pod };
            let name = text(run, "/metadata/name");
            vec![
                name,
                text(run, "/metadata/namespace"),
                text(run, "/spec/runtime"),
                phase(run),
                pod,
                age(run, now),
            ]
        };
        columns(
            &["NAME", "NAMESPACE", "RUNTIME", "PHASE", "ASSIGNED POD", "AGE"],
            &runs.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

/// `krt cancel`.
pub(crate) async fn cancel(home: &Home, args: &NameArgs) -> Result<(), Failure> {
    objects::cancel(&home.client, &home.namespace, &args.name).await?;
    print(&format!("Cancellation requested for run {}\n", args.name))
}

/// `krt runtime list`.
pub(crate) async fn list_runtimes(
    home: &Home,
    all_namespaces: bool,
    output: Output,
) -> Result<(), Failure> {
    let namespace = (!all_namespaces).then_some(home.namespace.as_str());
    let runtimes = objects::list(&home.client, namespace, "runtimes", None).await?;
    show_list(&runtimes, output, objects::RUNTIME_RESOURCE, namespace, |runtimes| {
        let now = jiff::Timestamp::now();
        let row = |runtime: &Value| {
            vec![
                text(runtime, "/metadata/name"),
                text(runtime, "/metadata/namespace"),
                text(runtime, IMAGE),
                text(runtime, "/spec/replicas"),
                ready(runtime),
                text(runtime, "/spec/port"),
                age(runtime, now),
            ]
        };
        columns(
            &["NAME", "NAMESPACE", "IMAGE", "REPLICAS", "READY", "PORT", "AGE"],
            &runtimes.iter().map(row).collect::<Vec<_>>(),
        )
    })
}

const IMAGE: &str = "/spec/template/spec/containers/0/image";

/// `krt runtime get`.
pub(crate) async fn get_runtime(home: &Home, args: &GetArgs) -> Result<(), Failure> {
    let runtime = objects::get(&home.client, &home.namespace, "runtimes", &args.name).await?;
    if let Some(text) = structured(runtime.clone(), args.output, objects::RUNTIME_RESOURCE)? {
        return print(&text);
    }
    let item = |value: &Value| text(value, "");
    print(&details(&[
        ("Name", text(&runtime, "/metadata/name")),
        ("Namespace", text(&runtime, "/metadata/namespace")),
        ("Image", text(&runtime, IMAGE)),
        ("Port", text(&runtime, "/spec/port")),
        ("Replicas", text(&runtime, "/spec/replicas")),
        ("Ready", ready(&runtime)),
        ("Capacity", text(&runtime, "/spec/capacity/resources/runs")),
        ("Daemon Image", text(&runtime, "/spec/daemonImage")),
        ("ServiceAccount", text(&runtime, "/spec/template/spec/serviceAccountName")),
        ("Command", list(&runtime, "/spec/template/spec/containers/0/command", item)),
        ("Args", list(&runtime, "/spec/template/spec/containers/0/args", item)),
        ("Age", age(&runtime, jiff::Timestamp::now())),
    ]))
}

pub(crate) fn show_list(
    list: &Value,
    output: Output,
    resource: &str,
    namespace: Option<&str>,
    table: impl FnOnce(&[Value]) -> String,
) -> Result<(), Failure> {
    if let Some(text) = structured(list.clone(), output, resource)? {
        return print(&text);
    }
    let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if !items.is_empty() {
        return print(&table(items));
    }
    match namespace {
        Some(namespace) => {
            Progress::new(false).say(&format!("No resources found in {namespace} namespace."))
        }
        None => Progress::new(false).say("No resources found"),
    }
    Ok(())
}

fn phase(run: &Value) -> String {
    let phase = text(run, "/status/phase");
    if phase.is_empty() { "Pending".to_owned() } else { phase }
}

fn ready(runtime: &Value) -> String {
    let ready = text(runtime, "/status/readyReplicas");
    if ready.is_empty() { "0".to_owned() } else { ready }
}

fn list(object: &Value, pointer: &str, show: impl Fn(&Value) -> String) -> String {
    let items = object.pointer(pointer).and_then(Value::as_array);
    items.map(|items| items.iter().map(show).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

/// The attempts that ended, one line each.
fn attempts(run: &Value) -> String {
    let attempts = run.pointer("/status/attempts").and_then(Value::as_array);
    let line = |attempt: &Value| {
        let mut line = format!("{}: {}", text(attempt, "/number"), text(attempt, "/reason"));
        for (what, field) in
            [("exit code", "/exitCode"), ("on", "/pod"), ("from", "/startTime"), ("to", "/endTime")]
        {
            let value = text(attempt, field);
            if !value.is_empty() {
                line.push_str(&format!(" {what} {value}"));
            }
        }
        line
    };
    let lines = attempts.map(|attempts| attempts.iter().map(line).collect::<Vec<_>>());
    lines.unwrap_or_default().join("\n")
}

/// The times of the newest attempt, in their order.
fn timeline(run: &Value) -> String {
    const STAGES: [&str; 8] =
        ["submitted", "seen", "scheduled", "received", "prepared", "started", "exited", "finished"];
    let line = |stage: &&str| {
        let time = text(run, &format!("/status/timeline/{stage}"));
        (!time.is_empty()).then(|| format!("{stage:<9} {time}"))
    };
    STAGES.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// One line each, whatever a Run has put into it; `-o json` has them whole.
fn outputs(run: &Value) -> String {
    let outputs = run.pointer("/status/outputs").and_then(Value::as_object);
    let line = |(name, value): (&String, &Value)| {
        let first = first_line(value.as_str().unwrap_or_default());
        let shown: String = first.chars().take(OUTPUT_CHARS).collect();
        let more = if shown.len() < first.len() { "…" } else { "" };
        format!("{name}={}{more}", plain(&shown))
    };
    outputs
        .map(|outputs| outputs.iter().map(line).collect::<Vec<_>>().join("\n"))
        .unwrap_or_default()
}

fn artifacts(run: &Value) -> String {
    let refs = run.pointer("/status/artifactRefs").and_then(Value::as_array);
    let line = |one: &Value| {
        format!(
            "{} ({}, {} bytes)",
            text(one, "/name"),
            text(one, "/type"),
            text(one, "/sizeBytes")
        )
    };
    refs.map(|refs| refs.iter().map(line).collect::<Vec<_>>().join("\n")).unwrap_or_default()
}

fn input(input: &Value) -> String {
    let from = text(input, "/fromRun");
    let from = if from.is_empty() { "ref".to_owned() } else { from };
    let path = text(input, "/path");
    let at = if path.is_empty() { String::new() } else { format!(":{path}") };
    format!("{}={from}{at}", text(input, "/name"))
}

fn first_line(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, rest)) if !rest.is_empty() => format!("{first} …"),
        Some((first, _)) => first.to_owned(),
        None => text.to_owned(),
    }
}

fn seconds(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{text}s") }
}

#[cfg(test)]
mod tests {
    use super::{artifacts, attempts, outputs, timeline};
    use serde_json::json;

    #[test]
    fn attempts_and_times_are_lines() {
        let ended =
            json!({"number": 1, "reason": "Timeout", "pod": "p", "startTime": "S", "endTime": "E"});
        let failed = json!({"number": 2, "reason": "RuntimeError", "exitCode": 7});
        let run = json!({"status": {"attempts": [ended, failed], "timeline": {"exited": "B", "seen": "A"}}});
        assert_eq!(attempts(&run), "1: Timeout on p from S to E\n2: RuntimeError exit code 7");
        assert_eq!(timeline(&run), "seen      A\nexited    B");
        assert_eq!((attempts(&json!({})), timeline(&json!({}))), (String::new(), String::new()));
    }

    #[test]
    fn an_output_is_one_line_that_no_terminal_obeys() {
        let long = "x".repeat(201);
        let run = json!({"status": {"outputs": {
            "a": "1", "b": "one\ntwo\n", "c": "\u{1b}[31mred\r", "d": long, "e": "", "f": "line\n",
        }}});
        let lines = outputs(&run);
        let mut want =
            vec!["a=1".to_owned(), "b=one …".to_owned(), "c=\\u{1b}[31mred\\r".to_owned()];
        want.push(format!("d={}…", "x".repeat(200)));
        want.extend(["e=".to_owned(), "f=line".to_owned()]);
        assert_eq!(lines.lines().collect::<Vec<_>>(), want);
        assert_eq!(outputs(&json!({"status": {}})), "");
        let run = json!({"status": {"artifactRefs": [
            {"name": "a", "type": "file", "sizeBytes": 5}, {"name": "b", "type": "directory", "sizeBytes": 7},
        ]}});
        assert_eq!(artifacts(&run), "a (file, 5 bytes)\nb (directory, 7 bytes)");
    }
}
