//! `cargo xtask e2e test`: installs the charts and runs every case on a cluster: the one of `e2e up`, or any other that
//! `$KUBECONFIG` names (images by `$KRUNTIMES_E2E_IMAGE` and `$KRUNTIMES_E2E_BASH_IMAGE`).
//!
//! All cases run, also after a failure. Those that read the cluster's own disk run where it is this machine's.

use super::artifacts;
use super::behaviour;
use super::charts;
use super::connections;
use super::examples;
use super::image_cases;
use super::images;
use super::kubernetes;
use super::outages;
use super::place::Place;
use super::rights;
use super::up::Tools as ClusterTools;
use crate::cargo::cargo;
use crate::generate::root;
use crate::home::{self, Build};
use crate::suite::{self, Tools};
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the controller is watched while nothing changes; the figure is five minutes.
const QUIET: Duration = Duration::from_secs(30);

/// What a pod of bash asks for: three pools of two fit on a node with two processors.
const REQUEST: &str = "50m";

/// What a case sees.
pub(super) struct World {
    /// kubectl and krt as the administrator.
    pub(super) tools: Tools,
    helm: PathBuf,
    kubeconfig: PathBuf,
    /// The cluster of this machine, if it is that.
    own: Option<Place>,
}

pub(super) type Case = fn(&World) -> anyhow::Result<()>;
type OwnCase = fn(&World, &Place) -> anyhow::Result<()>;

/// In order: the suite of both homes expects the namespace `default` without Runs.
const CASES: [(&str, Case); 14] = [
    ("values of the charts", charts::values),
    ("CRDs are upgraded", charts::upgrades),
    ("metrics of the parts", charts::metrics),
    ("another scheduler takes over", charts::takeover),
    ("krt against a cluster", krt_suite),
    ("output by port-forward", |world| behaviour::output(&world.tools)),
    ("rights of users", |world| behaviour::rights(&world.tools)),
    ("tenants", |world| behaviour::tenants(&world.tools)),
    ("a namespace ends with its Runs", |world| behaviour::namespace_ends(&world.tools)),
    ("a pod is deleted amid 200 Runs", outages::pod_deleted),
    ("a pod is deleted by force", outages::pod_deleted_by_force),
    ("kubectl drain", outages::drained),
    ("connections", |world| connections::judged(&world.tools)),
    ("a canary Secret", |world| behaviour::canary(&world.tools)),
];

/// These read the disk of the cluster.
const OWN: [(&str, OwnCase); 11] = [
    ("the canary at rest", |world, place| behaviour::canary_at_rest(&world.tools, place)),
    ("the API server is gone for 20 s", outages::api_server_gone_20_s),
    ("the API server is gone for 90 s", outages::api_server_gone_90_s),
    ("the kubelet is stopped", outages::kubelet_stopped),
    ("artifacts", artifacts::case),
    ("images are reproducible", |_, _| image_cases::reproducible()),
    ("FROM the bash image", |world, _| image_cases::derived(world)),
    ("the Runtime of Python", |world, _| image_cases::python(world)),
    ("example Runtime Servers", |world, _| examples::case(world)),
    ("a quiet controller", |world, place| behaviour::quiet(&world.tools, place, QUIET)),
    // Leaves the cluster without kruntimes.
    ("docs/install.md", |world, _| charts::page(world)),
];

/// Runs every case whose name has a word in it.
pub(crate) fn run(word: &str) -> anyhow::Result<()> {
    let world = World::find()?;
    let _turn = world.own.as_ref().map(Place::turn).transpose()?;
    let started = Instant::now();
    world.install().context("install the charts")?;
    println!("e2e cluster: installed in {} s", started.elapsed().as_secs());
    let mut tally = Tally::default();
    let chosen = |name: &str| name.contains(word);
    for (name, case) in suite::CASES.into_iter().filter(|(name, _)| chosen(name)) {
        tally.run(name, || case(&world.tools));
    }
    let cases = CASES.into_iter().chain(rights::CASES);
    for (name, case) in cases.filter(|(name, _)| chosen(name)) {
        tally.run(name, || case(&world));
    }
    if let Some(place) = &world.own {
        for (name, case) in OWN.into_iter().filter(|(name, _)| chosen(name)) {
            tally.run(name, || case(&world, place));
        }
    }
    tally.end()
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<&'static str>,
}

