//! There and back, with the sidecar's memory measured meanwhile; and what is broken on the way is refused.

use super::{IN_BUCKET, World};
use crate::processes;
use anyhow::{Context, ensure};
use kruntimes_api::{Phase, Run};
use kube::ResourceExt;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The most that runtimed may have of its own.
const MEMORY_KIB: u64 = 64 << 10;
/// How often it is looked at.
const SAMPLE: Duration = Duration::from_millis(10);
const PART: u64 = 5 << 20;
/// Larger than what MinIO keeps beside its own data.
const FLIPPED_BYTES: u64 = 256 << 10;

impl World {
    pub(super) async fn round_trip(&mut self, store: &str, largest: u64) -> anyhow::Result<()> {
        let sizes = [0, 1, PART - 1, PART, PART + 1, largest];
        let mut script = "cd \"$KRUNTIME_ARTIFACTS_DIR\"; mkdir tree; echo x > tree/f".to_owned();
        for size in sizes {
            write!(
                script,
                "; head -c {size} /dev/urandom > s{size}; \
                 echo \"s{size}=$(sha256sum < s{size} | cut -d' ' -f1)\" >> \"$KRUNTIME_OUTPUTS\""
            )?;
        }
        let memory = Memory::watch(self.home.pid(), store);
        let name = self.create(store, 1, &script).await?;
        let begun = Instant::now();
        let run = self.ended(&name).await?;
        let uploaded = begun.elapsed();
        let status = run.status.as_ref().context("no status")?;
        ensure!(status.phase == Phase::Succeeded, "{}: {:?}", status.phase, status.message);
        let target = self.home.directory().join("downloaded");
        for size in sizes {
            let artifact = format!("s{size}");
            let words =
                ["artifact", "download", &name, &artifact, "-o", target.to_str().context("path")?];
            let output = self.krt(&words)?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            ensure!(status.outputs.get(&artifact) == Some(&sha256(&target)?), "{artifact} differs");
            fs::remove_file(&target)?;
        }
        let most = memory.most();
        println!(
            "   {store}: {} MiB kept in {:.1} s and downloaded; runtimed had at most {} MiB",
            sizes.iter().sum::<u64>() >> 20,
            uploaded.as_secs_f64(),
            most >> 10
        );
        ensure!(most > 0 && most <= MEMORY_KIB, "runtimed had {most} KiB, of {MEMORY_KIB}");
        self.one_to_one().await
    }

    /// One byte is another one, here and there: nobody is given the file.
    pub(super) async fn flips(&mut self, store: &str, count: usize) -> anyhow::Result<()> {
        let script =
            format!("head -c {FLIPPED_BYTES} /dev/urandom > \"$KRUNTIME_ARTIFACTS_DIR/f\"");
        let name = self.create(store, 1, &script).await?;
        let run = self.ended(&name).await?;
        let bytes = self.bytes_of(&run, store)?;
        let file = File::options().read(true).write(true).open(&bytes)?;
        let length = file.metadata()?.len();
        ensure!(length >= FLIPPED_BYTES, "{} has {length} bytes", bytes.display());
        let target = self.home.directory().join("flipped");
        let words = ["artifact", "download", &name, "f", "-o", target.to_str().context("path")?];
        for turn in 0..count as u64 {
            // The first byte, the last one, and others between.
            let offset = turn * (length - 1) / (count as u64 - 1);
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset)?;
            file.write_all_at(&[byte[0] ^ 1 << (turn % 8)], offset)?;
            let refused = !self.krt(&words)?.status.success();
            ensure!(refused && !target.exists(), "a flipped byte at {offset} was given out");
            file.write_all_at(&byte, offset)?;
        }
        let output = self.krt(&words)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(&target)?;
        println!("   {store}: a flipped byte was refused at {count} places");
        Ok(())
    }

    /// The file with the bytes of the artifact `f`.
    fn bytes_of(&self, run: &Run, store: &str) -> anyhow::Result<PathBuf> {
        let uid = run.uid().unwrap_or_default();
        if store != IN_BUCKET {
            return Ok(self.volume().join(uid).join("f"));
        }
        let object = self.objects().join(uid).join("f");
        let mut versions = fs::read_dir(&object)?.flatten().map(|entry| entry.path());
        let version = versions.find(|path| path.is_dir());
        Ok(version.context("MinIO keeps it in another way")?.join("part.1"))
    }
}

fn sha256(path: &Path) -> anyhow::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            length => hash.update(&chunk[..length]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The most memory of its own that a pool's runtimed has had.
struct Memory {
    most: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

impl Memory {
    fn watch(home: u32, runtime: &str) -> Self {
        let (most, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, ended) = (Arc::clone(&most), Arc::clone(&done));
        let pids = sidecars(home, runtime);
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let now: u64 = pids.iter().filter_map(|pid| anonymous_kib(*pid)).sum();
                seen.fetch_max(now, Ordering::Relaxed);
                std::thread::sleep(SAMPLE);
            }
        });
        Self { most, done }
    }

    fn most(self) -> u64 {
        self.done.store(true, Ordering::Relaxed);
        self.most.load(Ordering::Relaxed)
    }
}

/// The sidecars of a pool.
pub(super) fn sidecars(home: u32, runtime: &str) -> Vec<u32> {
    let flag = format!("--runtime-name={runtime}\0");
    let all = processes::of_home(home).unwrap_or_default().into_iter().map(|process| process.pid);
    all.filter(|pid| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&flag)
    })
    .collect()
}

fn anonymous_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.split_whitespace().next()?.parse().ok()
}
