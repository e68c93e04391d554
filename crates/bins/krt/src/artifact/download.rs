//! `krt artifact download`: through any pod of the Run's Runtime or the maintainer of its store, into a file beside its place that takes it when it is whole.
//!
//! What a pod sends is held against what the Run's status says: a file that is there is what the Run has left.

use super::DownloadArgs;
use super::part::{self, Part, unwritable};
use super::receive::{Answer, Receiving};
use crate::failure::Failure;
use crate::home::Home;
use crate::progress::Progress;
use crate::signals::Signals;
use crate::table::print;
use crate::through;
use kruntimes_api::{ArtifactRef, ArtifactType, Run};
use kruntimes_proto::artifact::v1::artifact_service_client::ArtifactServiceClient;
use kruntimes_proto::artifact::v1::{DownloadRequest, DownloadResponse};
use kruntimes_proto::{OFFSET_METADATA, TOKEN_METADATA};
use kruntimes_rules::artifact::check_name;
use kube::ResourceExt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tonic::{Request, Status, Streaming};

/// The exit code of a command that Ctrl-C has ended.
const INTERRUPTED: u8 = 130;

/// Downloads.
pub(crate) async fn download(home: &Home, args: &DownloadArgs) -> Result<(), Failure> {
    let run = super::find(home, &args.run).await?;
    let artifact = choose(&run, &args.artifact)?;
    if args.extract && artifact.kind != ArtifactType::Directory {
        return Err(Failure::usage(format!(
            "{:?} is a {}: only a directory can be unpacked, leave --extract out",
            artifact.name,
            artifact.kind.as_str()
        )));
    }
    let target = target(&artifact, args)?;
    let mut part = Part::open(&target, &artifact)?;
    let mut signals = Signals::listen()?;
    let progress = Progress::new(false);
    let runtime = &run.spec.runtime;
    let nobody = format!(
        "no pod of the Runtime {runtime} is ready, and there is no maintainer of its store: see `krt runtime get {runtime}`"
    );
    let receiving = Receiving { artifact: &artifact, target: &target, progress: &progress, nobody };
    let senders = async || through::senders(home, &run).await;
    let ask = async |sender: &through::Sender, offset| ask(home, args, sender, offset).await;
    let stopped = tokio::select! {
        received = receiving.take_from_any(&mut part, senders, ask) => received.map(|()| false)?,
        () = signals.next() => true,
    };
    if stopped {
        progress.hush();
        part.keep();
        let (length, size) = (part.length(), artifact.size_bytes);
        return Err(interrupted(&format!(
            "stopped after {length} of {size} bytes; the same command goes on from there"
        )));
    }
    if args.extract {
        unpack(&mut part, &target, &mut signals).await?;
    } else {
        part.persist(&target)?;
    }
    let (kind, bytes) = (artifact.kind.as_str(), artifact.size_bytes);
    print(&format!(
        "Downloaded {} ({kind}, {bytes} bytes) to {}\n",
        artifact.name,
        target.display()
    ))
}

fn choose(run: &Run, name: &str) -> Result<ArtifactRef, Failure> {
    let refs = run.status.as_ref().map_or(&[][..], |status| &status.artifact_refs);
    let found = refs.iter().find(|one| one.name == name).cloned();
    found.ok_or_else(|| {
        let names: Vec<&str> = refs.iter().map(|one| one.name.as_str()).collect();
        let has = if names.is_empty() {
            format!("no artifacts, it is {}", run.phase())
        } else {
            names.join(", ")
        };
        Failure::new(format!("{} has no artifact {name:?}: it has {has}", run.name_any()))
    })
}

fn target(artifact: &ArtifactRef, args: &DownloadArgs) -> Result<PathBuf, Failure> {
    let name = check_name(artifact.name.as_bytes())
        .map_err(|error| Failure::new(format!("{error}: name a file with --output")));
    let target = match &args.output {
        Some(path) => path.clone(),
        None if artifact.kind == ArtifactType::Directory && !args.extract => {
            PathBuf::from(format!("{}.tar.gz", name?))
        }
        None => PathBuf::from(name?),
    };
    let there = std::fs::symlink_metadata(&target).ok();
    let in_the_way = there.is_some_and(|there| args.extract || there.is_dir());
    if in_the_way {
        return Err(Failure::new(format!(
            "{} is there already: name another path with --output",
            target.display()
        )));
    }
    Ok(target)
}

/// Asks a pod for what follows the first `offset` bytes.
async fn ask(
    home: &Home,
    args: &DownloadArgs,
    sender: &through::Sender,
    offset: u64,
) -> Result<Answer<Streaming<DownloadResponse>>, Status> {
    let channel =
        sender.connect(home).await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(DownloadRequest {
        namespace: home.namespace.clone(),
        run_name: args.run.clone(),
        artifact_name: args.artifact.clone(),
    });
    request.metadata_mut().insert(TOKEN_METADATA, channel.token);
    request.metadata_mut().insert(OFFSET_METADATA, offset.into());
    let answer = ArtifactServiceClient::new(channel.channel).download(request).await?;
    let told = answer.metadata().get(OFFSET_METADATA).and_then(|value| value.to_str().ok());
    let offset = told.and_then(|text| text.parse().ok()).unwrap_or(0);
    Ok(Answer { offset, frames: answer.into_inner() })
}

/// Into a directory beside its place, which takes it when all is there. Who stops it waits until nothing of it is left.
async fn unpack(part: &mut Part, target: &Path, signals: &mut Signals) -> Result<(), Failure> {
    let written = |error: std::io::Error| unwritable(target, &error);
    let archive = part.content().map_err(written)?;
    let stopped = Arc::new(AtomicBool::new(false));
    let source = Stoppable { archive, stopped: Arc::clone(&stopped) };
    let place = target.to_owned();
    let mut unpacking = tokio::task::spawn_blocking(move || unpack_into(source, &place));
    let unpacked = tokio::select! {
        unpacked = &mut unpacking => unpacked,
        () = signals.next() => {
            stopped.store(true, Ordering::Relaxed);
            drop(unpacking.await);
            part.keep();
            return Err(interrupted("the unpacking was stopped, and nothing of it is left"));
        }
    };
    unpacked.map_err(|error| Failure::new(error.to_string()))?
}

fn unpack_into(archive: Stoppable, target: &Path) -> Result<(), Failure> {
    let part = tempfile::Builder::new()
        .prefix(&part::prefix(target))
        .tempdir_in(part::parent(target))
        .map_err(|error| unwritable(target, &error))?;
    let place = part.path().join("content");
    std::fs::create_dir(&place).map_err(|error| unwritable(target, &error))?;
    kruntimes_artifacts::unpack(archive, &place)
        .map_err(|error| Failure::new(format!("{}: {error}", target.display())))?;
    std::fs::rename(&place, target).map_err(|error| unwritable(target, &error))
}

/// An archive that ends when nobody wants it any more.
struct Stoppable {
    archive: File,
    stopped: Arc<AtomicBool>,
}

impl Read for Stoppable {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("stopped"));
        }
        self.archive.read(buffer)
    }
}

fn interrupted(line: &str) -> Failure {
    Failure { lines: vec![line.to_owned()], code: INTERRUPTED }
}
