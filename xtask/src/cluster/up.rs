//! `cargo xtask e2e up`: from nothing to a node that is ready.

use super::command::{attempt, output};
use super::components::{self, Component, READY, component, containerd_answers};
use super::kubernetes::Kubernetes;
use super::packages::Debian;
use super::place::{NODE_NAME, Place};
use super::{certificates, cgroup, config, daemon, down, network, owner, pause};
use anyhow::{Context, bail, ensure};
use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a component may take until it answers.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    pub(crate) place: Place,
    pub(crate) debian: Debian,
    pub(crate) kubernetes: Kubernetes,
}

impl Tools {
    /// Builds and unpacks what the caches lack.
    pub(crate) fn prepare() -> anyhow::Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "the test cluster needs root: it mounts, makes namespaces and writes iptables rules"
        );
        let place = Place::find()?;
        let debian = stage("packages", || Debian::prepare(&place))?;
        let kubernetes = stage("Kubernetes", || Kubernetes::prepare(&place))?;
        Ok(Self { place, debian, kubernetes })
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(self.kubernetes.kubectl());
        command.arg("--kubeconfig").arg(self.place.kubeconfig());
        command
    }

    fn start(&self, name: &'static str) -> anyhow::Result<Running> {
        let component = component(name, &self.place, &self.debian, &self.kubernetes);
        let child = daemon::start(&self.place, &component, &self.debian.search_path())?;
        Ok(Running { component, child })
    }

    fn answers(&self) -> bool {
        let ready = attempt(self.kubectl().args(["get", "--raw", READY, "--request-timeout=5s"]));
        ready.is_ok_and(|said| said.is_some())
    }
}

struct Running {
    component: Component,
    child: Child,
}

/// Runs one stage and says how long it took.
pub(crate) fn stage<T>(name: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    println!("== {name}");
    let result = work().with_context(|| name.to_owned())?;
    println!("== {name}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(result)
}

/// Whether the whole cluster runs.
pub(super) fn runs(tools: &Tools) -> bool {
    components::NAMES.iter().all(|name| daemon::runs(&tools.place, name)) && tools.answers()
}

/// Starts the cluster, unless it runs.
pub(super) fn start(tools: &Tools) -> anyhow::Result<()> {
    let place = &tools.place;
    if runs(tools) {
        println!("the cluster is already up");
        return Ok(());
    }
    stage("remains of an earlier cluster", || down::stop(place))?;
    stage("network, cgroup, certificates", || {
        owner::claim(place)?;
        for name in ["", "home", "containerd/opt"] {
            fs::create_dir_all(place.cluster(name))?;
        }
        network::create()?;
        cgroup::create()?;
        certificates::write(place)?;
        config::write(place, &tools.debian)
    })?;
    stage("API server", || {
        let mut started = vec![tools.start("etcd")?];
        started.push(tools.start("containerd")?);
        started.push(tools.start("kube-apiserver")?);
        wait(place, &mut started, || containerd_answers(&place.containerd_socket()))?;
        pause::import(tools)?;
        wait(place, &mut started, || tools.answers())
    })?;
    stage("node", || {
        for name in ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"] {
            tools.start(name)?;
        }
        wait_for_node(tools)
    })
}

/// Starts a component that was stopped, and waits until the API server answers.
pub(super) fn start_again(tools: &Tools, name: &'static str) -> anyhow::Result<()> {
    let mut started = [tools.start(name)?];
    wait(&tools.place, &mut started, || tools.answers())
}

fn wait_for_node(tools: &Tools) -> anyhow::Result<()> {
    let node = format!("node/{NODE_NAME}");
    for arguments in [
        ["--for=create", &node],
        ["--for=condition=Ready", &node],
        ["--for=create", "serviceaccount/default"],
    ] {
        let waited = output(tools.kubectl().args(["wait", "--timeout=120s"]).args(arguments));
        waited.with_context(|| {
            let dead = components::NAMES.iter().find(|name| !daemon::runs(&tools.place, name));
            let name = dead.copied().unwrap_or("kubelet");
            format!("the last lines of {name}:\n{}", daemon::last_lines(&tools.place, name))
        })?;
    }
    Ok(())
}

/// Until a component answers; one that ends before shows its last words.
fn wait(place: &Place, started: &mut [Running], answers: impl Fn() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !answers() {
        for Running { component, child } in &mut *started {
            if let Some(status) = child.try_wait()? {
                let lines = daemon::last_lines(place, component.name);
                bail!("{} ended with {status}:\n{lines}", component.name);
            }
        }
        ensure!(begun.elapsed() < PATIENCE, "no answer in {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
