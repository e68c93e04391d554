//! `krt workflow` beside the shared local home: from a file to the tree, the logs and the next try.

use crate::api::{block_on, client};
use crate::support::{Ended, User, finish_with_input, shared};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use kube::runtime::conditions::is_deleted;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

fn run(args: &[&str], file: &str) -> Ended {
    let args = [&["workflow", "run", "-f", "-"], args].concat();
    finish_with_input(&mut shared().krt(&args), file.as_bytes())
}

fn get(name: &str) -> Value {
    serde_json::from_str(shared().run(&["workflow", "get", name, "-o", "json"]).expect(0).out())
        .unwrap()
}

/// The lines of a tree without what branches and times make of them: `job Succeeded`.
fn tree(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words = line.trim_start_matches(|c: char| !c.is_alphanumeric()).split("  ");
        words.take(2).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

const MANIFEST: &str = r#"
apiVersion: kruntimes.io/v1alpha1
kind: Workflow
metadata: {name: chain}
spec:
  inputs: {who: {default: nobody}}
  jobs:
    build:
      runs-on: bash
      outputs: {version: "v${{ steps.compile.outputs.version }}"}
      steps:
      - {name: compile, run: 'echo "version=1 $(echo 2)" > "$KRUNTIME_OUTPUTS"; echo compiled'}
      - {name: pack, run: 'echo "${{ steps.compile.outputs.version }} for ${{ inputs.who }}"'}
    test:
      runs-on: bash
      needs: [build]
      strategy: {matrix: {os: [a, b]}}
      steps: [{name: t, run: 'echo "testing ${{ matrix.os }} ${{ needs.build.outputs.version }}"'}]
"#;

#[test]
fn a_workflow_is_followed_to_its_end_and_its_steps_can_be_read() {
    let followed = run(&["--set", "who=Ada; exit 1"], MANIFEST);
    let shown = tree(followed.expect(0).out());
    let want = [
        "chain Succeeded",
        "build Succeeded",
        "compile Succeeded",
        "pack Succeeded",
        "test Succeeded",
        "a Succeeded",
        "t Succeeded",
        "b Succeeded",
        "t Succeeded",
    ];
    assert_eq!(shown, want);
    assert!(followed.stderr.contains("build/compile  Succeeded"), "{}", followed.stderr);
    let logs = shared().run(&["workflow", "logs", "chain"]);
    let mut lines: Vec<&str> = logs.expect(0).out().lines().collect();
    lines.sort_unstable();
    let want = [
        "build/compile: compiled",
        "build/pack: 1 2 for Ada; exit 1",
        "test/a/t: testing a v1 2",
        "test/b/t: testing b v1 2",
    ];
    assert_eq!(lines, want);
    let one = shared().run(&["workflow", "logs", "chain", "--follow", "--job", "build"]);
    assert_eq!(one.expect(0).out(), "build/compile: compiled\nbuild/pack: 1 2 for Ada; exit 1\n");
    assert_eq!(tree(shared().run(&["wf", "get", "chain"]).expect(0).out()), shown);
    let listed = shared().run(&["workflow", "list"]);
    let row = listed.out().lines().find(|line| line.starts_with("chain ")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>()[1..4], ["default", "Succeeded", "2/2"]);
    let graph = shared().run(&["workflow", "graph", "chain"]);
    assert_eq!(
        graph.expect(0).out(),
        "✓ build  (2 steps)\n  ✓ test  (1 step, matrix)  needs build\n"
    );
}

#[test]
fn a_file_of_github_runs_and_what_failed_can_be_tried_again() {
    let file = r#"
name: Fails at First
jobs:
  lint: {steps: [{run: "echo linted"}]}
  test:
    needs: lint
    steps:
    - name: Try it
      run: test -e "$0.never"
  report:
    needs: [test]
    if: failure()
    steps: [{run: 'echo "test was ${{ needs.test.result }}"'}]
"#;
    let failed = run(&[], file);
    let shown = tree(failed.expect(1).out());
    let name = shown[0].split(' ').next().unwrap().to_owned();
    assert!(name.starts_with("fails-at-first-"), "{name}");
    assert_eq!(shown[0], format!("{name} Failed"));
    let again = shared().run(&["workflow", "rerun", &name, "--failed"]);
    let shown = tree(again.expect(1).out());
    let second = shown[0].split(' ').next().unwrap();
    let object = get(second);
    let reused = json!({"workflow": name, "uid": get(&name)["metadata"]["uid"], "jobs": ["lint"]});
    assert_eq!(object["spec"]["reuse"], reused);
    let logs = shared().run(&["workflow", "logs", second]);
    assert_eq!(logs.expect(0).out(), "report/step-1: test was failure\n");
    let unknown = shared().run(&["workflow", "rerun", &name, "--from", "nothing"]);
    assert!(unknown.expect(2).stderr.contains("has no job nothing"), "{}", unknown.stderr);
}

#[test]
fn a_job_waits_for_its_approval() {
    let file = r#"
apiVersion: kruntimes.io/v1alpha1
kind: Workflow
metadata: {name: gate}
spec:
  jobs:
    deploy: {runs-on: bash, approval: required, steps: [{name: s, run: "true"}]}
"#;
    let created = run(&["--no-wait"], file);
    assert_eq!(created.expect(0).out(), "Workflow gate created\n");
    let waits = shared().run(&["workflow", "approve", "gate", "nothing"]);
    assert!(waits.expect(125).stderr.contains("gate has no job nothing with approval: required"));
    shared().run(&["workflow", "approve", "gate", "deploy"]).expect(0);
    let watched = shared().run(&["workflow", "watch", "gate"]);
    assert_eq!(tree(watched.expect(0).out())[0], "gate Succeeded");
    shared().run(&["workflow", "delete", "gate"]).expect(0);
    let gone = shared().run(&["workflow", "watch", "gate"]);
    assert!(gone.expect(125).stderr.contains("\"gate\" not found"), "{}", gone.stderr);
}

#[test]
fn a_workflow_that_is_cancelled_ends_what_runs() {
    let file = r#"
apiVersion: kruntimes.io/v1alpha1
kind: Workflow
metadata: {name: slow}
spec:
  jobs:
    a: {runs-on: bash, steps: [{name: s, run: "sleep 600"}, {name: t, run: "true"}]}
"#;
    run(&["--no-wait"], file).expect(0);
    shared().run(&["workflow", "cancel", "slow"]).expect(0);
    let watched = shared().run(&["workflow", "watch", "slow"]);
    assert_eq!(tree(watched.expect(130).out())[0], "slow Cancelled");
}

#[test]
fn what_is_wrong_is_named_before_anything_runs() {
    for (file, code, part) in [
        ("jobs: {a: {steps: [{uses: actions/checkout@v4}]}}", 2, "jobs.a.steps[0].uses: "),
        ("kind: Run\napiVersion: kruntimes.io/v1alpha1\n", 125, "this is a Run"),
        ("just: text", 125, "neither a manifest"),
        ("jobs: [", 125, "not valid YAML"),
        (
            "jobs: {a: {needs: [b], steps: [{run: x}]}}",
            125,
            "needs names a job that spec.jobs does not have",
        ),
    ] {
        let refused = run(&[], file);
        assert!(refused.expect(code).stderr.contains(part), "{part} is not in {}", refused.stderr);
    }
    let broken = run(&[], "jobs: {a: {steps: [{run: 'echo ${{ steps.x.outputs.y }}'}]}}");
    assert!(broken.expect(1).out().contains("spec.jobs.a.steps[0].run: "), "{}", broken.out());
    let head = "apiVersion: kruntimes.io/v1alpha1\nkind: Workflow\n";
    for (args, body, place) in [
        (["--set", "a=b"], "spec: {with: [], jobs: {}}", "spec.with"),
        (["--set", "a=b"], "spec: text", "spec"),
        (["--name", "x"], "metadata: text", "metadata"),
    ] {
        let refused = run(&args, &format!("{head}{body}"));
        let want = format!("error: {place} of the file must be an object with names\n");
        assert_eq!(refused.expect(125).stderr, want, "{body}");
    }
    let set = run(&["--set", "x"], "jobs: {a: {steps: [{run: x}]}}");
    assert_eq!(set.expect(2).stderr, "error: --set \"x\" is not NAME=VALUE\n");
}

#[test]
fn what_steps_wrote_is_read_from_the_archive_when_their_pods_are_gone() {
    const FILE: &str = r#"
apiVersion: kruntimes.io/v1alpha1
kind: Workflow
metadata: {name: kept}
spec:
  jobs:
    one:
      runs-on: bash
      steps:
      - {name: a, run: 'echo first; printf unended'}
      - {name: b, run: 'echo second'}
"#;
    let user = User::new();
    let _home = user.up(&["--runtimes", "bash"]);
    let mut command = user.krt(&["workflow", "run", "-f", "-"]);
    finish_with_input(&mut command, FILE.as_bytes()).expect(0);
    let all = "one/a: first\none/a: unended\none/b: second\n";
    assert_eq!(user.run(&["workflow", "logs", "kept"]).expect(0).out(), all);
    block_on(async {
        let kubeconfig = user.path("data/kruntimes/kubeconfig");
        let pods: Api<Pod> = Api::default_namespaced(client(&kubeconfig).await);
        for pod in pods.list(&ListParams::default()).await.unwrap().items {
            let (name, uid) = (pod.name_any(), pod.uid().unwrap());
            pods.delete(&name, &DeleteParams::default()).await.unwrap();
            await_condition(pods.clone(), &name, is_deleted(&uid)).await.unwrap();
        }
    });
    for follow in [&[][..], &["--follow"]] {
        let logs = user.run(&[&["workflow", "logs", "kept"], follow].concat());
        assert_eq!((logs.expect(0).out(), &*logs.stderr), (all, ""), "{follow:?}");
    }
}
