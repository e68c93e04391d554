//! The charts: which values they take, and `docs/install.md` as its reader follows it.

use super::command::output;
use super::images::named;
use super::pause::ctr;
use super::test::World;
use super::up::Tools as ClusterTools;
use crate::cargo::cargo;
use crate::generate::root;
use anyhow::{Context, ensure};
use std::path::Path;
use std::process::Command;

/// What stands before the names of released images.
const REGISTRY: &str = "ghcr.io/kruntimes";
const SYSTEM: &str = "kruntimes-system";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Chart, a value, and what the refusal says; nothing where it is taken.
const VALUES: [(&str, &str, &str); 20] = [
    ("kruntimes", "image=registry.example/a/b", ""),
    ("kruntimes", "image=registry.example:5000/a/b@sha256:0", ""),
    ("kruntimes", "image=", "at '/image'"),
    ("kruntimes", "foo=1", "additional properties 'foo' not allowed"),
    ("kruntimes", "scheduler.foo=1", "additional properties 'foo' not allowed"),
    ("kruntimes", "scheduler.replicas=0", ""),
    ("kruntimes", "scheduler.replicas=-1", "at '/scheduler/replicas'"),
    ("kruntimes", "scheduler.replicas=two", "at '/scheduler/replicas': got string, want integer"),
    ("kruntimes", "scheduler.metricsBindAddress=8080", "at '/scheduler/metricsBindAddress'"),
    ("kruntimes", "controller.defaultTTL=1h30m", ""),
    ("kruntimes", "controller.defaultTTL=week", "at '/controller/defaultTTL'"),
    ("kruntimes", "metrics.service.port=65535", ""),
    ("kruntimes", "metrics.service.port=65536", "at '/metrics/service/port'"),
    ("kruntimes", "metrics.serviceMonitor.enabled=true", ""),
    ("kruntimes", "imagePullSecrets[0].name=a", ""),
    ("kruntimes", "imagePullSecrets[0]=a", "at '/imagePullSecrets/0'"),
    ("kruntimes-runtimes", "bash.enabled=false", ""),
    ("kruntimes-runtimes", "bash.replicas=0", "at '/bash/replicas'"),
    ("kruntimes-runtimes", "bash.name=Bash", "at '/bash/name'"),
    ("kruntimes-runtimes", "perl.enabled=true", "additional properties 'perl' not allowed"),
];

/// A value that is not known or of another type is refused by its name.
pub(super) fn values(world: &World) -> anyhow::Result<()> {
    for (chart, value, why) in VALUES {
        let kind = if value.starts_with("image=") { "--set-string" } else { "--set" };
        let rendered =
            world.helm(&format!("template x charts/{chart} --kube-version 1.34 {kind} {value}"));
        match (rendered, why) {
            (Ok(_), "") => {}
            (Ok(_), _) => anyhow::bail!("{chart} takes {value}"),
            (Err(error), "") => return Err(error),
            (Err(error), why) => {
                ensure!(error.to_string().contains(why), "{chart} {value}: {error}");
            }
        }
    }
    Ok(())
}

/// A release whose CRDs say something else takes them along, and back.
pub(super) fn upgrades(world: &World) -> anyhow::Result<()> {
    const SAID: &str = "Run represents one execution";
    const SAYS: &str = "Run stands for one execution";
    let directory = tempfile::tempdir()?;
    let chart = directory.path().join("kruntimes");
    output(Command::new("cp").arg("-r").arg(root().join("charts/kruntimes")).arg(&chart))?;
    let path = chart.join("templates/crds/kruntimes.io_runs.yaml");
    let text = std::fs::read_to_string(&path)?;
    ensure!(text.contains(SAID), "{} does not say {SAID:?}", path.display());
    std::fs::write(&path, text.replace(SAID, SAYS))?;
    let upgrade = |chart: &Path| {
        world.helm(&format!(
            "upgrade kruntimes {} -n kruntimes-system --reuse-values --wait --timeout 3m",
            chart.display()
        ))
    };
    let crd = "get crd runs.kruntimes.io -o yaml";
    upgrade(&chart)?;
    let other = world.tools.kubectl(crd);
    upgrade(&root().join("charts/kruntimes"))?;
    ensure!(other?.contains(SAYS), "the CRD was not upgraded");
    ensure!(world.tools.kubectl(crd)?.contains(SAID), "the CRD was not upgraded again");
    Ok(())
}

