//! What a runtimed's token is good for in other hands, and what the scheduler's and the controller's are.

use super::token::{self, Answer, Ask, Row};
use super::{SYSTEM, apply, block_on, in_namespace};
use crate::cluster::test::World;
use crate::suite::Tools;
use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// Two Runs that stand on different pods, and one that waits for a Runtime that is not there.
struct Scene {
    namespace: String,
    account: String,
    /// The pod of the thief, and its Run.
    own: (String, String),
    neighbour: String,
}

const RUNS: &str = "
apiVersion: kruntimes.io/v1alpha1
kind: Run
metadata: {name: one}
spec: {runtime: bash, args: [sleep 600]}
---
apiVersion: kruntimes.io/v1alpha1
kind: Run
metadata: {name: two}
spec: {runtime: bash, args: [sleep 600]}
---
apiVersion: kruntimes.io/v1alpha1
kind: Run
metadata: {name: waits}
spec: {runtime: nowhere, args: ['true']}
";

impl Scene {
    fn set(tools: &Tools, namespace: &str) -> anyhow::Result<Self> {
        apply(tools, namespace, RUNS)?;
        tools.kubectl(&format!(
            "wait -n {namespace} --for=jsonpath={{.status.phase}}=Running run/one run/two --timeout=60s"
        ))?;
        let read = |object: &str, path: &str| {
            tools.kubectl(&format!("get -n {namespace} {object} -o jsonpath={{{path}}}"))
        };
        let own = read("run/one", ".status.assignedPod")?;
        let neighbour = read("run/two", ".status.assignedPod")?;
        ensure!(own != neighbour, "both Runs are on {own}");
        let uid = read("run/one", ".status.assignedPodUID")?;
        let account = read(&format!("pod/{own}"), ".spec.serviceAccountName")?;
        Ok(Self { namespace: namespace.to_owned(), account, own: (own, uid), neighbour })
    }

