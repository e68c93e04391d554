//! `cargo xtask bench artifacts`: how fast artifacts are kept, beside `cp` and a plain upload in parts of a file of the same size.
//!
//! The figure is the median of the rounds' ratios. What keeps looks at every byte twice more: it hashes it, and holds its size against the
//! limit.

use super::minio::{BUCKET, KEY_ID, SECRET_KEY};
use super::{IN_BUCKET, VOLUME, World};
use crate::bench::{ROUNDS, percentile, print_figure};
use crate::cargo::cargo;
use crate::generate::root;
use crate::home::Build;
use anyhow::{Context, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kruntimes_api::Phase;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStoreExt};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tokio::task::JoinSet;

const BYTES: u64 = 256 << 20;
/// As artifacts are uploaded.
const PART: usize = 5 << 20;
const PARTS_AT_ONCE: usize = 2;
/// The least of the floor's throughput.
const SHARE: f64 = 0.7;

/// Builds this tool in release and measures.
pub(crate) fn run() -> anyhow::Result<()> {
    let status = cargo()
        .args(["run", "--quiet", "--release", "--package", "xtask", "--"])
        .args(["bench", "artifacts", "measure"])
        .current_dir(root())
        .status()?;
    ensure!(status.success(), "the measurement failed");
    Ok(())
}

/// Measures and prints the figures.
pub(crate) fn measure() -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let executor = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    executor.block_on(rounds())
}

async fn rounds() -> anyhow::Result<()> {
    let mut world = World::start(Build::Release).await?;
    let source = world.home.directory().join("source");
    let made = Command::new("head")
        .args(["-c", &BYTES.to_string(), "/dev/urandom"])
        .stdout(File::create(&source)?)
        .status()?;
    ensure!(made.success(), "no file to copy");
    let mut figures: [Vec<f64>; 6] = Default::default();
    for _ in 0..ROUNDS {
        let copied = copied(&source, &world.home.directory().join("copied"))?;
        let on_volume = world.kept_in(VOLUME).await?;
        let sent = sent(&world, &source).await?;
        let in_bucket = world.kept_in(IN_BUCKET).await?;
        let all = [copied, on_volume, on_volume / copied, sent, in_bucket, in_bucket / sent];
        for (figure, new) in figures.iter_mut().zip(all) {
            figure.push(new);
        }
    }
    println!("{} MiB, median of {ROUNDS} rounds (lowest to highest)", BYTES >> 20);
    let names = [
        "floor: cp and fsync [MiB/s]",
        "kept on a volume [MiB/s]",
        "of the floor",
        "floor: a plain upload in parts to MinIO [MiB/s]",
        "kept in MinIO [MiB/s]",
        "of the floor",
    ];
    for (name, figure) in names.into_iter().zip(&mut figures) {
        print_figure(name, figure);
    }
    let [_, _, volume, _, _, bucket] = &mut figures;
    let (volume, bucket) = (percentile(volume, 50), percentile(bucket, 50));
    ensure!(
        volume >= SHARE && bucket >= SHARE,
        "{volume:.2} and {bucket:.2} of the floors; the least is {SHARE}"
    );
    Ok(())
}

impl World {
    /// MiB a second from the end of a command to that of its Run.
    async fn kept_in(&mut self, store: &str) -> anyhow::Result<f64> {
        let script = format!("head -c {BYTES} /dev/urandom > \"$KRUNTIME_ARTIFACTS_DIR/f\"");
        let name = self.create(store, 1, &script).await?;
        let status = self.ended(&name).await?.status.context("no status")?;
        ensure!(status.phase == Phase::Succeeded, "{}: {:?}", status.phase, status.message);
        let timeline = status.timeline.context("no timeline")?;
        let at = |time: Option<MicroTime>| time.map(|time| time.0).context("no time");
        let took = at(timeline.finished)?.duration_since(at(timeline.exited)?);
        Ok(rate(took.as_secs_f64()))
    }
}

fn rate(seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mebibytes = (BYTES >> 20) as f64;
    mebibytes / seconds
}

fn copied(source: &Path, target: &Path) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let status = Command::new("cp").arg("--reflink=never").args([source, target]).status()?;
    ensure!(status.success(), "cp failed");
    File::open(target)?.sync_all()?;
    let took = begun.elapsed();
    std::fs::remove_file(target)?;
    Ok(rate(took.as_secs_f64()))
}

/// The file in parts, nothing else.
async fn sent(world: &World, source: &Path) -> anyhow::Result<f64> {
    let store = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_endpoint(world.minio.endpoint())
        .with_allow_http(true)
        .with_access_key_id(KEY_ID)
        .with_secret_access_key(SECRET_KEY)
        .build()?;
    let key = Key::from("floor");
    let begun = Instant::now();
    let mut upload = store.put_multipart(&key).await?;
    let (mut file, mut under_way) = (File::open(source)?, JoinSet::new());
    loop {
        let mut part = Vec::with_capacity(PART);
        file.by_ref().take(PART as u64).read_to_end(&mut part)?;
        if part.is_empty() {
            break;
        }
        if under_way.len() == PARTS_AT_ONCE
            && let Some(ended) = under_way.join_next().await
        {
            ended??;
        }
        under_way.spawn(upload.put_part(part.into()));
    }
    while let Some(ended) = under_way.join_next().await {
        ended??;
    }
    upload.complete().await?;
    let took = begun.elapsed();
    store.delete(&key).await?;
    Ok(rate(took.as_secs_f64()))
}
