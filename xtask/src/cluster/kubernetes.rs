//! Kubernetes, helm and kubectl from their Go modules: no registry ships them as programs.
//!
//! `go install` refuses `k8s.io/kubernetes`, whose staging modules are named v0.0.0, so a module of our own requires it
//! and replaces each of them by its release.

use super::command::output;
use super::packages::find;
use super::place::Place;
use anyhow::{Context, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "v1.34.4";
const STAGING: &str = "v0.34.4";
const HELM: &str = "v3.18.6";
const COMPONENTS: [&str; 5] =
    ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"];

/// The programs.
#[derive(Debug, Clone)]
pub(crate) struct Kubernetes {
    binaries: PathBuf,
    helm: PathBuf,
    kubectl: PathBuf,
    pause_source: PathBuf,
}

impl Kubernetes {
    /// Builds what the cache lacks.
    pub(crate) fn prepare(place: &Place) -> anyhow::Result<Self> {
        let directory = place.cache(&format!("kubernetes-{VERSION}"));
        let binaries = directory.join("bin");
        let pause_source = directory.join("pause.c");
        if !binaries.exists() {
            println!("   building {} (5 minutes on two cores)", COMPONENTS.join(" "));
            build(&directory, &COMPONENTS, &binaries)?;
        }
        if !pause_source.exists() {
            let module = module_directory()?;
            std::fs::copy(module.join("build/pause/linux/pause.c"), &pause_source)?;
        }
        let helm = helm(place)?;
        let kubectl = match find("kubectl") {
            Some(installed) => installed,
            None => {
                let own = directory.join("kubectl");
                if !own.exists() {
                    println!("   building kubectl");
                    build(&directory, &["kubectl"], &own)?;
                }
                own.join("kubectl")
            }
        };
        Ok(Self { binaries, helm, kubectl, pause_source })
    }

    /// A component's program.
    pub(crate) fn component(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// helm.
    pub(crate) fn helm(&self) -> &Path {
        &self.helm
    }

    /// The machine's kubectl, else one of our own.
    pub(crate) fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// The source of the program that holds a pod's namespaces.
    pub(crate) fn pause_source(&self) -> &Path {
        &self.pause_source
    }
}

fn go() -> Command {
    let mut command = Command::new("go");
    // The module is not the checkout that xtask was started in.
    command.env("GOFLAGS", "-mod=mod").env("GOWORK", "off").env("CGO_ENABLED", "0");
    command
}

/// The unpacked module of Kubernetes.
fn module_directory() -> anyhow::Result<PathBuf> {
    let described =
        output(go().args(["mod", "download", "-json", &format!("k8s.io/kubernetes@{VERSION}")]))?;
    let described: serde_json::Value = serde_json::from_str(&described)?;
    Ok(PathBuf::from(described["Dir"].as_str().context("go names no directory")?))
}

/// Builds into `to`, which appears when all of it is there.
fn build(directory: &Path, components: &[&str], to: &Path) -> anyhow::Result<()> {
    ensure!(find("go").is_some(), "go is needed to build Kubernetes, and is not on the PATH");
    let source = directory.join("src");
    std::fs::create_dir_all(&source)?;
    let theirs = std::fs::read_to_string(module_directory()?.join("go.mod"))?;
    std::fs::write(source.join("go.mod"), module_file(&theirs))?;
    let partial = to.with_extension("partial");
    std::fs::create_dir_all(&partial)?;
    output(
        go().args(["build", "-buildvcs=false", "-trimpath", "-ldflags", &linker_flags(), "-o"])
            .arg(&partial)
            .args(components.iter().map(|name| format!("k8s.io/kubernetes/cmd/{name}")))
            .current_dir(&source),
    )?;
    std::fs::rename(&partial, to).context("keep what was built")
}

/// helm, built when the cache lacks it.
pub(super) fn helm(place: &Place) -> anyhow::Result<PathBuf> {
    let helm = place.cache(&format!("helm-{HELM}")).join("helm");
    if !helm.exists() {
        println!("   building helm");
        install_helm(&helm)?;
    }
    Ok(helm)
}

fn install_helm(helm: &Path) -> anyhow::Result<()> {
    let partial = helm.with_extension("partial");
    std::fs::create_dir_all(&partial)?;
    output(
        go().args(["install", "-trimpath", "-ldflags"])
            .arg(format!("-s -w -X helm.sh/helm/v3/internal/version.version={HELM}"))
            .arg(format!("helm.sh/helm/v3/cmd/helm@{HELM}"))
            .env("GOBIN", &partial)
            .env("GOFLAGS", ""),
    )?;
    std::fs::rename(partial.join("helm"), helm)?;
    std::fs::remove_dir(&partial).context("remove the empty folder of the build")
}

/// The module that builds Kubernetes as it is released.
fn module_file(theirs: &str) -> String {
    let staging: BTreeSet<&str> = theirs
        .split_whitespace()
        .zip(theirs.split_whitespace().skip(1))
        .filter(|(module, version)| module.starts_with("k8s.io/") && *version == "v0.0.0")
        .map(|(module, _)| module)
        .collect();
    let mut text = format!(
        "module e2e\n\ngo 1.24.0\n\ngodebug default=go1.24\n\nrequire k8s.io/kubernetes {VERSION}\n\nreplace (\n"
    );
    for module in staging {
        text.push_str(&format!("\t{module} => {module} {STAGING}\n"));
    }
    text.push_str(")\n");
    text
}

/// Without these the server calls itself v0.0.0, and clients complain.
fn linker_flags() -> String {
    let mut numbers = VERSION.trim_start_matches('v').split('.');
    let facts = [
        ("gitVersion", VERSION),
        ("gitMajor", numbers.next().unwrap_or_default()),
        ("gitMinor", numbers.next().unwrap_or_default()),
        ("gitCommit", "0000000000000000000000000000000000000000"),
        ("gitTreeState", "clean"),
        ("buildDate", "1970-01-01T00:00:00Z"),
    ];
    let mut flags = "-s -w".to_owned();
    for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
        for (name, value) in facts {
            flags.push_str(&format!(" -X {package}.{name}={value}"));
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::{linker_flags, module_file};

    #[test]
    fn staging_modules_are_replaced_once_and_no_other() {
        let theirs = "require (\n\tk8s.io/api v0.0.0\n\tk8s.io/klog/v2 v2.130.1\n\tk8s.io/client-go v0.0.0\n)\n\
                      replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n";
        let text = module_file(theirs);
        assert!(text.contains("require k8s.io/kubernetes v1.34.4\n"), "{text}");
        assert!(
            text.ends_with(
                "replace (\n\tk8s.io/api => k8s.io/api v0.34.4\n\tk8s.io/client-go => k8s.io/client-go v0.34.4\n)\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn both_packages_that_say_a_version_are_told() {
        let flags = linker_flags();
        for part in [
            "-X k8s.io/component-base/version.gitVersion=v1.34.4",
            "-X k8s.io/client-go/pkg/version.gitVersion=v1.34.4",
            "version.gitMajor=1 ",
            "version.gitMinor=34 ",
        ] {
            assert!(flags.contains(part), "{part} is not in {flags}");
        }
    }
}