impl Tally {
    fn run(&mut self, name: &'static str, case: impl FnOnce() -> anyhow::Result<()>) {
        let started = Instant::now();
        match case() {
            Ok(()) => {
                println!("e2e cluster: {name} ok, {} s", started.elapsed().as_secs());
                self.passed += 1;
            }
            Err(error) => {
                println!("e2e cluster: {name} FAILED: {error:?}");
                self.failed.push(name);
            }
        }
    }

    fn end(self) -> anyhow::Result<()> {
        println!("{} passed, {} failed", self.passed, self.failed.len());
        ensure!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
        Ok(())
    }
}

impl World {
    fn find() -> anyhow::Result<Self> {
        let place = Place::find()?;
        let own = place.kubeconfig();
        let kubeconfig = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty());
        let kubeconfig = kubeconfig.map_or_else(|| own.clone(), PathBuf::from);
        ensure!(
            kubeconfig.exists(),
            "{} does not exist: start a cluster with `cargo xtask e2e up`, or name one with $KUBECONFIG",
            kubeconfig.display()
        );
        let is_own = kubeconfig == own;
        Ok(Self {
            tools: Tools::new(kubeconfig.clone(), home::build(Build::Dev)?),
            helm: kubernetes::helm(&place)?,
            kubeconfig,
            own: is_own.then_some(place),
        })
    }

    /// Helm with these arguments; the answer is what it prints.
    pub(super) fn helm(&self, arguments: &str) -> anyhow::Result<String> {
        let output = Command::new(&self.helm)
            .args(arguments.split_whitespace())
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(root())
            .output()
            .with_context(|| format!("start {}", self.helm.display()))?;
        ensure!(output.status.success(), "helm {arguments}: {}", suite::text(&output));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Where helm is.
    pub(super) fn helm_path(&self) -> &Path {
        &self.helm
    }

    /// The administrator's kubeconfig.
    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The values that name the images of this test.
    pub(super) fn images(&self) -> anyhow::Result<(String, String)> {
        let image = |variable: &str, own: &str| match (std::env::var_os(variable), &self.own) {
            (Some(image), _) => image.into_string().ok().context("an image's name is no text"),
            (None, Some(_)) => Ok(own.to_owned()),
            (None, None) => bail!("{variable} must name an image that the cluster can pull"),
        };
        Ok((
            image("KRUNTIMES_E2E_IMAGE", "localhost/kruntimes:e2e")?,
            image("KRUNTIMES_E2E_BASH_IMAGE", "localhost/bash-runtime:e2e")?,
        ))
    }

    /// An annotation that changes with the images of `e2e images`, whose tag does not: pods are made anew with them.
    fn mark(&self) -> anyhow::Result<String> {
        match self.own {
            Some(_) => images::revision(&ClusterTools::prepare()?),
            None => Ok("of-its-tag".into()),
        }
    }

    /// Installs or upgrades both charts, with a pool in the namespace `default`, which has no Runs then.
    fn install(&self) -> anyhow::Result<()> {
        let (image, bash) = self.images()?;
        let mark = self.mark()?;
        self.helm(&format!(
            "upgrade --install kruntimes charts/kruntimes -n kruntimes-system --create-namespace \
             --set image={image} --wait --timeout 3m --set-string scheduler.podAnnotations.image={mark} \
             --set-string controller.podAnnotations.image={mark}"
        ))?;
        self.helm(&format!(
            "upgrade --install runtimes charts/kruntimes-runtimes -n default --set bash.image={bash} \
             --set bash.capacity.resources.runs=8 --set bash.resources.requests.cpu={REQUEST} \
             --set-string bash.podAnnotations.image={mark}"
        ))?;
        self.tools.kubectl("wait --for=condition=Ready runtime/bash --timeout=180s")?;
        self.tools.kubectl("delete runs --all --timeout=60s")?;
        Ok(())
    }
}

/// The tests of krt that hold in both homes, unchanged.
fn krt_suite(world: &World) -> anyhow::Result<()> {
    let status = cargo()
        .args(["test", "--quiet", "--package", "krt", "--test", "cli", "--", "both::"])
        .current_dir(root())
        .env("KRUNTIMES_TEST_KUBECONFIG", &world.kubeconfig)
        .status()?;
    ensure!(status.success(), "see above");
    Ok(())
}
