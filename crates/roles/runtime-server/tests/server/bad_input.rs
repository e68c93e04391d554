//! What nobody should ask for: each gets a clear word at once, in both languages.

use crate::fixture::{Fixture, Language, request};
use kruntimes_proto::executor::v1::ExecuteRequest;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use tonic::Code;

fn named(id: &str, entrypoint: &str) -> ExecuteRequest {
    ExecuteRequest { entrypoint: entrypoint.to_owned(), ..request(id, &[]) }
}

/// The words and what prints them, in this language.
fn print(language: Language, text: &str) -> String {
    match language {
        Language::Bash => format!("echo {text}"),
        Language::Python => format!("print('{text}')"),
    }
}

pub(crate) async fn an_entrypoint_is_a_regular_file_of_the_workspace(mut fixture: Fixture) {
    let code = print(fixture.language, "ran");
    let dir = fixture.workspace().join("a");
    fixture.write("a", "directory/file", "");
    fixture.write("a", "real", &code);
    fixture.write("other", "script", &code);
    let fifo = dir.join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    symlink("../other/script", dir.join("out")).unwrap();
    symlink("/etc/passwd", dir.join("far")).unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    symlink("loop", dir.join("loop")).unwrap();
    symlink("real", dir.join("link")).unwrap();
    let out = "is a symbolic link out of the working directory: only files in it are executed";
    let cases = [
        ("directory", "is a directory: name a file in it"),
        ("fifo", "is no regular file: only those are executed"),
        ("out", out),
        ("far", out),
        ("dangling", "is a symbolic link to nothing"),
        ("loop", "can't be looked at: too many levels of symbolic links"),
        ("missing", "is not in the working directory, and there are no args"),
        ("real/below", "can't be looked at: not a directory"),
    ];
    for (entrypoint, expected) in cases {
        let working_dir = dir.display().to_string();
        let id = entrypoint.replace('/', "-");
        let seen = fixture.run(ExecuteRequest { working_dir, ..named(&id, entrypoint) }).await;
        let message = format!("entrypoint {entrypoint:?} {expected}");
        assert_eq!((seen.exit(), seen.started), ((0, 0, message.as_str()), 0));
    }
    fs::remove_file(dir.join("loop")).unwrap();
    let seen = fixture.run(named("a", "link")).await;
    assert_eq!((seen.stdout().as_str(), seen.exit()), ("ran\n", (0, 0, "")));
    // What nobody has named is no script, whatever stands there.
    let fifo = fixture.workspace().join("b/script");
    fs::create_dir(fixture.workspace().join("b")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
    let seen = fixture.run_args("b", &[&print(fixture.language, "args  ran")]).await;
    assert_eq!(seen.exit(), (0, 0, ""));
}

pub(crate) async fn a_file_needs_no_execute_bit_but_must_be_readable(mut fixture: Fixture) {
    let code = print(fixture.language, "ran");
    fixture.write("a", "script", &code);
    let path = fixture.workspace().join("a/script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(fixture.run_args("a", &[]).await.stdout(), "ran\n");
    let seen = fixture.run_args("b", &["./no-such/file", "x"]).await;
    assert_eq!((seen.exit().1, seen.stdout().as_str()), (0, ""));
    assert!([2, 127].contains(&seen.exit().0), "{seen:?}");
}

pub(crate) async fn ten_thousand_arguments_arrive(mut fixture: Fixture) {
    let (count, last) = match fixture.language {
        Language::Bash => ("echo $#", "echo ${!#}"),
        Language::Python => ("import sys; print(len(sys.argv) - 1)", "print(sys.argv[-1])"),
    };
    fixture.write("a", "script", &format!("{count}\n{last}\n"));
    let args: Vec<String> = (0..10_000).map(|number| format!("argument {number}")).collect();
    let seen = fixture.run(ExecuteRequest { args: args.clone(), ..request("a", &[]) }).await;
    assert_eq!((seen.stdout().as_str(), seen.exit()), ("10000\nargument 9999\n", (0, 0, "")));
    let seen = fixture.run(ExecuteRequest { args, ..request("b", &[]) }).await;
    assert_ne!(seen.exit().0, 0, "no such command: {seen:?}");
}

pub(crate) async fn names_that_no_process_can_take_are_refused(mut fixture: Fixture) {
    let env = |name: &str, value: &str| ExecuteRequest {
        env: [(name.to_owned(), value.to_owned())].into(),
        ..request("a", &["true"])
    };
    let cases = [
        (request("a/b", &["true"]), "id \"a/b\" must be a file name"),
        (request("../a", &["true"]), "id \"../a\" must be a file name"),
        (request("", &["true"]), "id is empty"),
        (env("A=B", "x"), "env name \"A=B\" has a ="),
        (env("", "x"), "env name \"\" is empty"),
        (env("A\0", "x"), "env name \"A\\0\" holds a NUL character"),
        (env("A", "x\0"), "the value of env \"A\" holds a NUL character"),
        (request("a", &["b", "a\0b"]), "args[1] holds a NUL character"),
        (named("a", "x\0"), "entrypoint \"x\\0\" holds a NUL character"),
        (named("a", "/etc/passwd"), "entrypoint \"/etc/passwd\" must be a relative path"),
        (named("a", "a/../../b"), "entrypoint \"a/../../b\" must be a relative path"),
    ];
    for (case, expected) in cases {
        let error = fixture.runtime.execute(case.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{case:?}");
        assert!(error.message().contains(expected), "{expected}: {}", error.message());
    }
    if fixture.language == Language::Bash {
        let handler = ExecuteRequest { handler: "a.b".to_owned(), ..request("a", &["true"]) };
        let error = fixture.runtime.execute(handler).await.unwrap_err();
        assert!(error.message().contains("bash calls no functions"), "{error}");
    }
}
