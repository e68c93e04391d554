//! What kubectl and krt show of Runs and Runtimes, in either home: the local one (`cargo xtask e2e local`) and a cluster
//! (`cargo xtask e2e test`). The cases run in order, in the namespace `default` with a Runtime `bash` and no Runs.

use crate::generate::root;
use crate::{phases, suite_workflows};
use anyhow::{Context, ensure};
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

const KUBECTL: &str = "kubectl";

/// One case.
pub(crate) type Case = fn(&Tools) -> anyhow::Result<()>;

/// All cases, in order.
pub(crate) const CASES: [(&str, Case); 14] = [
    ("apply and wait", apply_and_wait),
    ("get as a table", tables),
    ("get -w", watches),
    ("describe and explain", describes),
    ("events of a retry", tells_of_retries),
    ("api-resources", api_resources),
    ("namespaces", namespaces),
    ("secrets", secrets),
    ("bad input", bad_input),
    ("all 49 pairs of phases", phases::all_pairs),
    ("workflows", suite_workflows::runs),
    ("workflows that end early", suite_workflows::ends),
    ("steps that share a directory", suite_workflows::shares),
    ("delete", deletes),
];

/// kubectl and krt, both pointed at one home.
pub(crate) struct Tools {
    kubeconfig: PathBuf,
    krt: PathBuf,
}

impl Tools {
    /// These two on one home.
    pub(crate) fn new(kubeconfig: PathBuf, krt: PathBuf) -> Self {
        Self { kubeconfig, krt }
    }

    /// The kubeconfig of the home's admin.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The binary.
    pub(crate) fn krt_path(&self) -> &Path {
        &self.krt
    }

    pub(crate) fn kubectl(&self, arguments: &str) -> anyhow::Result<String> {
        self.succeeds(KUBECTL.as_ref(), arguments)
    }

    /// The error text of a kubectl that must fail.
    pub(crate) fn refused(&self, arguments: &str) -> anyhow::Result<String> {
        self.fails(KUBECTL.as_ref(), arguments)
    }

    pub(crate) fn krt(&self, arguments: &str) -> anyhow::Result<String> {
        self.succeeds(&self.krt, arguments)
    }

    /// The error text of a krt that must fail.
    pub(crate) fn krt_refused(&self, arguments: &str) -> anyhow::Result<String> {
        self.fails(&self.krt, arguments)
    }

