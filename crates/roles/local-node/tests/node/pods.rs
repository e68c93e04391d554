//! Pods become processes, and processes that go tell on their pods.

use crate::home::{Home, containers, is_alive, is_ready, kill, phase, pids, pod_running};
use futures::StreamExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;

/// Leaves a process in a session of its own, says its id, and goes on until the home is gone.
const WITH_ORPHAN: &str = "(setsid sleep 1000 & echo child=$!); exec cat";

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_its_own_address_directories_and_environment() {
    let mut home = Home::start();
    home.create_pod(&json!({
        "metadata": {"name": "p", "labels": {"runtime": "bash"}},
        "spec": {
            "serviceAccountName": "runtime-bash",
            "containers": [{
                "name": "runtimed", "image": "kruntimes-runtimed:latest", "args": ["--workers=2"],
                "env": [
                    {"name": "A", "value": "b c"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
            }],
        },
    }))
    .await;
    let pod = home.pod("p", is_ready).await;
    let status = pod.status.clone().unwrap();
    let address = status.pod_ip.unwrap();
    assert!(address.starts_with("127.") && address != "127.0.0.1", "{address}");
    assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("local"));
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    assert!(status.start_time.is_some());
    let uid = pod.metadata.uid.unwrap();
    let place = home.directory.join("pods").join(&uid);
    for (key, want) in [
        ("role", "serve runtimed --workers=2"),
        ("A", "b c"),
        ("IP", &address),
        ("KRUNTIMES_LOOPBACK", &address),
        ("KRUNTIMES_WORKSPACE", place.join("workspace").to_str().unwrap()),
        ("KRUNTIMES_CONTROL", place.join("control").to_str().unwrap()),
        ("KRUNTIMES_STATE", place.join("state").to_str().unwrap()),
        ("KRUNTIMES_LIFELINE", "stdin"),
        ("KRUNTIMES_JOURNAL", "process"),
        ("HOSTNAME", "p"),
        ("POD_NAMESPACE", "default"),
        ("POD_UID", &uid),
        ("KUBECONFIG", place.join("kubeconfig").to_str().unwrap()),
    ] {
        assert_eq!(home.line("p", "runtimed", key).await, want, "{key}");
    }
    let config = std::fs::read_to_string(place.join("kubeconfig")).unwrap();
    assert!(config.contains(&format!("token-of-{uid}")));
    for (path, mode) in [("control", 0o700), ("state", 0o700), ("kubeconfig", 0o600)] {
        let found = std::fs::metadata(place.join(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_ready_when_its_probe_is_answered() {
    let mut home = Home::start();
    let server = "exec python3 -m http.server --bind \"$KRUNTIMES_LOOPBACK\" 9091";
    let mut pod = pod_running("p", &["bash", "-c", server]);
    let container = &mut pod["spec"]["containers"][0];
    container["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 9091}});
    container["livenessProbe"] = json!({"tcpSocket": {"port": 9091}, "initialDelaySeconds": 30});
    home.create_pod(&pod).await;
    let started = home.pod("p", |pod| phase(pod) == "Running").await;
    assert!(!is_ready(&started), "ready before the server answered");
    home.pod("p", is_ready).await;
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ends_restarts_in_place() {
    let mut home = Home::start();
    let script = "test -e again && exec cat; touch again; echo first=1; exit 3";
    let created = home.create_pod(&pod_running("p", &["bash", "-c", script])).await;
    let pod = home.pod("p", |pod| is_ready(pod) && containers(pod)[0].restart_count == 1).await;
    assert_eq!(pod.metadata.uid, created.metadata.uid);
    let last = containers(&pod)[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal), (3, None));
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_killed_container_restarts_in_place_and_its_orphans_are_gone() {
    let mut home = Home::start();
    let mut pod = pod_running("p", &["bash", "-c", WITH_ORPHAN]);
    let runtimed = json!({"name": "runtimed", "image": "runtimed"});
    pod["spec"]["containers"].as_array_mut().unwrap().push(runtimed);
    let created = home.create_pod(&pod).await;
    let pod = home.pod("p", is_ready).await;
    let orphan: i32 = home.line("p", "runtime", "child").await.parse().unwrap();
    assert!(is_alive(orphan));
    kill(pids(&pod)[0]);
    let pod = home.pod("p", |pod| is_ready(pod) && containers(pod)[0].restart_count == 1).await;
    assert_eq!(pod.metadata.uid, created.metadata.uid);
    assert!(!is_alive(orphan), "an orphan outlived its container");
    let last = containers(&pod)[0].last_state.clone().unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal), (137, Some(9)));
    assert_eq!(containers(&pod)[1].restart_count, 0);
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_leaves_nothing() {
    let mut home = Home::start();
    let script = format!("trap '' TERM; echo ready=1; {WITH_ORPHAN}");
    let mut pod = pod_running("p", &["bash", "-c", &script]);
    pod["spec"]["terminationGracePeriodSeconds"] = json!(1);
    home.create_pod(&pod).await;
    let pod = home.pod("p", is_ready).await;
    let child: i32 = home.line("p", "runtime", "child").await.parse().unwrap();
    home.pods().delete("p", &DeleteParams::default()).await.unwrap();
    home.no_pod("p").await;
    for pid in pids(&pod).into_iter().chain([child]) {
        assert!(!is_alive(pid), "{pid} is left");
    }
    assert!(!home.directory.join("pods").join(pod.metadata.uid.unwrap()).exists());
    assert!(home.tokens.0.lock().unwrap().is_empty());
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_node_leaves_no_process() {
    let mut home = Home::start();
    let script = format!("trap '' TERM; {WITH_ORPHAN}");
    home.create_pod(&pod_running("p", &["bash", "-c", &script])).await;
    let pod = home.pod("p", is_ready).await;
    let child: i32 = home.line("p", "runtime", "child").await.parse().unwrap();
    let start = std::time::Instant::now();
    home.stop().await;
    assert!(start.elapsed().as_secs_f64() < 3.0, "{:?}", start.elapsed());
    for pid in pids(&pod).into_iter().chain([child]) {
        assert!(!is_alive(pid), "{pid} is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_run_says_why_and_harms_no_other() {
    let mut home = Home::start();
    let mut unknown = pod_running("unknown", &[]);
    unknown["metadata"]["annotations"] = json!({});
    home.create_pod(&unknown).await;
    let mut hostile = pod_running("hostile", &[]);
    hostile["metadata"]["annotations"]["kruntimes.io/local-command"] = json!("{\"a\":[[[");
    home.create_pod(&hostile).await;
    home.create_pod(&pod_running("missing", &["/no/such/program"])).await;
    home.create_pod(&pod_running("good", &["cat"])).await;
    home.pod("good", is_ready).await;
    for (name, reason) in [("unknown", "ImageNotServedLocally"), ("hostile", "InvalidLocalCommand")]
    {
        let waits = |pod: &_| {
            let states = containers(pod).into_iter().filter_map(|status| status.state?.waiting);
            states.into_iter().any(|waiting| waiting.reason.as_deref() == Some(reason))
        };
        let pod = home.pod(name, waits).await;
        assert_eq!(phase(&pod), "Pending");
    }
    let missing = home.pod("missing", |pod| !containers(pod).is_empty()).await;
    let message = containers(&missing)[0].state.clone().unwrap().waiting.unwrap().message.unwrap();
    assert!(message.contains("can't be started"), "{message}");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_not_restarted_ends_with_its_processes() {
    let mut home = Home::start();
    for (name, script, want) in [("good", "exit 0", "Succeeded"), ("bad", "exit 7", "Failed")] {
        let mut pod = pod_running(name, &["bash", "-c", script]);
        pod["spec"]["restartPolicy"] = json!("Never");
        home.create_pod(&pod).await;
        let pod = home.pod(name, |pod| phase(pod) == want).await;
        let ended = containers(&pod)[0].state.clone().unwrap().terminated.unwrap();
        assert_eq!(format!("exit {}", ended.exit_code), script);
    }
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_others_stay() {
    let mut home = Home::start();
    let script = "trap 'exit 3' USR1; exec 3<&0; cat <&3 & echo self=$$; wait";
    home.create_pod(&pod_running("p", &["bash", "-c", script])).await;
    let pod = home.pod("p", is_ready).await;
    let mut conditions = pod.status.unwrap().conditions.unwrap();
    let foreign =
        json!({"type": "kruntimes.io/RuntimedReady", "status": "True", "reason": "Serving"});
    conditions.push(serde_json::from_value(foreign).unwrap());
    let patch = json!({"metadata": {"annotations": {"kruntimes.io/control-token": "t"}},
        "status": {"conditions": conditions}});
    home.pods().patch_status("p", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let main: i32 = home.line("p", "runtime", "self").await.parse().unwrap();
    let pid = rustix::process::Pid::from_raw(main).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    let pod = home.pod("p", |pod| is_ready(pod) && containers(pod)[0].restart_count == 1).await;
    let conditions = pod.status.unwrap().conditions.unwrap();
    let kept = conditions.iter().find(|condition| condition.type_ == "kruntimes.io/RuntimedReady");
    assert_eq!(kept.unwrap().reason.as_deref(), Some("Serving"));
    home.stop().await;
}

/// Notes what it is asked and told; its hook is answered once the file `go` exists.
const WITH_HOOK: &str = r#"
import http.server, os, signal, sys, time
home = sys.argv[1]
def note(text):
    with open(home + "/order", "a") as file:
        file.write(text + "\n")
def told(*_):
    note("told")
    os._exit(0)
signal.signal(signal.SIGTERM, told)
class Hook(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        note("asked " + self.path)
        print("hook=asked", flush=True)
        with open(home + "/go") as go:
            go.read()
        note("answered")
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer((os.environ["KRUNTIMES_LOOPBACK"], 9094), Hook)
print("listens=yes", flush=True)
server.serve_forever()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_container_with_a_hook_is_told_to_end_when_the_hook_is_answered() {
    let mut home = Home::start();
    let directory = home.directory.to_str().unwrap().to_owned();
    let go = home.directory.join("go");
    let made = std::process::Command::new("mkfifo").arg(&go).status().unwrap();
    assert!(made.success());
    let mut pod = pod_running("p", &["python3", "-c", WITH_HOOK, &directory]);
    pod["spec"]["containers"][0]["lifecycle"] =
        json!({"preStop": {"httpGet": {"path": "/drain", "port": 9094}}});
    home.create_pod(&pod).await;
    home.pod("p", |pod| phase(pod) == "Running").await;
    assert_eq!(home.line("p", "runtime", "listens").await, "yes");
    home.pods().delete("p", &DeleteParams::default()).await.unwrap();
    assert_eq!(home.line("p", "runtime", "hook").await, "asked");
    let leaving = home.pod("p", |pod| pod.metadata.deletion_timestamp.is_some()).await;
    assert!(is_alive(pids(&leaving)[0]));
    tokio::fs::write(go, "").await.unwrap();
    home.no_pod("p").await;
    let order = std::fs::read_to_string(home.directory.join("order")).unwrap();
    assert_eq!(order, "asked /drain\nanswered\ntold\n");
    home.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_says_that_its_containers_have_terminated_before_it_goes() {
    let mut home = Home::start();
    home.create_pod(&pod_running("p", &["bash", "-c", "exec cat"])).await;
    home.pod("p", is_ready).await;
    let events = watcher(home.pods(), watcher::Config::default());
    let mut events = std::pin::pin!(events);
    let mut last = None;
    while let Some(event) = events.next().await {
        match event.unwrap() {
            watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => last = Some(pod),
            watcher::Event::InitDone => {
                home.pods().delete("p", &DeleteParams::default()).await.unwrap();
            }
            watcher::Event::Delete(_) => break,
            watcher::Event::Init => {}
        }
    }
    let last = last.unwrap();
    assert!(last.metadata.deletion_timestamp.is_some());
    assert!(containers(&last)[0].state.as_ref().unwrap().terminated.is_some(), "{last:?}");
    home.stop().await;
}
