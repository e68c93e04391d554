//! Who keeps artifacts, who looks after them and who has them are killed amid an upload; and stores that are none.

use super::trips::sidecars;
use super::{IN_BUCKET, LOOK, VOLUME, World};
use crate::{load, processes};
use anyhow::ensure;
use kruntimes_api::Phase;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// The uploads of two Runs are seen together within this, or not at all.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);
const PAIRS: usize = 10;
const FAST: Duration = Duration::from_millis(1);
/// A Run whose store refuses everything ends within this.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);
/// So many uploads at once are not those of one of the two Runs.
const OF_BOTH: usize = 3;
/// Artifacts of several parts each.
const LEAVES: &str =
    "cd \"$KRUNTIME_ARTIFACTS_DIR\"; for f in a b; do head -c 24000000 /dev/urandom > $f; done";

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Runtimed,
    /// The home with all of its pods, and the maintainer.
    Home,
    Minio,
}

impl World {
    /// Stores that can't be used: the Run says so, soon.
    pub(super) async fn refusals(&mut self) -> anyhow::Result<()> {
        self.secret("wrong", "another-secret").await?;
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let table: [(&str, Value, &str); 4] = [
            (
                "missing",
                json!({"bucket": "no-such-bucket"}),
                "the bucket no-such-bucket does not exist",
            ),
            ("wrong", json!({"credentialsSecretName": "wrong"}), "refuses the credentials"),
            ("nosecret", json!({"credentialsSecretName": "nobodys"}), "the Secret nobodys of"),
            ("down", json!({"endpoint": format!("http://{nobody}")}), "Connection refused"),
        ];
        for (name, settings, said) in table {
            self.runtime(name, self.bucket(&settings)).await?;
            let run = self.create(name, 1, "echo 1 > \"$KRUNTIME_ARTIFACTS_DIR/f\"").await?;
            let begun = Instant::now();
            let status = self.ended(&run).await?.status.unwrap_or_default();
            let (reason, message) =
                (status.reason.unwrap_or_default(), status.message.unwrap_or_default());
            ensure!(
                reason == "ArtifactStoreFailed" && message.contains(said),
                "{name}: {} {reason}: {message}",
                status.phase
            );
            ensure!(begun.elapsed() < REFUSED_WITHIN, "{name}: {:?}", begun.elapsed());
        }
        println!("   stores that are missing, refuse or are down end their Runs with what to do");
        self.one_to_one().await
    }

    /// Kills each part amid uploads to this store.
    pub(super) async fn kills(&mut self, store: &str) -> anyhow::Result<()> {
        for victim in [Victim::Runtimed, Victim::Home, Victim::Minio] {
            if victim == Victim::Minio && store == VOLUME {
                continue;
            }
            let (again, once) = self.amid_uploads(store).await?;
            self.kill(victim, store).await?;
            let status = self.ended(&again).await?.status.unwrap_or_default();
            ensure!(status.phase == Phase::Succeeded, "{victim:?}: {:?}", status.message);
            ensure!(status.artifact_refs.len() == 2, "{victim:?}: {:?}", status.artifact_refs);
            let once = self.ended(&once).await?.status.unwrap_or_default();
            let (phase, attempts) = (once.phase, status.attempt.unwrap_or_default());
            self.one_to_one().await?;
            println!(
                "   {store}: {victim:?} killed amid an upload: Succeeded at attempt {attempts}, and {phase}"
            );
        }
        Ok(())
    }

    /// Two Runs that keep what they have left, both at this moment. On a busy machine one may be done before the other begins:
    /// then it is two others.
    async fn amid_uploads(&mut self, store: &str) -> anyhow::Result<(String, String)> {
        for _ in 0..PAIRS {
            let before = self.uploads(store);
            let again = self.create(store, 20, LEAVES).await?;
            let once = self.create(store, 1, LEAVES).await?;
            let begun = Instant::now();
            while begun.elapsed() < BEGINS_WITHIN {
                if self.uploads(store).difference(&before).count() >= OF_BOTH {
                    return Ok((again, once));
                }
                sleep(FAST).await;
            }
            self.ended(&again).await?;
            self.ended(&once).await?;
        }
        anyhow::bail!("no uploads of two Runs at once in {PAIRS} tries")
    }

    async fn kill(&mut self, victim: Victim, store: &str) -> anyhow::Result<()> {
        match victim {
            Victim::Runtimed => {
                sidecars(self.home.pid(), store).into_iter().try_for_each(processes::kill)
            }
            Victim::Home => {
                processes::kill(self.home.pid())?;
                self.home.start_again(&self.krt, &[])?;
                self.client = load::client(&self.home).await?;
                self.ready(store).await
            }
            Victim::Minio => {
                self.minio.kill()?;
                sleep(LOOK).await;
                self.minio.start_again()
            }
        }
    }

    /// What is on its way into a store.
    fn uploads(&self, store: &str) -> BTreeSet<PathBuf> {
        let below = |directory: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect()
        };
        if store == IN_BUCKET {
            return below(&self.minio.uploads()).into_iter().collect();
        }
        let files = below(&self.volume()).into_iter().flat_map(|run| below(&run));
        files.filter(|file| file.to_string_lossy().contains("/.artifact-")).collect()
    }
}
