//! What users of a cluster rely on, with kubectl and krt: output by port-forward, pods of one's own namespace, secrets
//! that stay where they are, a controller that is quiet when nothing changes.

use super::etcd;
use super::place::Place;
use crate::suite::{Tools, contains};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// Runs of each tenant.
const RUNS: usize = 100;
const CANARY: &str = "canary-7f2b9c41d0e8";

/// Applies objects.
pub(super) fn apply(tools: &Tools, namespace: &str, objects: &Value) -> anyhow::Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, objects)?;
    tools.kubectl(&format!("apply -n {namespace} -f {}", file.path().display()))
}

pub(super) fn json_of(tools: &Tools, arguments: &str) -> anyhow::Result<Value> {
    serde_json::from_str(&tools.kubectl(&format!("{arguments} -o json"))?)
        .with_context(|| format!("kubectl {arguments}"))
}

pub(super) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The pool of the namespace `default`, for another namespace.
pub(super) fn pool(tools: &Tools) -> anyhow::Result<Value> {
    let pool = json_of(tools, "get runtime bash")?;
    Ok(json!({
        "apiVersion": pool["apiVersion"], "kind": "Runtime",
        "metadata": {"name": "bash"}, "spec": pool["spec"],
    }))
}

pub(super) fn run(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["runtime"] = json!("bash");
    json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
        "metadata": {"name": name}, "spec": spec,
    })
}

/// `krt run` and `krt logs`, live and after the end, through the API server's port-forward.
pub(super) fn output(tools: &Tools) -> anyhow::Result<()> {
    let said = tools.krt("run -- echo it works")?;
    ensure!(said == "it works\n", "krt run says {said:?}");
    let script = "echo one; until [ -e go ]; do sleep 0.1; done; echo two";
    apply(tools, "default", &run("followed", &json!({"args": [script]})))?;
    let mut lines = tools.follow("logs -f followed")?;
    ensure!(lines.next_line()? == "one", "the first line is not live");
    // The Run waits for a file in its workspace, which no one makes: it is cancelled, and what it wrote stays.
    tools.krt("cancel followed")?;
    lines.end()?;
    let after = tools.krt("logs followed")?;
    ensure!(after == "one\n", "krt logs after the end says {after:?}");
    tools.kubectl("delete run followed")?;
    Ok(())
}

/// A user without the right to forward ports is told which right it is; one with the submitter's role has it.
pub(super) fn rights(tools: &Tools) -> anyhow::Result<()> {
    let said = tools.krt("run --no-wait -- echo mine")?;
    let name = said.trim().rsplit('/').next().unwrap_or_default().to_owned();
    tools.kubectl(&format!("wait --for=condition=Finished run/{name} --timeout=60s"))?;
    tools.kubectl("create serviceaccount reader")?;
    tools.kubectl("create role reader --verb=get,list,watch --resource=runs.kruntimes.io,pods")?;
    tools.kubectl("create rolebinding reader --role=reader --serviceaccount=default:reader")?;
    let reader = tools.as_service_account("reader")?;
    let refused = reader.krt_refused(&format!("logs {name}"))?;
    contains(&refused, &["pods/portforward", "namespace default", "get and create"])?;
    contains(&reader.krt_refused("run -- true")?, &["cannot create resource \"runs\""])?;
    contains(&reader.krt_refused("runtime list")?, &["cannot list resource \"runtimes\""])?;
    tools.kubectl("create serviceaccount submitter")?;
    tools.kubectl(
        "create rolebinding submitter --clusterrole=kruntimes-submitter --serviceaccount=default:submitter",
    )?;
    let submitter = tools.as_service_account("submitter")?;
    ensure!(submitter.krt(&format!("logs {name}"))? == "mine\n", "a submitter sees no output");
    ensure!(submitter.krt("run -- echo yes")? == "yes\n", "a submitter's Run says nothing");
    let patch = r#"patch run NAME --subresource=status --type=merge -p={"status":{"message":"x"}}"#;
    contains(&submitter.refused(&patch.replace("NAME", &name))?, &["runs/status", "forbidden"])?;
    tools.kubectl("delete serviceaccount/reader serviceaccount/submitter role/reader")?;
    tools.kubectl("delete rolebinding/reader rolebinding/submitter")?;
    Ok(())
}

