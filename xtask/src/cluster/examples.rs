//! The example Runtime Servers on the cluster: their images made as their Containerfiles say, a Run on each.

use super::command::output;
use super::image_cases::{Mounted, in_rootfs};
use super::images::{named, strip};
use super::pause::import_archive;
use super::test::World;
use super::up::Tools;
use crate::cargo::cargo;
use crate::generate::root;
use crate::images::{Image, Layer, archive, containerfile};
use crate::{home, kits};
use anyhow::{Context, ensure};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

const NAMESPACE: &str = "e2e-examples";
/// Debian's python3, which the image has.
const PYTHON: &str = "3.13";

/// One folder of `examples/custom`.
struct Example {
    folder: &'static str,
    /// The image of ours whose files are below its own.
    base: &'static str,
    /// What the Containerfile's COPY and RUN do.
    fill: fn(&Path) -> anyhow::Result<()>,
    args: &'static [&'static str],
}

const EXAMPLES: [Example; 3] = [
    Example { folder: "rust", base: "bash-runtime", fill: rust, args: &["print hello"] },
    Example {
        folder: "python",
        base: "python-runtime",
        fill: python,
        args: &["sh", "-c", "echo hello"],
    },
    Example {
        folder: "node",
        base: "bash-runtime",
        fill: node,
        args: &["-e", "console.log('hello')"],
    },
];

/// Each example becomes a pool and does a Run.
pub(super) fn case(world: &World) -> anyhow::Result<()> {
    let tools = &Tools::prepare()?;
    let kubectl = |arguments: &str| world.tools.kubectl(arguments);
    kubectl(&format!("create namespace {NAMESPACE}"))?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    kubectl(&format!("label namespace {NAMESPACE} {label}"))?;
    for example in &EXAMPLES {
        one(world, tools, example)
            .with_context(|| format!("examples/custom/{}", example.folder))?;
    }
    kubectl(&format!("delete namespace {NAMESPACE} --timeout=240s")).map(drop)
}

fn one(world: &World, tools: &Tools, example: &Example) -> anyhow::Result<()> {
    let folder = example.folder;
    let image = named(&format!("example-{folder}"));
    make(tools, example, &image)?;
    let scratch = tempfile::tempdir()?;
    let manifest = scratch.path().join("runtime.yaml");
    let text = fs::read_to_string(source(folder).join("runtime.yaml"))?;
    let theirs = format!("example.com/kruntimes-example-{folder}:0.1.0");
    ensure!(text.contains(&theirs), "runtime.yaml names another image than {theirs}");
    fs::write(&manifest, text.replace(&theirs, &image))?;
    let (manifest, name) = (manifest.display(), format!("example-{folder}"));
    world.tools.kubectl(&format!("apply -n {NAMESPACE} -f {manifest}"))?;
    let ready = format!("--for=condition=Ready runtime/{name} --timeout=240s");
    world.tools.kubectl(&format!("wait -n {NAMESPACE} {ready}"))?;
    let run = json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name},
        "spec": {"runtime": name, "args": example.args, "timeoutSeconds": 60},
    });
    let path = scratch.path().join("run.json");
    fs::write(&path, run.to_string())?;
    let said = world.tools.krt(&format!("-n {NAMESPACE} run -f {}", path.display()))?;
    ensure!(said == "hello\n", "it says {said:?}");
    Ok(())
}

fn make(tools: &Tools, example: &Example, image: &str) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let layer = scratch.path().join("layer.tar");
    let mounted = Mounted::new(tools, &named(example.base), &scratch.path().join("root"))?;
    (example.fill)(mounted.path())?;
    archive::tar(mounted.path(), &layer)?;
    drop(mounted);
    let text = fs::read_to_string(source(example.folder).join("Containerfile"))?;
    let image = Image {
        name: image.to_owned(),
        config: containerfile::config(&text)?,
        layers: vec![Layer::of(layer)?],
    };
    let file = scratch.path().join("image.tar");
    archive::write(&image, &file)?;
    import_archive(tools, &file)
}

fn source(folder: &str) -> std::path::PathBuf {
    root().join("examples/custom").join(folder)
}

fn rust(rootfs: &Path) -> anyhow::Result<()> {
    let mut build = cargo();
    kits::step(build.args(["build", "--quiet", "--package", "example-steps"]).current_dir(root()))?;
    let built = home::build(home::Build::Dev)?.with_file_name("example-steps");
    strip(&built, &rootfs.join("usr/bin/example-steps"))
}

fn python(rootfs: &Path) -> anyhow::Result<()> {
    let packages = rootfs.join("usr/local/lib").join(format!("python{PYTHON}/dist-packages"));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"];
    let with_pip = || {
        let mut command = Command::new("python3");
        command.args(pip).arg(&packages);
        command
    };
    kits::step(with_pip().args([
        "--python-version",
        PYTHON,
        "--only-binary=:all:",
        "grpcio>=1.60",
    ]))?;
    kits::step(with_pip().args(["--no-deps", "--upgrade"]).arg(root().join("kits/python")))?;
    fs::copy(source("python").join("server.py"), rootfs.join("server.py")).map(drop)?;
    readable(rootfs, &["usr/local/lib", "server.py"])
}

fn node(rootfs: &Path) -> anyhow::Result<()> {
    kits::node()?;
    in_rootfs(rootfs, &["install", "-y", "--no-install-recommends", "nodejs", "tini"])?;
    let server = rootfs.join("server");
    output(Command::new("cp").arg("-a").arg(source("node")).arg(&server))?;
    let prune = ["prune", "--silent", "--omit=dev"];
    kits::step(Command::new("npm").args(prune).current_dir(&server))?;
    readable(rootfs, &["server"])
}

/// The image's user is nobody that owns anything.
fn readable(rootfs: &Path, paths: &[&str]) -> anyhow::Result<()> {
    let paths = paths.iter().map(|path| rootfs.join(path));
    output(Command::new("chmod").args(["-R", "a+rX"]).args(paths)).map(drop)
}
