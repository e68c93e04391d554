//! Secrets in the environment of Runs: they reach the Run, follow their object, and are left nowhere else.

use crate::api::{block_on, client, create, namespace};
use crate::support::{Ended, Up, User, finish_with_input, read_until, shared};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kruntimes_api::Runtime;
use kube::api::{Patch, PatchParams};
use kube::discovery::{Discovery, verbs};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// From a change of a Secret to a Run that has it.
const FOLLOWS: Duration = Duration::from_secs(5);

/// As `sha256sum` says.
fn digest(text: &str) -> String {
    let ended = finish_with_input(&mut Command::new("sha256sum"), text.as_bytes());
    ended.out().split(' ').next().unwrap().to_owned()
}

fn base64(text: &str) -> String {
    let ended = finish_with_input(Command::new("base64").arg("-w0"), text.as_bytes());
    ended.out().to_owned()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Files below a directory that hold the text; pipes and links are left out.
fn files_with(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), text));
        } else if kind.is_file() && std::fs::read(entry.path()).is_ok_and(|it| holds(&it, text)) {
            found.push(entry.path());
        }
    }
    found
}

/// Processes with the text in their command line.
fn command_lines_with(text: &str) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.map(|entry| entry.path().join("cmdline"));
    lines.filter(|path| std::fs::read(path).is_ok_and(|line| holds(&line, text))).collect()
}

/// Names of all objects that hold the text or its base64, of every kind that the API server has.
async fn objects_with(client: &Client, text: &str) -> Vec<String> {
    let encoded = base64(text);
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let mut found = Vec::new();
    let mut kinds = 0;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            kinds += 1;
            let url = kube::core::Request::new(match resource.group.as_str() {
                "" => format!("/api/{}/{}", resource.version, resource.plural),
                group => format!("/apis/{group}/{}/{}", resource.version, resource.plural),
            });
            let list: Value = client.request(url.list(&Default::default()).unwrap()).await.unwrap();
            for item in list["items"].as_array().unwrap() {
                let shown = item.to_string();
                if shown.contains(text) || shown.contains(&encoded) {
                    let name = item["metadata"]["name"].as_str().unwrap();
                    found.push(format!("{}/{name}", resource.plural));
                }
            }
        }
    }
    assert!(kinds >= 15, "only {kinds} kinds were searched");
    found
}

/// Lets Runs of the Runtime `bash` use a Secret, and waits until all its pods may.
async fn allow(client: &Client, secret: &str) {
    let runtimes: Api<Runtime> = Api::namespaced(client.clone(), "default");
    let patch = Patch::Merge(json!({"spec": {"allowedSecrets": [secret]}}));
    runtimes.patch("bash", &PatchParams::default(), &patch).await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    let replaced = |deployment: Option<&Deployment>| {
        let Some(deployment) = deployment else { return false };
        let (spec, status) = (deployment.spec.as_ref().unwrap(), deployment.status.as_ref());
        let volumes = spec.template.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
        let Some(status) = status else { return false };
        volumes.into_iter().flatten().any(|volume| volume.secret.is_some())
            && status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == spec.replicas
            && status.replicas == spec.replicas
            && status.ready_replicas == spec.replicas
    };
    await_condition(deployments, "runtime-bash", replaced).await.unwrap();
}

/// Bytes of the store that hold the text, each with what stands before it.
fn before_each(store: &[u8], text: &str) -> Vec<String> {
    let starts = store.windows(text.len()).enumerate().filter(|(_, it)| *it == text.as_bytes());
    starts
        .map(|(at, _)| String::from_utf8_lossy(&store[at.saturating_sub(20)..at]).into_owned())
        .collect()
}

/// While the Run is there and its process runs: the value is in its own object and in the files of runtimed.
fn search_while_it_runs(user: &User, canary: &str) {
    assert_eq!(command_lines_with(canary), Vec::<PathBuf>::new());
    assert_ne!(command_lines_with("runtimed"), Vec::<PathBuf>::new(), "the search finds nothing");
    let files = files_with(&user.path(""), canary);
    assert!(!files.is_empty());
    for file in files {
        let path = file.to_str().unwrap();
        assert!(
            path.contains("/sources/secrets/canary/") && path.ends_with("/password"),
            "the Secret is in {path}"
        );
    }
}

