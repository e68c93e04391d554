//! Requests that are wrong, and requests of a later version.

use super::calls::shown;
use super::later::{Later, execute};
use super::{Checked, Stop, answered, ensure, refused};
use crate::subject::{ANSWER_WITHIN, Subject, said, within};
use kruntimes_proto::executor::v1::{
    ExecuteRequest, ExecuteResponse, ExecutionState, HealthRequest,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::os::unix::fs::symlink;
use tonic::Code;

const MANY: usize = 10_000;

pub(super) async fn ids(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let good = subject.request(work, "succeed")?;
    let long = "x".repeat(201);
    for id in ["", &long, ".hidden", "..", "a/b", "/a", "a/"] {
        let request = ExecuteRequest { id: id.to_owned(), ..good.clone() };
        let shown: String = id.chars().take(20).collect();
        refused(
            &format!("id {shown:?}"),
            subject.try_execute(&request).await,
            Code::InvalidArgument,
        )?;
    }
    Ok(())
}

pub(super) async fn nul(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let good = subject.request(work, "succeed")?;
    let env = |name: &str, value: &str| ExecuteRequest {
        env: [(name.to_owned(), value.to_owned())].into(),
        ..good.clone()
    };
    let bad = [
        ("a NUL in args", ExecuteRequest { args: vec!["a\0b".to_owned()], ..good.clone() }),
        ("a NUL in entrypoint", ExecuteRequest { entrypoint: "a\0".to_owned(), ..good.clone() }),
        ("a NUL in a variable", env("A", "\0")),
        ("a NUL in a variable's name", env("A\0", "")),
        ("a variable without a name", env("", "x")),
        ("a variable named A=B", env("A=B", "x")),
    ];
    for (what, request) in bad {
        refused(what, subject.try_execute(&request).await, Code::InvalidArgument)?;
    }
    Ok(())
}

pub(super) async fn working_dirs(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let good = subject.request(work, "succeed")?;
    for elsewhere in ["/", "/etc", "relative", "./relative"] {
        let request = ExecuteRequest { working_dir: elsewhere.to_owned(), ..good.clone() };
        refused(
            &format!("working_dir {elsewhere:?}"),
            subject.try_execute(&request).await,
            Code::InvalidArgument,
        )?;
    }
    Ok(())
}

pub(super) async fn entrypoints(subject: &mut Subject) -> Checked {
    for kind in ["directory", "fifo", "link"] {
        let work = subject.works.script.clone();
        let mut request = subject.request(work, "script")?;
        let entry = subject.directory(&request.id)?.join("entry");
        let made = match kind {
            "directory" => std::fs::create_dir(&entry),
            "fifo" => mknodat(CWD, &entry, FileType::Fifo, Mode::from_raw_mode(0o777), 0)
                .map_err(Into::into),
            _ => symlink("/bin/true", &entry),
        };
        made.map_err(|error| Stop::Skip(format!("can't make a {kind}: {error}")))?;
        "entry".clone_into(&mut request.entrypoint);
        let what = format!("an entrypoint that is a {kind}");
        match subject.try_execute(&request).await? {
            Err(status) if is_refusal(status.code()) => {}
            Err(status) => {
                return Err(Stop::Fail(format!("{what} was answered {}", said(&status))));
            }
            Ok(_) => {
                let end = subject.end(&request.id).await?;
                let well = end.state() == ExecutionState::Failed
                    && !(end.error_message.is_empty() && end.stderr.is_empty());
                ensure(well, || format!("{what} ended as {}", shown(&end)))?;
            }
        }
    }
    Ok(())
}

pub(super) async fn many_arguments(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let mut request = subject.request(work, "succeed")?;
    request.args.extend((0..MANY).map(|number| number.to_string()));
    match subject.try_execute(&request).await? {
        Err(status) if is_refusal(status.code()) => {}
        Err(status) => return Err(Stop::Fail(format!("it was answered {}", said(&status)))),
        Ok(_) => drop(subject.end(&request.id).await?),
    }
    let health = subject.sign(HealthRequest {});
    answered("Health", within("Health", ANSWER_WITHIN, subject.runtime.health(health)).await)
        .map(drop)
}

/// Says what is wrong with a request, not with the server.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::ResourceExhausted
            | Code::PermissionDenied
    )
}

pub(super) async fn later_fields(subject: &mut Subject) -> Checked {
    let work = subject.works.succeed.clone();
    let request = subject.request(work, "succeed")?;
    let signed = subject.sign(Later {
        id: request.id.clone(),
        args: request.args,
        working_dir: request.working_dir,
        entrypoint: request.entrypoint,
        handler: request.handler,
        text: "of a later version".to_owned(),
        number: 7,
    });
    let call = execute(subject.channel.clone(), signed);
    let answer = within("Execute", ANSWER_WITHIN, call).await;
    let ExecuteResponse { id } = answered("Execute with later fields", answer)?;
    ensure(id == request.id, || format!("it answered the id {id:?}"))?;
    let end = subject.end(&request.id).await?;
    ensure(end.state() == ExecutionState::Succeeded, || format!("it ended as {}", shown(&end)))
}
