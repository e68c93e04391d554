//! Runs that use up what they can: only they end, with their reason, beside Runs that share their pod.

use crate::api::{block_on, client};
use crate::isolation::one_pod;
use crate::support::{User, collect, read_until};
use kruntimes_api::Run;
use kube::Api;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::BufReader;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How soon a bomb must have ended, also on a machine whose processors have five others to serve. `soak bombs` measures it.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// A fork bomb in one process group, and one whose every process hides in a session of its own.
const FORKS: &str = "bomb() { [ $1 = 0 ] && exec sleep 20; \
    bomb $(($1 - 1)) | bomb $(($1 - 1)) & wait; }; bomb 10";
const HIDING: &str = "bomb() { [ $1 = 0 ] && exec sleep 20; \
    setsid bash -c \"$(declare -f bomb); bomb $(($1 - 1)) & bomb $(($1 - 1))\" & wait; }; bomb 10";
const MEMORY: &str = "python3 -c 'b = []\nwhile True: b.append(bytes([1]) * 2**20)'";
const DISK: &str = "while :; do head -c 1M /dev/zero >> file; done";

fn manifest(name: &str, script: &str, limits: &Value) -> String {
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name},
        "spec": {
            "runtime": "bash", "source": {"inline": script}, "resources": {"limits": limits},
        },
    })
    .to_string()
}

fn ended(kubeconfig: &Path, name: &str) -> (Option<String>, Option<i32>, String) {
    let run = block_on(async {
        let runs: Api<Run> = Api::default_namespaced(client(kubeconfig).await);
        runs.get(name).await.unwrap()
    });
    let status = run.status.unwrap();
    (status.reason, status.exit_code, status.message.unwrap_or_default())
}

#[test]
fn a_bomb_ends_alone_and_says_why() {
    let user = User::new();
    let up = user.up(&[]);
    let kubeconfig = user.path("data/kruntimes/kubeconfig");
    block_on(async { one_pod(&client(&kubeconfig).await, "process").await });
    let neighbour =
        manifest("neighbour", "mkfifo gate; echo \"$PWD/gate\"; read -r line <gate", &json!({}));
    let mut neighbour = user
        .krt(&["run", "-f", &user.write("neighbour.yaml", neighbour)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let gate = read_until(&mut BufReader::new(neighbour.stdout.take().unwrap()), |_| true);
    let bombs = [
        ("forks", FORKS, json!({"processes": 100}), "ProcessLimit"),
        ("by-default", FORKS, json!({}), "ProcessLimit"),
        ("hiding", HIDING, json!({"processes": 100}), "ProcessLimit"),
        ("memory", MEMORY, json!({"memory": "64Mi"}), "MemoryLimit"),
        ("disk", DISK, json!({"disk": "8Mi"}), "DiskLimit"),
    ];
    for round in 1..=2 {
        for (name, script, limits, reason) in &bombs {
            let name = format!("{name}-{round}");
            let bomb = user.write("bomb.yaml", manifest(&name, script, limits));
            let started = Instant::now();
            let bomb = user
                .krt(&["run", "-f", &bomb])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            user.run(&["run", "--", "true"]).expect(0);
            collect(bomb).expect(137);
            assert!(started.elapsed() < ENDS_WITHIN, "{name}: {:?}", started.elapsed());
            let (said, exit_code, message) = ended(&kubeconfig, &name);
            assert_eq!(
                (said.as_deref(), exit_code),
                (Some(*reason), Some(137)),
                "{name}: {message}"
            );
            assert!(message.contains("are allowed"), "{message}");
        }
    }
    std::fs::write(gate, "end\n").unwrap();
    collect(neighbour).expect(0);
    assert_eq!(up.stop(Signal::TERM), Some(0));
}