    fn succeeds(&self, program: &Path, arguments: &str) -> anyhow::Result<String> {
        let output = self.output(program, arguments)?;
        ensure!(output.status.success(), "{} {arguments}: {}", program.display(), text(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn fails(&self, program: &Path, arguments: &str) -> anyhow::Result<String> {
        let output = self.output(program, arguments)?;
        let program = program.display();
        ensure!(
            !output.status.success(),
            "{program} {arguments} was not refused: {}",
            text(&output)
        );
        Ok(String::from_utf8(output.stderr)?)
    }

    /// A krt whose output is read while it runs.
    pub(crate) fn follow(&self, arguments: &str) -> anyhow::Result<Following> {
        let mut child = Command::new(&self.krt)
            .args(arguments.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
        Ok(Following { child, lines })
    }

    /// The same home as a service account of the namespace `default` sees it.
    pub(crate) fn as_service_account(&self, name: &str) -> anyhow::Result<Self> {
        let token = self.kubectl(&format!("create token {name}"))?;
        let shown = self.kubectl("config view --raw --minify --flatten -o json")?;
        let mut config: serde_json::Value = serde_json::from_str(&shown)?;
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        let kubeconfig = self.kubeconfig.with_extension(name);
        std::fs::write(&kubeconfig, config.to_string())?;
        Ok(Self { kubeconfig, krt: self.krt.clone() })
    }

    fn output(&self, program: &Path, arguments: &str) -> anyhow::Result<Output> {
        Command::new(program)
            .args(arguments.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {}: it must be installed", program.display()))
    }
}

/// A krt that runs; it ends with this.
pub(crate) struct Following {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Following {
    /// The next line of its output.
    pub(crate) fn next_line(&mut self) -> anyhow::Result<String> {
        Ok(self.lines.next().context("the output has ended")??)
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn end(mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

pub(crate) fn contains(text: &str, parts: &[&str]) -> anyhow::Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is not in:\n{text}");
    }
    Ok(())
}

fn apply_and_wait(tools: &Tools) -> anyhow::Result<()> {
    contains(&tools.kubectl("apply -f examples/hello.yaml")?, &["run.kruntimes.io/hello created"])?;
    contains(
        &tools.kubectl("wait --for=condition=Finished run/hello --timeout=30s")?,
        &["run.kruntimes.io/hello condition met"],
    )?;
    contains(
        &tools.kubectl("apply -f examples/hello.yaml")?,
        &["run.kruntimes.io/hello unchanged"],
    )?;
    let phase = tools.kubectl("get run hello -o jsonpath={.status.phase}")?;
    ensure!(phase == "Succeeded", "phase is {phase}");
    ensure!(tools.krt("logs hello")? == "hello\n", "krt logs hello does not print hello");
    Ok(())
}

fn tables(tools: &Tools) -> anyhow::Result<()> {
    let table = tools.kubectl("get rn,rt -o wide")?;
    contains(
        &table,
        &["PHASE", "ASSIGNED POD", "RUNTIME", "AGE", "IMAGE", "REPLICAS", "READY", "Succeeded"],
    )?;
    contains(&tools.kubectl("get pods,deployments,replicasets -o wide")?, &["runtime-bash"])?;
    let selected = tools.kubectl("get runs --field-selector=status.phase=Succeeded -o name")?;
    ensure!(selected == "run.kruntimes.io/hello\n", "selected: {selected}");
    let none = tools.kubectl("get runs --field-selector=status.phase=Failed -o name")?;
    ensure!(none.is_empty(), "selected: {none}");
    Ok(())
}

fn watches(tools: &Tools) -> anyhow::Result<()> {
    let mut watch = Command::new(KUBECTL)
        .args(["get", "runs", "-w", "--output-watch-events"])
        .env("KUBECONFIG", &tools.kubeconfig)
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(watch.stdout.take().context("no stdout")?).lines();
    let mut seen = String::new();
    let mut submitted = false;
    for line in lines {
        seen.push_str(&line?);
        seen.push('\n');
        // The Run is made once the watch has begun, so that its changes come as events.
        if !submitted && seen.contains("hello") {
            tools.krt("run --no-wait -- true")?;
            submitted = true;
        }
        if seen.contains("run-") && seen.matches("Succeeded").count() >= 2 {
            break;
        }
    }
    watch.kill()?;
    watch.wait()?;
    contains(&seen, &["EVENT", "ADDED", "MODIFIED", "Succeeded"])
}

fn describes(tools: &Tools) -> anyhow::Result<()> {
    contains(
        &tools.kubectl("describe run hello")?,
        &["Name:", "hello", "Assigned Pod:", "Finished", "RunCompleted", "Events:"],
    )?;
    contains(&tools.kubectl("explain run.spec.timeoutSeconds")?, &["timeoutSeconds", "Timeout"])
}

/// The Events come after the status, so they are waited for by a watch.
fn tells_of_retries(tools: &Tools) -> anyhow::Result<()> {
    let mut watch = Command::new(KUBECTL)
        .args(["get", "events", "-w", "--field-selector=involvedObject.name=retry"])
        .env("KUBECONFIG", &tools.kubeconfig)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(watch.stdout.take().context("no stdout")?).lines();
    let run = serde_json::json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": "retry"},
        "spec": {"runtime": "bash", "source": {"inline": "exit 3"},
            "retryPolicy": {"maxAttempts": 2, "backoff": "100ms"}},
    });
    let manifest = tools.kubeconfig.with_extension("retry.json");
    std::fs::write(&manifest, run.to_string())?;
    tools.kubectl(&format!("apply -f {}", manifest.display()))?;
    tools.kubectl("wait run retry --for=condition=Finished --timeout=60s")?;
    let is_last = |line: &String| line.contains("RunRetriesExhausted");
    let last = lines.find(|line| line.as_ref().is_ok_and(is_last));
    last.context("nothing is said of the end")??;
    watch.kill()?;
    watch.wait()?;
    contains(
        &tools.kubectl("describe run retry")?,
        &["RunFailedRetrying", "RunRetriesExhausted", "runtimed", "attempt 2: RuntimeError"],
    )?;
    tools.kubectl("delete run retry")?;
    contains(&tools.kubectl("describe run hello")?, &["Events:", "<none>"])
}

fn api_resources(tools: &Tools) -> anyhow::Result<()> {
    let listed = tools.kubectl("api-resources")?;
    contains(
        &listed,
        &["runs", "rn", "runtimes", "rt", "kruntimes.io/v1alpha1", "deployments", "namespaces"],
    )
}

fn namespaces(tools: &Tools) -> anyhow::Result<()> {
    contains(&tools.kubectl("create ns team-a")?, &["namespace/team-a created"])?;
    contains(&tools.refused("create ns team-a")?, &["AlreadyExists"])?;
    contains(&tools.kubectl("delete ns team-a --timeout=60s")?, &["\"team-a\" deleted"])?;
    contains(
        &tools.refused("apply -n nowhere -f examples/hello.yaml")?,
        &["namespaces \"nowhere\" not found"],
    )
}

/// A Secret that kubectl makes reaches a Run once the Runtime allows it; nothing grants a right on Secrets.
fn secrets(tools: &Tools) -> anyhow::Result<()> {
    tools.kubectl("create secret generic db --from-literal=password=s3cret")?;
    tools.kubectl("patch runtime bash --type=merge -p {\"spec\":{\"allowedSecrets\":[\"db\"]}}")?;
    tools.kubectl("rollout status deployment/runtime-bash --timeout=120s")?;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("secret.yaml");
    std::fs::write(
        &path,
        "apiVersion: kruntimes.io/v1alpha1
kind: Run
metadata:
  name: with-secret
spec:
  runtime: bash
  args: ['test \"$PASSWORD\" = s3cret && echo it is there']
  env:
    - name: PASSWORD
      valueFrom:
        secretKeyRef: {name: db, key: password}
",
    )?;
    let said = tools.krt(&format!("run -f {}", path.display()))?;
    ensure!(said == "it is there\n", "the Run says {said}");
    let shown = tools.kubectl("get runs,pods,deployments,events -o yaml")?;
    ensure!(!shown.contains("czNjcmV0"), "the Secret stands outside its own object");
    contains(&tools.kubectl("get secret db -o yaml")?, &["czNjcmV0"])?;
    let rights = tools.kubectl("get roles -o jsonpath={.items[*].rules}")?;
    ensure!(!rights.contains("secrets"), "a Role speaks of secrets: {rights}");
    tools.kubectl("delete secret db")?;
    tools.kubectl("patch runtime bash --type=merge -p {\"spec\":{\"allowedSecrets\":null}}")?;
    tools.kubectl("rollout status deployment/runtime-bash --timeout=120s")?;
    Ok(())
}

/// A manifest that is refused says the field, the value and the limit.
fn bad_input(tools: &Tools) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let cases = [
        ("spec:\n  runtime: bash\n  entrypoint: /etc/passwd", "spec.entrypoint"),
        ("spec:\n  runtime: bash\n  entrypoint: a/../b", "spec.entrypoint"),
        ("spec:\n  runtime: bash\n  nosuch: 1", "unknown field \"spec.nosuch\""),
        ("spec:\n  runtime: bash\n  timeout: 5s", "use spec.timeoutSeconds"),
        ("spec:\n  runtime: bash\n  timeoutSeconds: 0", "greater than or equal to 1"),
        ("spec:\n  runtime: bash\n  retryPolicy: {backoff: soon}", "spec.retryPolicy.backoff"),
        ("spec:\n  runtime: bash\n  source: {inline: a, repoURL: 'https://b'}", "spec.source"),
        ("metadata: {}", "spec: Required value"),
    ];
    for (index, (body, expected)) in cases.into_iter().enumerate() {
        let path = directory.path().join(format!("{index}.yaml"));
        let name = if body.starts_with("metadata") { "" } else { "metadata:\n  name: bad\n" };
        let body = body.replace("metadata: {}", "metadata:\n  name: bad");
        std::fs::write(
            &path,
            format!("apiVersion: kruntimes.io/v1alpha1\nkind: Run\n{name}{body}\n"),
        )?;
        let error = tools.refused(&format!("apply -f {}", path.display()))?;
        contains(&error, &[expected])?;
    }
    Ok(())
}

fn deletes(tools: &Tools) -> anyhow::Result<()> {
    contains(&tools.kubectl("delete run hello --timeout=30s")?, &["\"hello\" deleted"])?;
    contains(&tools.refused("get run hello")?, &["runs.kruntimes.io \"hello\" not found"])?;
    tools.kubectl("delete runs --all --timeout=30s")?;
    ensure!(tools.kubectl("get runs -o name")?.is_empty(), "Runs are left");
    Ok(())
}
