//! Hostile Runs beside one that holds a canary, in one pod: kept apart, and not, so that the probes are seen to be real.

use crate::api::{block_on, client};
use crate::support::{Up, User, collect, read_until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{Phase, Run, Runtime};
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::BufReader;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;

const CANARY: &str = include_str!("isolation/canary.py");
const PROBES: &str = include_str!("isolation/probes.py");
const COUNT: usize = 31;

/// Gives the Runtime `bash` one pod of four slots with this isolation, and waits for it.
pub(crate) async fn one_pod(client: &Client, isolation: &str) {
    let runtimes: Api<Runtime> = Api::default_namespaced(client.clone());
    let spec = json!({
        "replicas": 1, "isolation": isolation, "capacity": {"resources": {"runs": 4}},
    });
    runtimes
        .patch("bash", &PatchParams::default(), &Patch::Merge(json!({ "spec": spec })))
        .await
        .unwrap();
    let runtime = |runtime: Option<&Runtime>| {
        let status = runtime.and_then(|runtime| runtime.status.as_ref());
        let wanted = if isolation == "none" { "Off" } else { "Full" };
        status.is_some_and(|status| {
            let is = |type_: &str, reason: &str| {
                status.conditions.iter().any(|it| it.type_ == type_ && it.reason == reason)
            };
            is("Ready", "PodsReady") && is("Isolation", wanted) && status.ready_replicas == Some(1)
        })
    };
    await_condition(runtimes, "bash", runtime).await.unwrap();
    let rolled = |deployment: Option<&Deployment>| {
        let status = deployment.and_then(|deployment| deployment.status.as_ref());
        status
            .is_some_and(|status| status.replicas == Some(1) && status.updated_replicas == Some(1))
    };
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    await_condition(deployments, "runtime-bash", rolled).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let old = pods.list(&ListParams::default().labels("runtime=bash")).await.unwrap();
    for pod in old.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some()) {
        let gone = |seen: Option<&Pod>| seen.is_none_or(|seen| seen.uid() != pod.uid());
        await_condition(pods.clone(), &pod.name_any(), gone).await.unwrap();
    }
}

/// Whether the Runs of the Runtime `bash` have namespaces of their own.
async fn has_namespaces(client: &Client) -> bool {
    let runtimes: Api<Runtime> = Api::default_namespaced(client.clone());
    let status = runtimes.get("bash").await.unwrap().status.unwrap();
    let isolation = status.conditions.iter().find(|it| it.type_ == "Isolation");
    isolation.unwrap().message.contains("namespaces")
}

fn run(name: &str, code: &str, env: &Value) -> Value {
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name},
        "spec": {
            "runtime": "bash", "env": env,
            "source": {"inline": format!("exec python3 - \"$CANARY\" \"$KEY\" <<'CODE'\n{code}\nCODE\n")},
        },
    })
}

fn parent(pid: u64) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

/// The process on the machine that was started with this argument: itself it may have another number.
fn on_the_machine(argument: &str) -> u64 {
    let argument = format!("\0{argument}\0");
    let has = |pid: &u64| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&argument)
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(has).unwrap()
}

/// Everything that a hostile Run could be told of its neighbour.
async fn target(client: &Client, seen: &Value, canary: &str, key: u32) -> Value {
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod =
        pods.list(&ListParams::default().labels("runtime=bash")).await.unwrap().items.remove(0);
    let runs: Api<Run> = Api::default_namespaced(client.clone());
    let pid = on_the_machine(canary);
    let supervisor = parent(pid);
    let workspaces = Path::new(seen["dir"].as_str().unwrap()).ancestors().nth(3).unwrap();
    let mut target = json!({
        "canary": canary, "key": key, "supervisor": supervisor, "server": parent(parent(supervisor)),
        "control": workspaces.join("control"), "ip": pod.status.unwrap().pod_ip,
        "uid": runs.get("canary").await.unwrap().uid(), "abstract": format!("kruntimes-{canary}"),
        "nap": format!("{key}"), "pid": pid,
    });
    for name in ["dir", "address"] {
        target[name] = seen[name].clone();
    }
    target
}