/// Two tenants with a pool each: their Runs end, on pods of their own namespace, and no Service is there.
pub(super) fn tenants(tools: &Tools) -> anyhow::Result<()> {
    let pool = pool(tools)?;
    let tenants = ["tenant-a", "tenant-b"];
    for tenant in tenants {
        tools.kubectl(&format!("create namespace {tenant}"))?;
        tools.kubectl(&format!(
            "label namespace {tenant} pod-security.kubernetes.io/enforce=restricted"
        ))?;
        apply(tools, tenant, &pool)?;
    }
    for tenant in tenants {
        tools.kubectl(&format!(
            "wait -n {tenant} --for=condition=Ready runtime/bash --timeout=180s"
        ))?;
        let runs: Vec<Value> =
            (0..RUNS).map(|n| run(&format!("r{n}"), &json!({"args": ["true"]}))).collect();
        apply(tools, tenant, &json!({"apiVersion": "v1", "kind": "List", "items": runs}))?;
    }
    for tenant in tenants {
        tools.kubectl(&format!(
            "wait -n {tenant} --for=condition=Finished runs --all --timeout=180s"
        ))?;
        let pods = json_of(tools, &format!("get pods -n {tenant}"))?;
        let own: Vec<&str> = items(&pods).map(|pod| text(pod, "/metadata/uid")).collect();
        let runs = json_of(tools, &format!("get runs -n {tenant}"))?;
        ensure!(items(&runs).count() == RUNS, "{tenant} has not {RUNS} Runs");
        for run in items(&runs) {
            let (phase, pod) = (text(run, "/status/phase"), text(run, "/status/assignedPodUID"));
            ensure!(phase == "Succeeded", "{}: {phase}", text(run, "/metadata/name"));
            ensure!(own.contains(&pod), "a Run of {tenant} was on another namespace's pod {pod}");
        }
        let services = tools.kubectl(&format!("get services -n {tenant} -o name"))?;
        ensure!(services.is_empty(), "{tenant} has {services}");
    }
    for tenant in tenants {
        tools.kubectl(&format!("delete namespace {tenant} --timeout=240s"))?;
    }
    Ok(())
}

/// A namespace ends although a Run executes in it that would take far longer.
pub(super) fn namespace_ends(tools: &Tools) -> anyhow::Result<()> {
    let pool = pool(tools)?;
    tools.kubectl("create namespace ending")?;
    apply(tools, "ending", &pool)?;
    tools.kubectl("wait -n ending --for=condition=Ready runtime/bash --timeout=180s")?;
    apply(tools, "ending", &run("long", &json!({"args": ["sleep 250"]})))?;
    tools
        .kubectl("wait -n ending --for=jsonpath={.status.phase}=Running run/long --timeout=60s")?;
    tools.kubectl("delete namespace ending --timeout=60s")?;
    Ok(())
}