    fn core(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    fn group(&self, group: &str, plural: &str) -> String {
        format!("/apis/{group}/namespaces/{}/{plural}", self.namespace)
    }

    fn runs(&self) -> String {
        self.group("kruntimes.io/v1alpha1", "runs")
    }

    fn leases(&self) -> String {
        self.group("coordination.k8s.io/v1", "leases")
    }

    fn lease(&self, name: &str, metadata: Value) -> Ask {
        let mut metadata = metadata;
        metadata["name"] = json!(name);
        metadata["namespace"] = json!(self.namespace);
        Ask::Create(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
            "spec": {"holderIdentity": "thief"},
        }))
    }

    fn event(&self, api_version: &str, kind: &str, name: &str) -> Ask {
        Ask::Create(json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"generateName": "thief-", "namespace": self.namespace},
            "involvedObject": {
                "apiVersion": api_version, "kind": kind, "name": name, "namespace": self.namespace,
            },
            "reason": kruntimes_api::Reason::PodGone.as_str(), "message": "m", "type": "Normal",
        }))
    }

    /// What the token of a pod is for.
    fn its_own(&self) -> Vec<Row> {
        let pod = self.own.0.clone();
        let ready = json!({"type": "kruntimes.io/RuntimedReady", "status": "True"});
        vec![
            ("status of its Run", self.runs(), Ask::Status("one".into(), message())),
            ("end of its Run", self.runs(), Ask::Status("one".into(), phase("Succeeded"))),
            // It has one: it executes a Run.
            (
                "its Lease",
                self.leases(),
                Ask::Change(pod.clone(), json!({"spec": {"leaseDurationSeconds": 31}})),
            ),
            (
                "its readiness",
                self.core("pods"),
                Ask::Strategic(
                    pod,
                    json!({
                        "metadata": {"annotations": {"kruntimes.io/control-token": "t"}},
                        "status": {"conditions": [ready]},
                    }),
                ),
            ),
            (
                "an Event about a Run",
                self.core("events"),
                self.event("kruntimes.io/v1alpha1", "Run", "one"),
            ),
        ]
    }

    /// What no runtimed may do, whatever it shows.
    fn nobody(&self) -> Vec<Row> {
        let mut rows = self.on_runs();
        rows.extend(self.on_pods());
        rows.extend(self.elsewhere());
        rows
    }

    fn on_runs(&self) -> Vec<Row> {
        let runs = || self.runs();
        let change = |run: &str, body| Ask::Change(run.into(), body);
        let owner = json!([{
            "apiVersion": "v1", "kind": "Pod", "name": self.own.0, "uid": self.own.1,
        }]);
        vec![
            ("a neighbour's status", runs(), Ask::Status("two".into(), message())),
            ("a neighbour's end", runs(), Ask::Status("two".into(), phase("Failed"))),
            (
                "an assignment",
                runs(),
                Ask::Status(
                    "waits".into(),
                    json!({"status": {
                        "phase": "Scheduled", "attempt": 1,
                        "assignedPod": self.own.0, "assignedPodUID": self.own.1,
                    }}),
                ),
            ),
            ("its own Run cancelled", runs(), change("one", cancel())),
            ("a neighbour cancelled", runs(), change("two", cancel())),
            ("a label", runs(), change("two", json!({"metadata": {"labels": {"a": "b"}}}))),
            (
                "a finalizer",
                runs(),
                change("two", json!({"metadata": {"finalizers": ["thief.example/block"]}})),
            ),
            ("an owner", runs(), change("two", json!({"metadata": {"ownerReferences": owner}}))),
            ("a deletion", runs(), Ask::Delete("two".into())),
            (
                "a new Run",
                runs(),
                Ask::Create(json!({
                    "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run",
                    "metadata": {"name": "new"}, "spec": {"runtime": "bash", "args": ["true"]},
                })),
            ),
        ]
    }

    fn on_pods(&self) -> Vec<Row> {
        let pods = || self.core("pods");
        let own = |body| Ask::Strategic(self.own.0.clone(), body);
        let condition =
            |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "False"}]}});
        let neighbour = self.neighbour.clone();
        vec![
            (
                "a neighbour's readiness",
                pods(),
                Ask::Strategic(neighbour.clone(), condition("kruntimes.io/RuntimedReady")),
            ),
            ("the kubelet's condition", pods(), own(condition("Ready"))),
            ("the pod's phase", pods(), own(json!({"status": {"phase": "Failed"}}))),
            ("the pod's address", pods(), own(json!({"status": {"podIP": "10.0.0.1"}}))),
            ("a pod's label", pods(), own(json!({"metadata": {"labels": {"runtime": "other"}}}))),
            ("an annotation", pods(), own(json!({"metadata": {"annotations": {"a": "b"}}}))),
            ("a pod's finalizer", pods(), own(json!({"metadata": {"finalizers": ["a.b/c"]}}))),
            ("a pod's deletion", pods(), Ask::Delete(neighbour)),
            (
                "a new pod",
                pods(),
                Ask::Create(json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new"},
                    "spec": {"containers": [{"name": "a", "image": "localhost/pause:e2e"}]},
                })),
            ),
        ]
    }

    fn elsewhere(&self) -> Vec<Row> {
        let finalizer = json!({"finalizers": ["thief.example/block"]});
        let owner = json!({"ownerReferences": [{
            "apiVersion": "v1", "kind": "Pod", "name": self.neighbour, "uid": "no-uid-of-its-own",
        }]});
        vec![
            ("a neighbour's Lease", self.leases(), self.lease(&self.neighbour, json!({}))),
            ("another Lease", self.leases(), self.lease("leader", json!({}))),
            ("a Lease that blocks", self.leases(), self.lease(&self.own.0, finalizer)),
            ("a Lease that is owned", self.leases(), self.lease(&self.own.0, owner)),
            ("an Event about a pod", self.core("events"), self.event("v1", "Pod", &self.neighbour)),
            ("the Secrets", self.core("secrets"), Ask::List),
            ("a Secret", self.core("secrets"), Ask::Get("any".into())),
            ("the ConfigMaps", self.core("configmaps"), Ask::List),
            ("the pods", self.core("pods"), Ask::List),
            (
                "a ServiceAccount",
                self.core("serviceaccounts"),
                Ask::Create(json!({
                    "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "new"},
                })),
            ),
            (
                "more rights",
                self.group("rbac.authorization.k8s.io/v1", "roles"),
                Ask::Change(self.account.clone(), json!({"rules": []})),
            ),
            ("Runs elsewhere", "/apis/kruntimes.io/v1alpha1/runs".to_owned(), Ask::List),
        ]
    }
}

fn message() -> Value {
    json!({"status": {"message": "written by the thief"}})
}

fn phase(phase: &str) -> Value {
    json!({"status": {"phase": phase}})
}

fn cancel() -> Value {
    json!({"spec": {"cancelRequested": true}})
}

fn label() -> Value {
    json!({"metadata": {"labels": {"team": "another"}}})
}

