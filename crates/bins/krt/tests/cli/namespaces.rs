//! What a Run of the local home may do that has namespaces of its own, or else may not.

use crate::api::{block_on, client};
use crate::isolation::one_pod;
use crate::support::{Up, User};
use kruntimes_api::Runtime;
use kube::Api;
use rustix::process::Signal;
use serde_json::json;

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

#[test]
fn what_all_runs_would_share_is_each_ones_own() {
    let user = User::new();
    let up: Up = user.up(&[]);
    let kubeconfig = user.path("data/kruntimes/kubeconfig");
    let message = block_on(async {
        let client = client(&kubeconfig).await;
        one_pod(&client, "process").await;
        let runtimes: Api<Runtime> = Api::default_namespaced(client);
        let status = runtimes.get("bash").await.unwrap().status.unwrap();
        let said = status.conditions.into_iter().find(|it| it.type_ == "Isolation");
        said.unwrap().message
    });
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
