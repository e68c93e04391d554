//! `krt artifact download`: through any pod of the Run's Runtime, into a file beside its place that takes it when it is whole.
//!
//! What a pod sends is held against what the Run's status says: a file that is there is what the Run has left.

use super::DownloadArgs;
use crate::failure::Failure;
use crate::home::Home;
use crate::pod_channel::{self, PodChannel};
use crate::progress::Progress;
use crate::table::print;
use crate::through;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{ArtifactRef, ArtifactType, Run};
use kruntimes_proto::TOKEN_METADATA;
use kruntimes_proto::artifact::v1::artifact_service_client::ArtifactServiceClient;
use kruntimes_proto::artifact::v1::{DownloadRequest, DownloadResponse};
use kruntimes_rules::artifact::{Hash, check_name};
use kube::ResourceExt;
use kube::api::Api;
use std::fs::{File, Permissions};
use std::io::{Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tonic::{Request, Streaming};

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
    let pods = Api::namespaced(home.client.clone(), &home.namespace);
    let channel = connect(&pods, &run).await?;
    let mut part = part_beside(&target)?;
    let frames = ask(channel, home, args).await?;
    receive(frames, &artifact, part.as_file_mut(), &Progress::new(false)).await?;
    if args.extract {
        unpack(part.as_file_mut(), &target)?;
    } else {
        part.as_file().sync_all()?;
        part.persist(&target).map_err(|error| unwritable(&target, &error.error))?;
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

async fn connect(pods: &Api<Pod>, run: &Run) -> Result<PodChannel, Failure> {
    let runtime = &run.spec.runtime;
    let mut why = format!("no pod of the Runtime {runtime} is ready");
    for pod in through::pods(pods, run).await? {
        match pod_channel::connect(pods, &pod.name_any(), pod.uid().as_deref()).await {
            Ok(channel) => return Ok(channel),
            Err(error) => why = format!("pod {}: {error}", pod.name_any()),
        }
    }
    Err(Failure::new(format!(
        "artifacts are read through a pod of the Run's Runtime, and {why}: see `krt runtime get {runtime}`"
    )))
}

async fn ask(
    channel: PodChannel,
    home: &Home,
    args: &DownloadArgs,
) -> Result<Streaming<DownloadResponse>, Failure> {
    let mut request = Request::new(DownloadRequest {
        namespace: home.namespace.clone(),
        run_name: args.run.clone(),
        artifact_name: args.artifact.clone(),
    });
    request.metadata_mut().insert(TOKEN_METADATA, channel.token);
    let answer = ArtifactServiceClient::new(channel.channel).download(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| refused(&status))
}

fn refused(status: &tonic::Status) -> Failure {
    Failure::new(format!("the artifact can't be downloaded: {}", status.message()))
}

/// Writes all of it to `file`, which holds it whole when this is no error.
async fn receive(
    mut frames: Streaming<DownloadResponse>,
    artifact: &ArtifactRef,
    file: &mut File,
    progress: &Progress,
) -> Result<(), Failure> {
    let broken = |what: &str| {
        Failure::new(format!(
            "{:?} did not arrive as the Run has left it: {what}; nothing was kept",
            artifact.name
        ))
    };
    let size = u64::try_from(artifact.size_bytes).unwrap_or_default();
    let first = frames.message().await.map_err(|status| refused(&status))?;
    let metadata = first.filter(|frame| frame.data.is_empty()).and_then(|frame| frame.metadata);
    if metadata.is_none_or(|metadata| metadata.name != artifact.name) {
        return Err(broken("the pod answers with something else"));
    }
    let (mut hash, mut received) = (Hash::new(), 0_u64);
    while let Some(frame) = frames.message().await.map_err(|status| refused(&status))? {
        received += frame.data.len() as u64;
        if received > size {
            return Err(broken("there is more of it"));
        }
        hash.update(&frame.data);
        file.write_all(&frame.data)?;
        if let Some(percent) = (received * 100).checked_div(size) {
            progress.stage(&format!("{}: {percent} %", artifact.name));
        }
    }
    progress.hush();
    if received < size {
        return Err(broken(&format!("{received} of {size} bytes came")));
    }
    if artifact.digest.as_deref() != Some(hash.finish().as_str()) {
        return Err(broken("its digest differs"));
    }
    Ok(())
}

/// Into a directory beside its place, which takes it when all is there.
fn unpack(archive: &mut File, target: &Path) -> Result<(), Failure> {
    archive.rewind()?;
    let part = tempfile::Builder::new()
        .prefix(&prefix(target))
        .tempdir_in(parent(target))
        .map_err(|error| unwritable(target, &error))?;
    let place = part.path().join("content");
    std::fs::create_dir(&place).map_err(|error| unwritable(target, &error))?;
    kruntimes_artifacts::unpack(archive, &place)
        .map_err(|error| Failure::new(format!("{}: {error}", target.display())))?;
    std::fs::rename(&place, target).map_err(|error| unwritable(target, &error))
}

fn part_beside(target: &Path) -> Result<tempfile::NamedTempFile, Failure> {
    tempfile::Builder::new()
        .prefix(&prefix(target))
        // As any file that its user makes.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent(target))
        .map_err(|error| unwritable(target, &error))
}

fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!(".{}.part-", name.chars().take(60).collect::<String>())
}

fn parent(target: &Path) -> &Path {
    target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritable(target: &Path, error: &std::io::Error) -> Failure {
    let why = crate::failure::without_number(&error.to_string());
    Failure::new(format!("can't write {}: {why}", target.display()))
}
