//! Makes the Run object from the command line, a script or a manifest.
//!
//! A manifest is sent as it stands, so that the API server's strict validation sees every field; krt itself checks only
//! what is its own syntax.

use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::{duration, files, names};
use kruntimes_api::labels;
use kruntimes_objects::yaml;
use kruntimes_rules::run::retry::format_duration;
use serde_json::{Map, Value, json};

/// The Run that the arguments describe.
pub(crate) fn run(args: &RunArgs) -> Result<Value, Failure> {
    if args.output.is_some() && !args.no_wait && !args.dry_run {
        return Err(Failure::usage(
            "-o needs --no-wait or --dry-run: a Run that is followed prints its own output",
        ));
    }
    match &args.file {
        Some(path) => {
            let text = files::read(path)?;
            match manifest(&text)
                .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?
            {
                Some(object) => {
                    refuse_flags_beside_a_manifest(args)?;
                    Ok(object)
                }
                None => from_flags(args, Some(text)),
            }
        }
        None if args.command.is_empty() && args.repo_url.is_none() && args.handler.is_none() => {
            Err(Failure::usage(
                "nothing to run: give a command after `--`, or a script or a manifest with -f",
            ))
        }
        None => from_flags(args, None),
    }
}

/// The manifest in `text`: a YAML or JSON mapping with `kind: Run`. A script gives `None`.
fn manifest(text: &str) -> Result<Option<Value>, String> {
    if text.starts_with("#!") {
        return Ok(None);
    }
    let looks_like_one = text.lines().any(|line| line.trim_end() == "kind: Run");
    match yaml::documents(text) {
        Ok(documents) => {
            let kinds: Vec<&str> = documents
                .iter()
                .filter(|document| document.get("apiVersion").is_some_and(Value::is_string))
                .filter_map(|document| document.get("kind")?.as_str())
                .collect();
            match kinds.as_slice() {
                [] if !looks_like_one => Ok(None),
                ["Run"] | []
                    if documents.iter().filter(|document| !document.is_null()).count() == 1 =>
                {
                    Ok(documents.into_iter().find(|document| !document.is_null()))
                }
                [other] if *other != "Run" => Err(format!(
                    "krt run takes a manifest of kind Run, this is a {other}: use kubectl apply -f"
                )),
                _ => {
                    Err("krt run takes one Run at a time: use kubectl apply -f for more".to_owned())
                }
            }
        }
        Err(error) if looks_like_one => Err(format!("is not valid YAML: {error}")),
        Err(_) => Ok(None),
    }
}

