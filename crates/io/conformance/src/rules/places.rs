//! Where the work is done, and with what around it.

use super::calls::shown;
use super::{Checked, Stop, ensure};
use crate::subject::Subject;
use crate::works::Work;
use kruntimes_proto::executor::v1::ExecutionState;

pub(super) async fn env(subject: &mut Subject) -> Checked {
    let work = subject.works.env.clone();
    let mut request = subject.request(work, "env")?;
    let value = "of the Run, with = and \u{e9}";
    request.env.insert("CONFORMANCE".to_owned(), value.to_owned());
    prints(subject, &request, value).await
}

pub(super) async fn directory(subject: &mut Subject) -> Checked {
    let work = subject.works.directory.clone();
    let request = subject.request(work, "directory")?;
    let directory = subject.directory(&request.id)?;
    let real = directory.canonicalize().unwrap_or(directory);
    prints(subject, &request, &real.to_string_lossy()).await
}

pub(super) async fn files(subject: &mut Subject) -> Checked {
    let work = subject.works.read.clone();
    let request = subject.request(work, "read")?;
    let canary = format!("canary of {}", request.id);
    let file = subject.directory(&request.id)?.join("canary");
    std::fs::write(&file, &canary)
        .map_err(|error| Stop::Skip(format!("can't write {}: {error}", file.display())))?;
    prints(subject, &request, &canary).await
}

pub(super) async fn default_directory(subject: &mut Subject) -> Checked {
    let work = subject.works.directory.clone();
    let mut request = subject.request(work, "directory")?;
    // Without it the server makes it.
    let made = subject.directory(&request.id)?;
    let Some(own) = made.parent() else { return Ok(()) };
    let own = own.canonicalize().unwrap_or_else(|_| own.to_owned());
    std::fs::remove_dir_all(&own)
        .map_err(|error| Stop::Skip(format!("can't remove {}: {error}", own.display())))?;
    request.working_dir.clear();
    prints(subject, &request, &own.to_string_lossy()).await
}

pub(super) async fn script(subject: &mut Subject) -> Checked {
    let work: Option<Work> = subject.works.script.clone();
    let first = work.as_ref().and_then(|work| work.args.first()).cloned().unwrap_or_default();
    let request = subject.request(work, "script")?;
    let expected = format!("script {first}");
    prints(subject, &request, expected.trim()).await
}

async fn prints(
    subject: &mut Subject,
    request: &kruntimes_proto::executor::v1::ExecuteRequest,
    expected: &str,
) -> Checked {
    let end = subject.run(request).await?;
    ensure(end.state() == ExecutionState::Succeeded, || {
        let stderr: String = end.stderr.chars().take(200).collect();
        format!("it ended as {}, stderr {stderr:?}", shown(&end))
    })?;
    ensure(end.stdout.trim() == expected, || {
        let stdout: String = end.stdout.chars().take(200).collect();
        format!("it printed {stdout:?}, not {expected:?}")
    })
}
