//! What a Run of the local home may do that has namespaces of its own, or else may not.

use crate::api::{block_on, client};
use crate::support::{Up, User};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kruntimes_api::Runtime;
use kube::Api;
use kube::runtime::wait::await_condition;
use rustix::process::Signal;
use serde_json::json;
use std::path::Path;

/// Prints a line for what works.
const BASH: &str = "for place in /tmp /dev/shm; do
    test ! -e $place/file && echo mine > $place/file && echo $place
done
ls / >/dev/null && echo list
ps -e -o comm= | grep -q bash && echo ps; true";
const PYTHON: &str = "import os, sys, multiprocessing as mp
from multiprocessing import shared_memory

def add(value):
    value.value += 1

if __name__ == '__main__':
    def attempt(name, do):
        try:
            do()
            print(name)
        except OSError:
            pass
    def memory():
        held = shared_memory.SharedMemory(create=True, size=64)
        held.close()
        held.unlink()
    def spawn():
        context = mp.get_context('spawn')
        value = context.Value('i', 1)
        process = context.Process(target=add, args=(value,))
        process.start()
        process.join()
        assert value.value == 2
    attempt('value', lambda: mp.Value('i', 1))
    attempt('shared_memory', memory)
    attempt('spawn', spawn)
";

const WITHOUT_LANDLOCK: &str = include_str!("namespaces/without_landlock.py");

/// The condition of the Runtime `bash`, once it is known.
async fn isolation(kubeconfig: &Path) -> Condition {
    let runtimes: Api<Runtime> = Api::default_namespaced(client(kubeconfig).await);
    let said = |runtime: Option<&Runtime>| {
        let conditions = runtime.and_then(|runtime| Some(&runtime.status.as_ref()?.conditions));
        let is = |it: &&Condition| it.type_ == "Isolation" && it.status != "Unknown";
        conditions.and_then(|conditions| conditions.iter().find(is)).cloned()
    };
    let known = |runtime: Option<&Runtime>| said(runtime).is_some();
    let runtime = await_condition(runtimes, "bash", known).await.unwrap();
    said(runtime.as_ref()).unwrap()
}

#[test]
fn what_a_kernel_lacks_is_said_and_runs_go_on() {
    let user = User::new();
    let up = user.up_by(WITHOUT_LANDLOCK);
    let data = user.path("data/kruntimes");
    let said = block_on(async { isolation(&data.join("kubeconfig")).await });
    assert_eq!((said.status.as_str(), said.reason.as_str()), ("False", "Degraded"));
    let lacks = "degraded: files, processes, signals, abstract sockets";
    assert!(said.message.starts_with(lacks), "{}", said.message);
    // What a cover hides stays hidden.
    let hidden = data.join("objects.redb");
    let script = format!("echo runs; test -e {} && echo seen; true", hidden.display());
    let covered = said.message.contains("namespaces");
    let ended = user.run(&["run", "--", &script]);
    assert_eq!(ended.out(), if covered { "runs\n" } else { "runs\nseen\n" }, "{}", ended.stderr);
    assert_eq!(up.stop(Signal::TERM), Some(0));
}

#[test]
fn what_all_runs_would_share_is_each_ones_own() {
    let user = User::new();
    let up: Up = user.up(&[]);
    let kubeconfig = user.path("data/kruntimes/kubeconfig");
    let message = block_on(async { isolation(&kubeconfig).await.message });
    let granted = message.contains("namespaces (pid, mount, ipc");
    for name in ["one", "next"] {
        let run = json!({
            "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name},
            "spec": {"runtime": "python", "source": {"inline": PYTHON}},
        });
        let run = user.write("run.yaml", run.to_string());
        let ended = user.run(&["run", "--", BASH]);
        assert_eq!(
            ended.out(),
            if granted { "/tmp\n/dev/shm\nlist\nps\n" } else { "" },
            "{message}"
        );
        let ended = user.run(&["run", "-f", &run]);
        let expected = if granted { "value\nshared_memory\nspawn\n" } else { "" };
        assert_eq!(ended.out(), expected, "{message}\n{}", ended.stderr);
    }
    assert_eq!(up.stop(Signal::TERM), Some(0));
}