fn refuse_flags_beside_a_manifest(args: &RunArgs) -> Result<(), Failure> {
    let given = [
        ("--runtime", args.runtime.is_some()),
        ("--entrypoint", args.entrypoint.is_some()),
        ("--handler", args.handler.is_some()),
        ("--env", !args.env.is_empty()),
        ("--input", !args.input.is_empty()),
        ("--timeout", args.timeout.is_some()),
        ("--retry-attempts", args.retry_attempts.is_some()),
        ("--retry-backoff", args.retry_backoff.is_some()),
        ("--ttl", args.ttl.is_some()),
        ("a command", !args.command.is_empty()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(Failure::usage(format!(
            "{flag} can't be used with a manifest: write it into the file"
        ))),
        None => Ok(()),
    }
}

/// What is executed, and where it comes from.
fn insert_files(args: &RunArgs, script: Option<String>, spec: &mut Map<String, Value>) {
    let mut entrypoint = args.entrypoint.as_deref();
    if let Some(script) = script {
        spec.insert("source".to_owned(), json!({"inline": script}));
        entrypoint = entrypoint.or(Some("script"));
    } else if let Some(url) = &args.repo_url {
        let mut source = json!({ "repoURL": url });
        if let Some(revision) = &args.commit_sha {
            source["commitSHA"] = revision.as_str().into();
        }
        spec.insert("source".to_owned(), source);
    }
    if let Some(entrypoint) = entrypoint {
        spec.insert("entrypoint".to_owned(), entrypoint.into());
    }
}

fn from_flags(args: &RunArgs, script: Option<String>) -> Result<Value, Failure> {
    let mut spec = Map::new();
    spec.insert("runtime".to_owned(), args.runtime.as_deref().unwrap_or("bash").into());
    insert_files(args, script, &mut spec);
    if let Some(handler) = &args.handler {
        spec.insert("handler".to_owned(), handler.as_str().into());
    }
    if !args.command.is_empty() {
        spec.insert("args".to_owned(), args.command.clone().into());
    }
    if !args.env.is_empty() {
        let env: Result<Vec<Value>, Failure> = args.env.iter().map(|pair| env_var(pair)).collect();
        spec.insert("env".to_owned(), env?.into());
    }
    if !args.input.is_empty() {
        let inputs: Result<Vec<Value>, Failure> =
            args.input.iter().map(|text| input(text)).collect();
        spec.insert("inputs".to_owned(), inputs?.into());
    }
    if let Some(seconds) = args.timeout.map(duration::seconds).filter(|seconds| *seconds > 0) {
        spec.insert("timeoutSeconds".to_owned(), seconds.into());
    }
    if let Some(seconds) = args.ttl.map(duration::seconds) {
        spec.insert("ttlSecondsAfterFinished".to_owned(), seconds.into());
    }
    let mut retry = Map::new();
    if let Some(attempts) = args.retry_attempts {
        retry.insert("maxAttempts".to_owned(), attempts.into());
    }
    if let Some(backoff) = args.retry_backoff {
        retry.insert("backoff".to_owned(), format_duration(backoff).into());
    }
    if !retry.is_empty() {
        spec.insert("retryPolicy".to_owned(), retry.into());
    }
    Ok(json!({
        "apiVersion": kruntimes_api::API_VERSION,
        "kind": "Run",
        "metadata": {"name": format!("run-{}", names::random()?)},
        "spec": spec,
    }))
}

fn env_var(pair: &str) -> Result<Value, Failure> {
    match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        Some(_) | None => Err(Failure::usage(format!("--env {pair:?} is not NAME=VALUE"))),
    }
}

/// The first `=` that the name of a Run follows, so that the name of an artifact may have one too.
fn input(text: &str) -> Result<Value, Failure> {
    let wrong = || Failure::usage(format!("--input {text:?} is not NAME=RUN or NAME=RUN:PATH"));
    let (name, run, path) = text
        .match_indices('=')
        .find_map(|(at, _)| {
            let (name, rest) = (&text[..at], &text[at + 1..]);
            let (run, path) =
                rest.split_once(':').map_or((rest, None), |(run, path)| (run, Some(path)));
            let run = names::object(run).ok().filter(|_| !name.is_empty())?;
            Some((name, run, path))
        })
        .ok_or_else(wrong)?;
    let mut input = json!({"name": name, "fromRun": run});
    if let Some(path) = path {
        input["path"] = path.into();
    }
    Ok(input)
}