#[test]
fn a_secret_reaches_its_run_and_is_left_nowhere() {
    let user = User::new();
    let log = user.path("home.log");
    let up: Up = user.up_logged(&["--log", "trace"], &log);
    // No text of this file: the processes of this test hold it too.
    let canary = format!("{}-{:x}", "canary", std::process::id() as u128 * 0x9e37_79b9_7f4a_7c15);
    let kubeconfig = user.path("data/kruntimes/kubeconfig");
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "canary"},
        "stringData": {"password": canary},
    });
    block_on(async {
        let client = client(&kubeconfig).await;
        create(&Api::<Secret>::namespaced(client.clone(), "default"), secret).await;
        allow(&client, "canary").await;
    });
    let run = json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": "reader"},
        "spec": {
            "runtime": "bash",
            "source": {"inline": "printf %s \"$P\" | sha256sum; mkfifo gate; echo \"$PWD/gate\"; read -r line <gate; exit 3\n"},
            "env": [
                {"name": "P", "valueFrom": {"secretKeyRef": {"name": "canary", "key": "password"}}},
            ],
        },
    });
    let manifest = user.write("reader.yaml", run.to_string());
    let mut reader = user
        .krt(&["run", "-f", &manifest])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap());
    let line = read_until(&mut lines, |_| true);
    assert_eq!(line, format!("{}  -", digest(&canary)));
    let gate = read_until(&mut lines, |_| true);
    search_while_it_runs(&user, &canary);
    let objects = |expected: &[&str]| {
        let found = block_on(async { objects_with(&client(&kubeconfig).await, &canary).await });
        assert_eq!(found, expected);
    };
    objects(&["secrets/canary"]);
    std::fs::write(&gate, "go on\n").unwrap();
    let ended = crate::support::collect(reader);
    assert!(ended.expect(3).stderr.contains("exit status 3") && !ended.stderr.contains(&canary));
    objects(&["secrets/canary"]);
    assert_eq!(up.stop(Signal::TERM), Some(0));

    assert_eq!(files_with(&user.path(""), &canary), Vec::<PathBuf>::new());
    let encoded = base64(&canary);
    let store = user.path("data/kruntimes/objects.redb");
    assert_eq!(files_with(&user.path(""), &encoded), [store.as_path()]);
    let found = before_each(&std::fs::read(&store).unwrap(), &encoded);
    assert!(!found.is_empty());
    for before in found {
        assert!(before.ends_with("\"password\":\""), "the Secret stands after {before:?}");
    }
    let log = std::fs::read(&log).unwrap();
    assert!(holds(&log, "TRACE"), "the log was not at its most verbose");
}

fn reader(name: &str, secret: &str, key: &str, optional: bool) -> String {
    let source = json!({"secretKeyRef": {"name": secret, "key": key, "optional": optional}});
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
        "metadata": {"name": name, "namespace": "with-secrets", "labels": {"team": "a b".replace(' ', "-")}},
        "spec": {
            "runtime": "bash", "args": ["echo \"${P-absent} $NAME $TEAM\""],
            "env": [
                {"name": "P", "valueFrom": source},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
            ],
        },
    })
    .to_string()
}

#[track_caller]
fn failed(ended: &Ended, want: &str) {
    assert_eq!(ended.expect(125).stderr.trim_end(), want);
}

#[test]
fn not_allowed_missing_and_optional_are_told_apart_and_a_change_is_followed() {
    let _started = shared().run(&["version"]);
    let secrets = block_on(async {
        let client = client(&shared().kubeconfig()).await;
        namespace(&client, "with-secrets").await;
        let runtime = json!({
            "apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": "bash"},
            "spec": {"allowedSecrets": ["db"], "template": {"spec": {"containers": [
                {"name": "runtime", "image": "kruntimes-bash-runtime:latest",
                 "args": ["--port=9091", "--work-dir=/workspace"]},
            ]}}},
        });
        create(&Api::<Runtime>::namespaced(client, "with-secrets"), runtime).await;
        shared().kubeconfig()
    });
    let put = |value: &str| {
        block_on(async {
            let secrets: Api<Secret> = Api::namespaced(client(&secrets).await, "with-secrets");
            let body = json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"},
                "stringData": {"k": value},
            });
            if secrets.get_opt("db").await.unwrap().is_none() {
                create(&secrets, body).await;
                return;
            }
            let patch = Patch::Merge(json!({"data": {"k": base64(value)}}));
            secrets.patch("db", &PatchParams::default(), &patch).await.unwrap();
        });
    };
    let absent = shared().apply(&reader("absent", "db", "k", true));
    assert_eq!(absent.expect(0).out(), "absent absent a-b\n");
    failed(
        &shared().apply(&reader("missing", "db", "k", false)),
        "missing Failed (EnvUnavailable): env P: Secret \"db\" does not exist in namespace \"with-secrets\", or has no \
         key \"k\": create it, or set optional: true",
    );
    failed(
        &shared().apply(&reader("refused", "tls", "k", true)),
        "refused Failed (EnvNotAllowed): env P: Secret \"tls\" is not allowed by Runtime \"bash\": add it to its \
         spec.allowedSecrets, and wait for its new pods",
    );
    for (round, value) in ["one", "two"].into_iter().enumerate() {
        put(value);
        let since = Instant::now();
        // Each Run is a question that its end answers; the change is pushed to the pod meanwhile.
        for number in 0.. {
            let name = format!("asks-{round}-{number}");
            let answer = shared().apply(&reader(&name, "db", "k", true));
            if answer.expect(0).out() == format!("{value} {name} a-b\n") {
                break;
            }
            assert!(since.elapsed() < FOLLOWS, "{value} is not there: {}", answer.out());
        }
    }
}
