//! The home of one `krt run --local`: in memory and a temporary directory, and gone with the process that holds it.

use super::home::{LocalHome, Options, search_path};
use super::janitor::Janitor;
use super::ready_made::ReadyMade;
use crate::failure::Failure;
use crate::names;
use kruntimes_rules::reaper::Times;
use kube::Client;
use std::os::unix::fs::DirBuilderExt;

/// An ephemeral home.
pub(crate) struct Ephemeral {
    home: LocalHome,
    janitor: Janitor,
}

impl Ephemeral {
    /// Starts one with a single pod, of the Runtime that is wanted if it is a ready-made one.
    pub(crate) async fn start(runtime: &str) -> Result<Self, Failure> {
        let runtime = ReadyMade::named(runtime).unwrap_or(ReadyMade::Bash);
        if let Some(why) = runtime.missing(&search_path()) {
            return Err(Failure::new(why));
        }
        let dir =
            std::env::temp_dir().join(format!("krt-{}-{}", std::process::id(), names::random()?));
        let janitor = Janitor::start(&dir)?;
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&dir)
            .map_err(|error| Failure::new(format!("can't make {}: {error}", dir.display())))?;
        match LocalHome::start(Options {
            dir: &dir,
            durable: false,
            port: 0,
            runtimes: &[(runtime, 1)],
            log: "warn",
            times: Times::default(),
        })
        .await
        {
            Ok(home) => Ok(Self { home, janitor }),
            Err(failure) => {
                janitor.finish().await;
                Err(failure)
            }
        }
    }

    /// Talks to it.
    pub(crate) fn client(&self) -> Client {
        self.home.client()
    }

    /// Ends it with all its pods; its directory is gone after.
    pub(crate) async fn stop(self) {
        self.home.stop().await;
        self.janitor.finish().await;
    }
}