/// With the token of a pod, and with one of the same ServiceAccount that is bound to no pod.
pub(super) fn steals(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    in_namespace(world, "rights-thief", |namespace| {
        let scene = Scene::set(tools, namespace)?;
        let (pod, uid) = (scene.own.0.as_str(), scene.own.1.as_str());
        let bound = token::make(tools, namespace, &scene.account, Some((pod, uid)))?;
        let unbound = token::make(tools, namespace, &scene.account, None)?;
        block_on(async {
            let thief = token::client(tools, bound).await?;
            token::check(&thief, "bound", Answer::Done, scene.its_own()).await?;
            token::check(&thief, "bound", Answer::Refused, scene.nobody()).await?;
            let thief = token::client(tools, unbound).await?;
            token::check(&thief, "unbound", Answer::Refused, scene.its_own()).await?;
            token::check(&thief, "unbound", Answer::Refused, scene.nobody()).await?;
            smuggles(tools, &scene).await
        })
    })
}

/// What a patch of the status says of metadata or spec is not taken.
async fn smuggles(tools: &Tools, scene: &Scene) -> anyhow::Result<()> {
    let pod = Some((scene.own.0.as_str(), scene.own.1.as_str()));
    let bound = token::make(tools, &scene.namespace, &scene.account, pod)?;
    let thief = token::client(tools, bound).await?;
    let body = json!({
        "metadata": {"labels": {"a": "b"}, "finalizers": ["thief.example/block"]},
        "spec": {"cancelRequested": true},
        "status": {"message": "smuggled"},
    });
    let run: kube::Api<kruntimes_api::Run> = kube::Api::namespaced(thief, &scene.namespace);
    let patch = kube::api::Patch::Merge(&body);
    let written = run.patch_status("one", &kube::api::PatchParams::default(), &patch).await?;
    let status = written.status.context("the Run has no status")?;
    ensure!(status.message.as_deref() == Some("smuggled"), "the status was not written");
    ensure!(written.metadata.labels.is_none(), "a label was written through the status");
    ensure!(written.metadata.finalizers.is_none(), "a finalizer was written through the status");
    ensure!(written.spec.cancel_requested.is_none(), "a Run was cancelled through its status");
    Ok(())
}

/// The transitions of the others' rows are refused to each, and all that is no status.
pub(super) fn keeps_rows(world: &World) -> anyhow::Result<()> {
    let tools = &world.tools;
    in_namespace(world, "rights-rows", |namespace| {
        let scene = Scene::set(tools, namespace)?;
        let status = |run: &str, body| (scene.runs(), Ask::Status(run.into(), body));
        let row = |what, (path, ask): (String, Ask)| -> Row { (what, path, ask) };
        let (pod, uid) = (&scene.own.0, &scene.own.1);
        let assigned = json!({"status": {
            "phase": "Scheduled", "attempt": 1, "assignedPod": pod, "assignedPodUID": uid,
        }});
        let back = json!({"status": {"phase": "Pending", "assignedPod": null}});
        let common = || {
            vec![
                row("success", status("one", phase("Succeeded"))),
                row("a status that stays", status("one", message())),
                row("a spec", (scene.runs(), Ask::Change("one".into(), cancel()))),
                row("a label", (scene.runs(), Ask::Change("one".into(), label()))),
                row("the Secrets", (scene.core("secrets"), Ask::List)),
            ]
        };
        block_on(async {
            let scheduler = token::make(tools, SYSTEM, "kruntimes-scheduler", None)?;
            let scheduler = token::client(tools, scheduler).await?;
            let mine = vec![
                row("an assignment", status("waits", assigned.clone())),
                row("a message", status("waits", message())),
                row("a cancellation", status("waits", phase("Cancelled"))),
                row("a failure", status("waits", phase("Failed"))),
            ];
            token::check(&scheduler, "scheduler", Answer::Done, mine).await?;
            let mut others = common();
            others.push(row("a failure of a Run that runs", status("one", phase("Failed"))));
            others.push(row("a Run taken back", status("one", back.clone())));
            others.push(row("a deletion", (scene.runs(), Ask::Delete("one".into()))));
            token::check(&scheduler, "scheduler", Answer::Refused, others).await?;

            let controller = token::make(tools, SYSTEM, "kruntimes-controller", None)?;
            let controller = token::client(tools, controller).await?;
            let mine = vec![
                row("a Run taken back", status("one", back)),
                row("a failure", status("one", phase("Failed"))),
                row("a cancellation", status("one", phase("Cancelled"))),
                row("a deletion", (scene.runs(), Ask::Delete("one".into()))),
            ];
            token::check(&controller, "controller", Answer::Done, mine).await?;
            let mut others = common();
            others.push(row("an assignment", status("waits", assigned)));
            others.push(row("a failure of a Run that waits", status("waits", phase("Failed"))));
            others.push(row("a timeout", status("one", phase("Timeout"))));
            token::check(&controller, "controller", Answer::Refused, others).await
        })
    })
}
