//! Pods of a local home, seen through its API: replaced when they are killed, and never shared between namespaces.

use crate::api::{block_on, client, create, namespace};
use crate::support::{Up, User, descendants, shared};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Phase, Run, Runtime, conditions};
use kube::api::{DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// From the death of a pod to another one that is ready.
const REPLACED: Duration = Duration::from_secs(3);
/// From the question to a frozen pod to the answer of the next one.
const PASSED_OVER: Duration = Duration::from_secs(20);
const RUNS: usize = 200;

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
}

/// Follows the pods until `done` holds for all that there are.
async fn pods_until(pods: Api<Pod>, done: impl Fn(&BTreeMap<String, Pod>) -> bool) {
    let mut known = BTreeMap::new();
    let mut events = watcher(pods, watcher::Config::default()).default_backoff().boxed();
    while !done(&known) {
        match events.try_next().await.unwrap().unwrap() {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
                known.insert(pod.uid().unwrap(), pod);
            }
            watcher::Event::Delete(pod) => drop(known.remove(&pod.uid().unwrap())),
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }
}

/// The processes of a pod.
fn processes_of(pod: &str, up: &Up) -> Vec<u32> {
    let mark = format!("HOSTNAME={pod}\0");
    let pids = descendants(up.child.id()).into_iter().map(|(pid, _)| pid);
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(&mark)
    })
    .collect()
}

#[test]
fn a_download_passes_over_a_frozen_pod() {
    let user = User::new();
    let up = user.up(&["--runtimes", "bash"]);
    let script = "echo 1 > \"$KRUNTIME_ARTIFACTS_DIR/f\"";
    user.run(&["run", "--", script]).expect(0);
    let list: Value = serde_json::from_str(user.run(&["list", "-o", "json"]).out()).unwrap();
    let run = &list["items"][0];
    let name = run["metadata"]["name"].as_str().unwrap();
    let frozen = processes_of(run["status"]["assignedPod"].as_str().unwrap(), &up);
    let signal = |signal| {
        for pid in &frozen {
            kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).unwrap();
        }
    };
    signal(Signal::STOP);
    let begun = Instant::now();
    let target = user.path("f");
    let words = ["artifact", "download", name, "f", "-o", target.to_str().unwrap()];
    let downloaded = user.run(&words);
    signal(Signal::CONT);
    downloaded.expect(0);
    assert_eq!(std::fs::read(&target).unwrap(), b"1\n");
    assert!(begun.elapsed() < PASSED_OVER, "it took {:?}", begun.elapsed());
    assert_eq!(up.stop(Signal::TERM), Some(0));
}

#[test]
fn a_killed_pod_is_replaced_and_the_next_run_succeeds_on_another() {
    let user = User::new();
    let up = user.up(&[]);
    user.run(&["run", "--", "true"]).expect(0);
    let list: Value = serde_json::from_str(user.run(&["list", "-o", "json"]).out()).unwrap();
    let pod = list["items"][0]["status"]["assignedPod"].as_str().unwrap().to_owned();
    let uid = list["items"][0]["status"]["assignedPodUID"].as_str().unwrap().to_owned();
    let processes = processes_of(&pod, &up);
    assert!(processes.len() >= 2, "runtimed and the Runtime Server: {processes:?}");
    let killed = Instant::now();
    for pid in processes {
        // A child of one that is dead already may be gone too.
        let killed = kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL);
        assert!(matches!(killed, Ok(()) | Err(Errno::SRCH)), "{killed:?}");
    }
    block_on(async {
        let client = client(&user.path("data/kruntimes/kubeconfig")).await;
        pods_until(Api::namespaced(client, "default"), |pods| {
            pods.values().filter(|pod| pod.uid().as_ref() != Some(&uid) && is_ready(pod)).count()
                >= 2
        })
        .await;
    });
    assert!(killed.elapsed() < REPLACED, "it took {:?}", killed.elapsed());
    let name = list["items"][0]["metadata"]["name"].as_str().unwrap();
    let logs = user.run(&["logs", name]);
    let silent = format!(
        "error: the output of attempt 1 of {name} can't be had: its pod has it no more, and nothing is kept of what attempt 1 has \
         written in the artifact store: it has written nothing, or its pod ended before it could keep it\n"
    );
    assert_eq!(logs.expect(125).stderr, silent);
    user.run(&["run", "--", "true"]).expect(0);
    assert_eq!(up.stop(Signal::TERM), Some(0));
}

/// Ends the pod of a Run, and waits until others are ready.
fn replace_pod(user: &User, run: &Value) {
    let text = |field: &str| run["status"][field].as_str().unwrap().to_owned();
    let (pod, uid) = (text("assignedPod"), text("assignedPodUID"));
    block_on(async {
        let client = client(&user.path("data/kruntimes/kubeconfig")).await;
        let pods: Api<Pod> = Api::namespaced(client, "default");
        pods.delete(&pod, &DeleteParams::default()).await.unwrap();
        pods_until(pods, |pods| {
            let others = pods.values().filter(|pod| pod.uid().as_ref() != Some(&uid));
            others.filter(|pod| is_ready(pod)).count() >= 2
                && pods.values().all(|pod| pod.uid().as_ref() != Some(&uid))
        })
        .await;
    });
}

