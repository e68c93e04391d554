//! What of Workflows holds in both homes.

use crate::suite::{Tools, contains};
use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::path::Path;

/// A Workflow from kubectl to its end: expressions, a computed matrix, jobs in `finally`; its Runs go with it.
pub(crate) fn runs(tools: &Tools) -> anyhow::Result<()> {
    contains(
        &tools.kubectl("apply -f examples/workflow.yaml")?,
        &["workflow.kruntimes.io/fan-out created"],
    )?;
    contains(
        &tools.kubectl("wait --for=condition=Finished wf/fan-out --timeout=60s")?,
        &["condition met"],
    )?;
    contains(&tools.kubectl("get wf fan-out")?, &["NAME", "PHASE", "AGE", "Succeeded"])?;
    let logs = tools.krt("workflow logs fan-out")?;
    contains(
        &logs,
        &[
            "greet/ada/hello: hello ada\n",
            "greet/grace/hello: hello grace\n",
            "report/tell: greet was success\n",
        ],
    )?;
    contains(&tools.krt("workflow get fan-out")?, &["✓ greet  Succeeded", "2 legs: 2 Succeeded"])?;
    contains(
        &tools.kubectl("get runs -l workflow=fan-out -o name")?,
        &["run.kruntimes.io/wf-fan-out-plan-list"],
    )?;
    contains(
        &tools.refused("patch wf fan-out --type=merge -p {\"spec\":{\"fail-fast\":false}}")?,
        &["spec.fail-fast is immutable"],
    )?;
    contains(&tools.refused("patch wf fan-out --type=merge --subresource=status -p {\"status\":{\"phase\":\"Running\"}}")?, &["never changes"])?;
    tools.kubectl("delete wf fan-out --cascade=foreground --timeout=60s")?;
    ensure!(
        tools.kubectl("get runs -l workflow=fan-out -o name")?.is_empty(),
        "Runs are left of a Workflow that is gone"
    );
    Ok(())
}

/// A cancellation ends the Run that is on its way, by the controller's own hand.
pub(crate) fn ends(tools: &Tools) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let slow = manifest(
        directory.path(),
        "slow",
        "{jobs: {a: {runs-on: bash, steps: [{name: s, run: sleep 300}]}}}",
    )?;
    tools.krt(&format!("workflow create -f {slow}"))?;
    tools.kubectl(
        "wait --for=jsonpath={.status.jobs.a.steps.s.phase}=Running wf/slow --timeout=60s",
    )?;
    tools.krt("workflow cancel slow")?;
    tools.kubectl("wait --for=condition=Finished wf/slow --timeout=60s")?;
    let phases =
        tools.kubectl("get wf slow -o jsonpath={.status.phase},{.status.jobs.a.steps.s.phase}")?;
    ensure!(phases == "Cancelled,Cancelled", "the Workflow and its step are {phases}");
    let run = tools.kubectl("get run wf-slow-a-s -o jsonpath={.status.phase}")?;
    ensure!(run == "Cancelled", "its Run is {run}");
    tools.kubectl("delete wf slow")?;
    let broken = manifest(
        directory.path(),
        "broken",
        "{jobs: {a: {runs-on: bash, steps: [{name: s, run: 'echo ${{ steps.x.outputs.y }}'}]}}}",
    )?;
    tools.krt(&format!("workflow create -f {broken}"))?;
    tools.kubectl("wait --for=condition=Valid=false wf/broken --timeout=60s")?;
    contains(
        &tools.kubectl("get wf broken -o jsonpath={.status.message}")?,
        &["spec.jobs.a.steps[0].run: ", "no step x"],
    )?;
    tools.kubectl("delete wf broken")?;
    let wrong = manifest(
        directory.path(),
        "wrong",
        "{jobs: {a: {runs-on: bash, needs: [b], steps: [{name: s, run: x}]}}}",
    )?;
    contains(
        &tools.refused(&format!("apply -f {wrong}"))?,
        &["needs names a job that spec.jobs does not have"],
    )?;
    Ok(())
}

/// Steps share a directory, which a Run holds for as long as its job goes on; a step of another directory sees none of it.
pub(crate) fn shares(tools: &Tools) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let build = manifest(
        directory.path(),
        "build",
        "{jobs: {app: {runs-on: bash, workspace: shared, steps: [{name: one, run: 'echo kept > file'}, \
         {name: two, run: 'cat file; ls; sleep 1'}, {name: three, run: 'rm file; git init -q .; ls -A'}]}, \
         alone: {runs-on: bash, steps: [{name: one, run: 'echo kept > file'}, {name: two, run: 'ls -A'}]}}}",
    )?;
    tools.krt(&format!("workflow create -f {build}"))?;
    tools.kubectl("wait --for=jsonpath={.status.phase}=Running run/wf-build-app --timeout=60s")?;
    tools.kubectl("wait --for=condition=Finished wf/build --timeout=60s")?;
    let logs = tools.krt("workflow logs build")?;
    contains(
        &logs,
        &["app/two: kept\n", "app/two: file\n", "app/three: .git\n", "alone/two: script\n"],
    )?;
    ensure!(logs.lines().count() == 4, "the logs are {logs}");
    let phases = tools.kubectl(
        "get runs -l workflow=build,job=app -o jsonpath={.items[*].status.phase},{.items[*].status.assignedPod}",
    )?;
    let (phases, pods) = phases.split_once(',').context("no phases")?;
    ensure!(phases == "Cancelled Succeeded Succeeded Succeeded", "the phases are {phases}");
    let pods: BTreeSet<&str> = pods.split(' ').collect();
    ensure!(pods.len() == 1, "the Runs of one workspace are on {pods:?}");
    tools.kubectl("delete wf build --cascade=foreground --timeout=60s")?;
    Ok(())
}

fn manifest(directory: &Path, name: &str, spec: &str) -> anyhow::Result<String> {
    let path = directory.join(format!("{name}.yaml"));
    // kubectl takes a text that begins with a brace for JSON.
    let text = format!(
        "apiVersion: kruntimes.io/v1alpha1\nkind: Workflow\nmetadata:\n  name: {name}\nspec: {spec}\n"
    );
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}