/// Notes the time of submission, unless the manifest holds something there that the API server will refuse.
pub(super) fn stamp(object: &mut Value, now: jiff::Timestamp) {
    let Some(metadata) =
        object.as_object_mut().map(|object| object.entry("metadata").or_insert_with(|| json!({})))
    else {
        return;
    };
    let Some(metadata) = metadata.as_object_mut() else { return };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    if annotations.is_null() {
        *annotations = json!({});
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(labels::SUBMITTED_AT.to_owned(), format!("{now:.6}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(line: &[&str]) -> RunArgs {
        let cli = Cli::try_parse_from(["krt", "run"].iter().chain(line)).unwrap();
        let Command::Run(args) = cli.command else { panic!("not a run") };
        *args
    }

    #[test]
    fn flags_become_the_spec() {
        let args = args(&[
            "--timeout",
            "1m30s",
            "--env",
            "A=b=c",
            "--retry-attempts",
            "3",
            "--retry-backoff",
            "500ms",
            "--",
            "echo",
            "a  b",
        ]);
        let mut object = run(&args).unwrap();
        stamp(&mut object, "2026-01-02T03:04:05.678901Z".parse().unwrap());
        assert_eq!(
            object["spec"],
            json!({
                "runtime": "bash", "args": ["echo", "a  b"], "timeoutSeconds": 90,
                "env": [{"name": "A", "value": "b=c"}],
                "retryPolicy": {"maxAttempts": 3, "backoff": "500ms"},
            })
        );
        assert_eq!(
            object["metadata"]["annotations"]["kruntimes.io/submitted-at"],
            "2026-01-02T03:04:05.678901Z"
        );
        assert!(object["metadata"]["name"].as_str().unwrap().starts_with("run-"));
    }

    #[test]
    fn a_repository_needs_no_command_and_no_file() {
        let line = ["--repo-url", "https://h/x", "--commit-sha", "v1", "--entrypoint", "a/b"];
        let object = run(&args(&line)).unwrap();
        let want = json!({
            "runtime": "bash", "entrypoint": "a/b",
            "source": {"repoURL": "https://h/x", "commitSHA": "v1"},
        });
        assert_eq!(object["spec"], want);
        for wrong in [&["--commit-sha", "v1"][..], &["--repo-url", "https://h", "-f", "x"]] {
            assert!(Cli::try_parse_from(["krt", "run"].iter().chain(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_input_names_an_artifact_a_run_and_perhaps_a_path() {
        let parsed = |text: &str| input(text).map_err(|failure| failure.code);
        let one = json!({"name": "a.txt", "fromRun": "build"});
        assert_eq!(parsed("a.txt=build"), Ok(one));
        let placed = json!({"name": "a=B", "fromRun": "build-1", "path": "in/a=b:c"});
        assert_eq!(parsed("a=B=run/build-1:in/a=b:c"), Ok(placed));
        for wrong in ["a", "=build", "a=", "a=:x", "a=B", ""] {
            assert_eq!(parsed(wrong), Err(crate::failure::USAGE), "{wrong}");
        }
        let object = run(&args(&["--input", "a=x", "--input", "b=x:c", "--", "true"])).unwrap();
        let want =
            json!([{"name": "a", "fromRun": "x"}, {"name": "b", "fromRun": "x", "path": "c"}]);
        assert_eq!(object["spec"]["inputs"], want);
    }

    #[test]
    fn a_timeout_of_zero_is_no_timeout_and_a_part_of_a_second_is_one() {
        let spec = |timeout| {
            from_flags(&args(&["--timeout", timeout, "--", "true"]), None).unwrap()["spec"].clone()
        };
        assert!(spec("0").get("timeoutSeconds").is_none());
        assert_eq!(spec("500ms")["timeoutSeconds"], 1);
    }

    #[test]
    fn wrong_flags_are_usage_errors() {
        for line in [&["--env", "=x", "--", "true"][..], &[]] {
            assert_eq!(run(&args(line)).unwrap_err().code, crate::failure::USAGE);
        }
    }

    #[test]
    fn only_a_mapping_of_kind_run_is_a_manifest() {
        let run = "apiVersion: kruntimes.io/v1alpha1\nkind: Run\nspec: {runtime: bash}\n";
        assert_eq!(manifest(run).unwrap().unwrap()["spec"]["runtime"], "bash");
        let json_run = r#"{"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run"}"#;
        assert!(manifest(json_run).unwrap().is_some());
        for script in [
            "echo hello\n",
            "#!/bin/sh\nkind: Run\n",
            "a: b\n",
            "if x; then { y; }; fi\n",
            "",
            "- x\n",
        ] {
            assert_eq!(manifest(script).unwrap(), None, "{script}");
        }
        assert!(manifest(&format!("{run}---\n{run}")).unwrap_err().contains("one Run"));
        assert!(manifest("kind: Run\nspec: {\n").unwrap_err().contains("YAML"));
        assert!(manifest("apiVersion: v1\nkind: Pod\n").unwrap_err().contains("Pod"));
    }

    #[test]
    fn a_manifest_whose_aliases_repeat_without_end_is_refused() {
        let mut bomb = "kind: Run\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..10 {
            let below = format!("*a{},", n - 1).repeat(10);
            bomb.push_str(&format!("a{n}: &a{n} [{below}]\n"));
        }
        let refused = manifest(&bomb).unwrap_err();
        assert!(refused.contains("aliases repeat more than 10000 values"), "{refused}");
    }
}