#[test]
fn the_output_of_every_attempt_is_there_after_its_pod() {
    let user = User::new();
    let up = user.up(&[]);
    let manifest = json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": "twice"},
        "spec": {"runtime": "bash", "retryPolicy": {"maxAttempts": 2, "backoff": "1ms"},
            "args": ["printf 'out\\n\\377\\n'; echo err >&2; exit 3"]},
    });
    let file = user.write("run.json", manifest.to_string());
    user.run(&["run", "-f", &file]).expect(3);
    let run: Value = serde_json::from_str(user.run(&["get", "twice", "-o", "json"]).out()).unwrap();
    let first = user.run(&["logs", "twice", "--attempt", "1", "-o", "json"]);
    assert_eq!(first.expect(0).out().lines().count(), 3, "{}", first.out());
    assert!(first.out().contains("\"attempt\":1,\"stream\":\"stdout\",\"message\":\"out\""));
    let live = user.run(&["logs", "twice"]);
    replace_pod(&user, &run);
    for attempt in ["1", "2"] {
        let kept = user.run(&["logs", "twice", "--attempt", attempt]);
        kept.expect(0);
        assert_eq!((&kept.stdout[..], &*kept.stderr), (&b"out\n\xff\n"[..], "err\n"));
        assert_eq!((&kept.stdout, &kept.stderr), (&live.stdout, &live.stderr));
    }
    let tail = user.run(&["logs", "twice", "--tail", "1", "--since", "1h"]);
    assert_eq!(tail.expect(0).stdout, b"\xff\n");
    // Without a pod, and then without the Runtime.
    user.run(&["run", "--", "printf art > $KRUNTIME_ARTIFACTS_DIR/f; echo said"]).expect(0);
    let list: Value = serde_json::from_str(user.run(&["list", "-o", "json"]).out()).unwrap();
    let all = list["items"].as_array().unwrap().iter();
    let kept =
        all.map(|run| run["metadata"]["name"].as_str().unwrap()).find(|name| *name != "twice");
    block_on(async {
        let client = client(&user.path("data/kruntimes/kubeconfig")).await;
        let runtimes: Api<Runtime> = Api::namespaced(client.clone(), "default");
        runtimes.delete("bash", &DeleteParams::default()).await.unwrap();
        pods_until(Api::namespaced(client, "default"), |pods| {
            pods.values().all(|pod| pod.labels().get("runtime").is_none_or(|name| name != "bash"))
        })
        .await;
    });
    let (kept, target) = (kept.unwrap(), user.path("f"));
    let download = ["artifact", "download", kept, "f", "-o", target.to_str().unwrap()];
    user.run(&download).expect(0);
    assert_eq!(std::fs::read(&target).unwrap(), b"art");
    assert_eq!(user.run(&["logs", kept]).expect(0).out(), "said\n");
    assert_eq!(up.stop(Signal::TERM), Some(0));
}

fn run_body(name: &str) -> Value {
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name},
        "spec": {"runtime": "bash", "args": ["true"]},
    })
}

fn runtime_body() -> Value {
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Runtime", "metadata": {"name": "bash"},
        "spec": {"capacity": {"resources": {"runs": "8"}}, "template": {"spec": {"containers": [
            {"name": "runtime", "image": "kruntimes-bash-runtime:latest",
             "args": ["--port=9091", "--work-dir=/workspace"]},
        ]}}},
    })
}

fn has_ended(run: Option<&Run>) -> bool {
    run.is_some_and(|run| run.phase().is_terminal())
}

/// Creates Runs in a namespace with a Runtime of its own; the answer is the pods that took them, and those there are.
async fn fill(client: &Client, name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    namespace(client, name).await;
    create(&Api::<Runtime>::namespaced(client.clone(), name), runtime_body()).await;
    let runs: Api<Run> = Api::namespaced(client.clone(), name);
    let created: FuturesUnordered<_> =
        (0..RUNS).map(|index| create(&runs, run_body(&format!("run-{index}")))).collect();
    assert_eq!(created.count().await, RUNS);
    for index in 0..RUNS {
        await_condition(runs.clone(), &format!("run-{index}"), has_ended).await.unwrap();
    }
    let all = runs.list(&ListParams::default()).await.unwrap();
    assert_eq!(all.items.len(), RUNS);
    assert!(all.iter().all(|run| run.phase() == Phase::Succeeded));
    let taken = all.iter().map(|run| run.status.as_ref().unwrap().assigned_pod.clone().unwrap());
    let pods: Api<Pod> = Api::namespaced(client.clone(), name);
    let there = pods.list(&ListParams::default()).await.unwrap();
    (taken.collect(), there.iter().map(ResourceExt::name_any).collect())
}

#[test]
fn each_namespace_has_its_own_pods_and_one_without_waits_for_them() {
    block_on(async {
        let _started = shared().run(&["version"]);
        let client = client(&shared().kubeconfig()).await;
        let (first, second) = tokio::join!(fill(&client, "team-a"), fill(&client, "team-b"));
        for (taken, there) in [first, second] {
            assert!(taken.is_subset(&there), "{taken:?} are not all of {there:?}");
        }

        namespace(&client, "team-c").await;
        let runs: Api<Run> = Api::namespaced(client.clone(), "team-c");
        create(&runs, run_body("early")).await;
        let waits = |run: Option<&Run>| {
            let all = run.and_then(|run| run.status.as_ref()).map(|status| &status.conditions);
            all.into_iter().flatten().any(|one| {
                one.type_ == conditions::SCHEDULED
                    && one.status == "False"
                    && one.reason == conditions::RUNTIME_NOT_FOUND
            })
        };
        let waiting = await_condition(runs.clone(), "early", waits).await.unwrap().unwrap();
        assert_eq!(waiting.phase(), Phase::Pending);
        create(&Api::<Runtime>::namespaced(client.clone(), "team-c"), runtime_body()).await;
        let ended = await_condition(runs, "early", has_ended).await.unwrap().unwrap();
        assert_eq!(ended.phase(), Phase::Succeeded);
    });
}
