//! The images: the same bytes each time, and a base for others.

use super::command::output;
use super::images::{named, strip};
use super::pause::{ctr, import_archive};
use super::place::Place;
use super::test::World;
use super::up::Tools;
use crate::generate::root;
use crate::home;
use crate::images::{self, Freshness, Image, Layer, archive, base, containerfile};
use anyhow::{Context, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Two builds from one binary, in two directories, give the same digests; so do two builds of the Debian below them,
/// the cached one being the other where it has the same packages.
pub(super) fn reproducible() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let krt = scratch.path().join("krt");
    strip(&home::build(home::Build::Dev)?, &krt)?;
    let mut digests = Vec::new();
    for place in ["first", "second"] {
        let built = images::build(&krt, &scratch.path().join(place), named, Freshness::Cached)?;
        let facts =
            built.into_iter().map(|built| Ok((built.digest, archive::digest(&built.archive)?)));
        digests.push(facts.collect::<anyhow::Result<Vec<_>>>()?);
        fs::remove_dir_all(scratch.path().join(place))?;
    }
    ensure!(digests[0] == digests[1], "two builds differ: {digests:?}");
    let settings = root().join("images/base");
    let fresh = scratch.path().join("fresh");
    let digest = build_base(&settings, &fresh)?;
    let cached = base::prepare(&Place::find()?, &settings, &base::PACKAGES, Freshness::Cached)?;
    let other = if fs::read(cached.versions())? == fs::read(fresh.join("versions"))? {
        cached.layer()?.digest().to_owned()
    } else {
        println!("   Debian has other packages than the cache: it is built once more");
        build_base(&settings, &scratch.path().join("again"))?
    };
    ensure!(digest == other, "two builds of Debian differ: {digest}, {other}");
    Ok(())
}

fn build_base(settings: &Path, into: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(into)?;
    base::build(settings, &base::PACKAGES, into)?;
    archive::digest(&into.join("base.tar"))
}

/// What `FROM`, `USER 0`, `apt-get install -y jq` and `USER 65532:65532` make, as a Runtime.
pub(super) fn derived(world: &World) -> anyhow::Result<()> {
    let tools = &Tools::prepare()?;
    let name = named("bash-jq");
    let scratch = tempfile::tempdir()?;
    let layer = scratch.path().join("layer.tar");
    let mounted = Mounted::new(tools, &named("bash-runtime"), &scratch.path().join("root"))?;
    in_rootfs(&mounted.path, &["install", "-y", "--no-install-recommends", "jq"])?;
    archive::tar(&mounted.path, &layer)?;
    drop(mounted);
    let text = fs::read_to_string(root().join("images/bash-runtime.Containerfile"))?;
    let image = Image {
        name: name.clone(),
        config: containerfile::config(&text)?,
        layers: vec![Layer::of(layer)?],
    };
    let archive = scratch.path().join("image.tar");
    archive::write(&image, &archive)?;
    import_archive(tools, &archive)?;
    let kubectl = |arguments: &str| world.tools.kubectl(arguments);
    world.helm(&format!(
        "upgrade --install runtimes charts/kruntimes-runtimes -n e2e-images --create-namespace \
         --set bash.image={name} --set bash.replicas=1 --set bash.resources.requests.cpu=50m"
    ))?;
    kubectl("wait -n e2e-images --for=condition=Ready runtime/bash --timeout=240s")?;
    let said = world.tools.krt("-n e2e-images run -- jq --null-input 20+1")?;
    ensure!(said == "21\n", "jq says {said:?}");
    kubectl("delete namespace e2e-images --timeout=240s").map(drop)
}

/// The chart's Runtime of Python in its own image: what is preloaded, a command, a handler, an exception.
pub(super) fn python(world: &World) -> anyhow::Result<()> {
    let kubectl = |arguments: &str| world.tools.kubectl(arguments);
    let krt = |arguments: &str| world.tools.krt(&format!("-n e2e-python {arguments}"));
    world.helm(&format!(
        "upgrade --install runtimes charts/kruntimes-runtimes -n e2e-python --create-namespace \
         --set bash.enabled=false --set python.enabled=true --set python.image={} \
         --set python.preload={{json,decimal}} --set python.resources.requests.cpu=50m",
        named("python-runtime")
    ))?;
    kubectl("label namespace e2e-python pod-security.kubernetes.io/enforce=restricted")?;
    kubectl("wait -n e2e-python --for=condition=Ready runtime/python --timeout=240s")?;
    let said = world.tools.krt_refused("-n e2e-python run -r python -- -c 1/0")?;
    ensure!(said.contains("ZeroDivisionError: division by zero"), "an exception says {said:?}");
    let said = krt("run -r python -- print('decimal'in(__import__('sys').modules),6*7)")?;
    ensure!(said == "True 42\n", "Python says {said:?}");
    for (example, expected) in
        [("python", "Ada has 3 letters\n"), ("python-handler", "{\"sum\": 5}\n")]
    {
        let said = krt(&format!("run -f examples/{example}.yaml"))?;
        ensure!(said == expected, "{example} says {said:?}");
    }
    kubectl("delete namespace e2e-python --timeout=240s").map(drop)
}

/// `apt-get` with these arguments, after an update, in an image's files.
pub(super) fn in_rootfs(rootfs: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let resolver = rootfs.join("etc/resolv.conf");
    fs::copy("/etc/resolv.conf", &resolver)?;
    for arguments in [&["update"], arguments] {
        let mut apt = Command::new("chroot");
        apt.arg(rootfs).arg("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        output(&mut apt)?;
    }
    fs::remove_file(resolver).context("remove the copy of resolv.conf")
}

/// A writable copy of an image's files.
pub(super) struct Mounted<'a> {
    tools: &'a Tools,
    path: std::path::PathBuf,
}

impl<'a> Mounted<'a> {
    pub(super) fn new(tools: &'a Tools, image: &str, path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path)?;
        output(ctr(tools).args(["images", "mount", "--rw", image]).arg(path))?;
        Ok(Self { tools, path: path.to_owned() })
    }

    /// Where they are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        drop(output(ctr(self.tools).args(["images", "unmount", "--rm"]).arg(&self.path)));
    }
}