/// The probes' words, one a line, and why each could not.
fn probe(isolation: &str, key: u32) -> (Vec<String>, String) {
    let user = User::new();
    let up: Up = user.up(&[]);
    let canary = format!("canary{:032x}", u128::from(std::process::id()) * 0x9e37_79b9_7f4a_7c15);
    let kubeconfig = user.path("data/kruntimes/kubeconfig");
    block_on(async { one_pod(&client(&kubeconfig).await, isolation).await });
    let env =
        json!([{"name": "CANARY", "value": canary}, {"name": "KEY", "value": key.to_string()}]);
    let manifest = user.write("canary.yaml", run("canary", CANARY, &env).to_string());
    let mut holder = user
        .krt(&["run", "-f", &manifest])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What the pod serves to who has its token.
    let leave = "import os, sys\nopen(os.environ['KRUNTIME_ARTIFACTS_DIR'] + '/loot', 'w').write(sys.argv[1])";
    let artful = user.write("artful.yaml", run("artful", leave, &env).to_string());
    user.run(&["run", "-f", &artful]).expect(0);
    let line = read_until(&mut BufReader::new(holder.stdout.take().unwrap()), |_| true);
    let seen: Value = serde_json::from_str(&line).unwrap();
    let granted = block_on(async { has_namespaces(&client(&kubeconfig).await).await });
    let left = if granted || isolation == "none" {
        json!(["/tmp", "/dev/shm", "sysv"])
    } else {
        json!([])
    };
    assert_eq!(seen["left"], left, "what the probes look for is there");
    let directory = PathBuf::from(seen["dir"].as_str().unwrap());
    // The path itself is longer than an address may be.
    let opened = std::fs::File::open(&directory).unwrap();
    let short = format!("/proc/self/fd/{}/sock", opened.as_raw_fd());
    let _path = UnixListener::bind(short).unwrap();
    let address = SocketAddr::from_abstract_name(format!("kruntimes-{canary}")).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    let target = block_on(async { target(&client(&kubeconfig).await, &seen, &canary, key).await });
    let env = json!([{"name": "TARGET", "value": target.to_string()}]);
    let manifest = user.write("probes.yaml", run("probes", PROBES, &env).to_string());
    let ended = user.run(&["run", "-f", &manifest]);
    ended.expect(0);
    let pods = block_on(async {
        let runs: Api<Run> = Api::default_namespaced(client(&kubeconfig).await);
        [runs.get("canary").await.unwrap(), runs.get("probes").await.unwrap()]
            .map(|run| (run.phase(), run.status.unwrap().assigned_pod))
    });
    assert_eq!(pods[0].1, pods[1].1, "both were in one pod");
    assert_eq!(pods[0].0, Phase::Running, "the canary lives");
    let napping = std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line == format!("sleep\0{key}\0").as_bytes()
    });
    assert!(!napping, "a process was left");
    std::fs::write(directory.join("gate"), "end\n").unwrap();
    collect(holder).expect(0);
    assert_eq!(up.stop(Signal::TERM), Some(0));
    for place in ["/tmp", "/dev/shm"] {
        let _ = std::fs::remove_file(format!("{place}/kruntimes-{canary}"));
    }
    let _ = std::process::Command::new("ipcrm").args(["-M", &key.to_string()]).output();
    (ended.out().lines().map(str::to_owned).collect(), ended.stderr)
}

#[test]
fn no_probe_reaches_a_neighbour_that_is_kept_apart_and_all_do_where_it_is_not() {
    let number = std::process::id() % 1_000_000;
    let (apart, why) = probe("process", 10_000_000 + number);
    let leaks: Vec<_> = apart.iter().filter(|line| !line.ends_with(" blocked")).collect();
    assert!(leaks.is_empty(), "{leaks:?}\n{why}");
    let (together, why_not) = probe("none", 20_000_000 + number);
    let blocked: Vec<_> = together.iter().filter(|line| !line.ends_with(" LEAK")).collect();
    assert!(blocked.is_empty(), "the probe can't tell: {blocked:?}\n{why_not}");
    assert_eq!((apart.len(), together.len()), (COUNT, COUNT));
}