/// A Secret that reaches a Run is in no other object, no log of a pod and no line of the audit log.
pub(super) fn canary(tools: &Tools) -> anyhow::Result<()> {
    tools.kubectl(&format!("create secret generic canary --from-literal=value={CANARY}"))?;
    apply(tools, "default", &run("not-allowed", &with_canary()))?;
    tools.kubectl("wait --for=condition=Finished run/not-allowed --timeout=60s")?;
    let reason = tools.kubectl("get run not-allowed -o jsonpath={.status.reason}")?;
    ensure!(reason == "EnvNotAllowed", "a Secret that the Runtime does not list: {reason}");

    tools
        .kubectl(r#"patch runtime bash --type=merge -p {"spec":{"allowedSecrets":["canary"]}}"#)?;
    tools.kubectl("rollout status deployment/runtime-bash --timeout=180s")?;
    apply(tools, "default", &run("with-canary", &with_canary()))?;
    tools.kubectl("wait --for=condition=Finished run/with-canary --timeout=60s")?;
    let said = tools.krt("logs with-canary")?;
    ensure!(said == format!("{} {}\n", CANARY.len(), &CANARY[..6]), "the Run saw {said:?}");
    let mut logs = String::new();
    // Those of the rollout before may be gone by the time they are asked for.
    let pods = json_of(tools, "get pods -l runtime=bash")?;
    for pod in items(&pods).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        let name = text(pod, "/metadata/name");
        logs.push_str(&tools.kubectl(&format!("logs {name} --all-containers"))?);
    }
    logs.push_str(
        &tools.kubectl("logs -n kruntimes-system -l app.kubernetes.io/name=kruntimes --tail=-1")?,
    );
    ensure!(logs.contains("with-canary"), "the logs say nothing of the Run");
    ensure!(!logs.contains(CANARY), "the Secret is in a log");
    tools.kubectl(r#"patch runtime bash --type=merge -p {"spec":{"allowedSecrets":null}}"#)?;
    tools.kubectl("rollout status deployment/runtime-bash --timeout=180s")?;
    Ok(())
}

fn with_canary() -> Value {
    json!({
        "args": ["echo ${#VALUE} ${VALUE:0:6}"],
        "env": [{"name": "VALUE", "valueFrom": {"secretKeyRef": {"name": "canary", "key": "value"}}}],
    })
}

/// After [`canary`], on a cluster whose disk can be read: the Secret is in no key of etcd but its own, and in no line of
/// the audit log.
pub(super) fn canary_at_rest(tools: &Tools, place: &Place) -> anyhow::Result<()> {
    let secret = tools.kubectl("get secret canary -o jsonpath={.data.value}")?;
    let mut keys = Vec::new();
    for (key, value) in etcd::all()? {
        if [CANARY, secret.as_str()].iter().any(|text| holds(&value, text)) {
            keys.push(String::from_utf8_lossy(&key).into_owned());
        }
    }
    ensure!(keys == ["/registry/secrets/default/canary"], "the Secret is in {keys:?}");
    let audit = std::fs::read_to_string(place.cluster("audit.log"))?;
    ensure!(audit.contains("with-canary"), "the audit log says nothing of the Run");
    for line in audit.lines() {
        ensure!(
            ![CANARY, secret.as_str()].iter().any(|text| line.contains(text)),
            "in the audit log: {line}"
        );
    }
    tools.kubectl("delete secret canary")?;
    Ok(())
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// While nothing changes the controller asks for nothing: no request of its but what keeps its Lease and its watches.
pub(super) fn quiet(tools: &Tools, place: &Place, time: Duration) -> anyhow::Result<()> {
    const CONTROLLER: &str = "system:serviceaccount:kruntimes-system:kruntimes-controller";
    tools.kubectl("wait --for=condition=Ready runtime/bash --timeout=180s")?;
    let log = place.cluster("audit.log");
    let before = std::fs::metadata(&log)?.len();
    std::thread::sleep(time);
    let written = std::fs::read(&log)?;
    let fresh = written.get(usize::try_from(before)?..).context("the audit log was cut")?;
    let mut renewals = 0;
    for line in std::str::from_utf8(fresh)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        if event["user"]["username"] != CONTROLLER {
            continue;
        }
        let (verb, resource) = (&event["verb"], &event["objectRef"]["resource"]);
        if *resource == "leases" {
            renewals += 1;
            continue;
        }
        // The probe of the kubelet lists one Runtime.
        let probe = *verb == "list" && text(&event, "/requestURI").contains("limit=1");
        ensure!(probe || *verb == "watch", "the controller sent {verb} {}", event["requestURI"]);
    }
    ensure!(renewals > 0, "the audit log shows nothing of the controller");
    Ok(())
}
