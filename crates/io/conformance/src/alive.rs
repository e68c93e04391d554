//! Whether a tree of processes lives, seen through a FIFO that all of it holds open: its end of file is the last one's
//! death, whatever process namespace that was in.

use crate::rules::{Checked, Stop};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::path::Path;
use std::time::Duration;
use tokio::net::unix::pipe::{OpenOptions, Receiver};
use tokio::time::timeout;

/// The FIFO's name in the working directory.
const NAME: &str = "alive";
/// How long a tree may take to open it.
const START_WITHIN: Duration = Duration::from_secs(15);

/// The reading end.
#[derive(Debug)]
pub(crate) struct Alive(Receiver);

impl Alive {
    /// A FIFO that nobody has opened for writing yet.
    pub(crate) fn new(directory: &Path) -> Result<Self, Stop> {
        let path = directory.join(NAME);
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, &path, FileType::Fifo, mode, 0)
            .map_err(|errno| Stop::Skip(format!("can't make {}: {errno}", path.display())))?;
        let receiver = OpenOptions::new().open_receiver(&path);
        receiver
            .map(Self)
            .map_err(|error| Stop::Skip(format!("can't open {}: {error}", path.display())))
    }

    /// Waits until the tree has said that it holds it.
    pub(crate) async fn held(&self) -> Checked {
        let line = async {
            let mut buffer = [0; 64];
            loop {
                self.0.readable().await.ok()?;
                match self.0.try_read(&mut buffer) {
                    Ok(1..) => return Some(()),
                    Ok(0) => return None,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => return None,
                }
            }
        };
        match timeout(START_WITHIN, line).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(Stop::Fail("the work ended before it held the FIFO".to_owned())),
            Err(_) => Err(Stop::Fail(format!(
                "the work did not open the FIFO {NAME:?} of its working directory within \
                 {START_WITHIN:?}"
            ))),
        }
    }

    /// Waits until nobody holds it any more.
    pub(crate) async fn dead(&self, within: Duration, when: &str) -> Checked {
        let end = async {
            let mut buffer = [0; 64];
            loop {
                if self.0.readable().await.is_err() {
                    return;
                }
                match self.0.try_read(&mut buffer) {
                    Ok(1..) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Ok(0) | Err(_) => return,
                }
            }
        };
        timeout(within, end)
            .await
            .map_err(|_| Stop::Fail(format!("a process of the execution lives {within:?} {when}")))
    }
}