/// Each part tells its metrics through its Service.
pub(super) fn metrics(world: &World) -> anyhow::Result<()> {
    for part in ["scheduler", "controller"] {
        let service = format!("{SYSTEM}/services/kruntimes-{part}-metrics:8080");
        let path = format!("/api/v1/namespaces/{service}/proxy/metrics");
        let told = world.tools.kubectl(&format!("get --raw {path}"))?;
        let line = format!("kruntimes_build_info{{version=\"{VERSION}\"}} 1");
        ensure!(told.contains(&line), "{part} tells no {line}:\n{told}");
    }
    Ok(())
}

/// The scheduler that leads is taken away: the other one goes on with the next Run.
pub(super) fn takeover(world: &World) -> anyhow::Result<()> {
    let leader = || -> anyhow::Result<String> {
        let holder = world.tools.kubectl(&format!(
            "get lease -n {SYSTEM} kruntimes-scheduler.kruntimes.com \
             -o jsonpath={{.spec.holderIdentity}}"
        ))?;
        let (pod, _) = holder.split_once('_').with_context(|| format!("{holder:?} leads"))?;
        Ok(pod.to_owned())
    };
    let first = leader()?;
    world.tools.kubectl(&format!("delete pod -n {SYSTEM} {first} --wait=true --timeout=60s"))?;
    let said = world.tools.krt("run -- echo still here")?;
    ensure!(said == "still here\n", "krt says {said:?}");
    let second = leader()?;
    ensure!(first != second, "{first} still leads");
    world.tools.kubectl(&format!(
        "rollout status -n {SYSTEM} deployment/kruntimes-scheduler --timeout=60s"
    ))?;
    Ok(())
}

/// Follows the page line by line, on a cluster without kruntimes; the page removes all in the end. The images of this
/// checkout have the names of released ones meanwhile.
pub(super) fn page(world: &World) -> anyhow::Result<()> {
    let cluster = ClusterTools::prepare()?;
    for name in ["kruntimes", "bash-runtime", "python-runtime"] {
        let released = format!("{REGISTRY}/{name}:{VERSION}");
        output(ctr(&cluster).args(["images", "tag", "--force", &named(name), &released]))?;
    }
    clear(world)?;
    let status = cargo()
        .args(["test", "--quiet", "--package", "krt", "--test", "docs", "--"])
        .arg("every_block_for_a_cluster_does_what_its_page_says")
        .current_dir(root())
        .env("KRT_DOCS_CLUSTER", world.kubeconfig())
        .env("PATH", path_with(world.helm_path())?)
        .status()?;
    ensure!(status.success(), "see above");
    Ok(())
}

/// Removes what this suite installed.
fn clear(world: &World) -> anyhow::Result<()> {
    world.helm("uninstall runtimes -n default --ignore-not-found --wait")?;
    world.helm("uninstall kruntimes -n kruntimes-system --ignore-not-found --wait")?;
    let tools = &world.tools;
    for crd in kruntimes_api::crd::all() {
        let name = crd["metadata"]["name"].as_str().context("a CRD without a name")?;
        tools.kubectl(&format!("delete crd {name} --ignore-not-found --timeout=240s"))?;
    }
    tools.kubectl("delete namespace kruntimes-system team-a --ignore-not-found --timeout=240s")?;
    Ok(())
}

/// The page just says `helm`.
fn path_with(program: &Path) -> anyhow::Result<std::ffi::OsString> {
    let directory = program.parent().context("helm is nowhere")?.to_owned();
    let known = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(directory).chain(std::env::split_paths(&known)))?)
}

#[cfg(test)]
mod tests {
    use super::VERSION;
    use crate::generate::root;

    #[test]
    fn charts_have_the_version_of_the_release() {
        for chart in ["kruntimes", "kruntimes-runtimes"] {
            let path = root().join("charts").join(chart).join("Chart.yaml");
            let text = std::fs::read_to_string(path).unwrap();
            for line in [format!("version: {VERSION}"), format!("appVersion: \"{VERSION}\"")] {
                assert!(text.lines().any(|found| found == line), "{chart} has no line `{line}`");
            }
        }
    }
}
