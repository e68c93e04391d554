//! Which command a request means, what it gets, and how its end is told.

use crate::fixture::{Fixture, Seen, request};
use kruntimes_proto::executor::v1::{ExecuteRequest, ExecutionState};
use tonic::Code;

pub(crate) async fn exit_codes_signals_and_their_words(mut fixture: Fixture) {
    let cases = [
        ("exit 0", ExecutionState::Succeeded, (0, 0, "")),
        ("exit 7", ExecutionState::Failed, (7, 0, "exit status 7")),
        ("kill -KILL $$", ExecutionState::Failed, (137, 9, "signal: killed")),
        ("kill -SEGV $$", ExecutionState::Failed, (139, 11, "signal: segmentation fault")),
        ("kill -TERM $$", ExecutionState::Failed, (143, 15, "signal: terminated")),
    ];
    for (number, (code, state, exit)) in cases.into_iter().enumerate() {
        let id = format!("run-{number}");
        let seen = fixture.run_args(&id, &[code]).await;
        assert_eq!((seen.exit(), seen.started), (exit, 1), "{code}");
        let status = fixture.status(&id).await;
        assert_eq!(status.state(), state, "{code}");
        assert_eq!((status.exit_code, status.error_message.as_str()), (exit.0, exit.2), "{code}");
    }
}

pub(crate) async fn two_arguments_are_one_command(mut fixture: Fixture) {
    let seen = fixture.run_args("a", &["echo", "a  b", "*"]).await;
    assert_eq!(seen.stdout(), "a  b *\n");
    let seen = fixture.run_args("b", &["bash", "-c", "echo \"$0-$1\"", "x", "y z"]).await;
    assert_eq!(seen.stdout(), "x-y z\n");
}

pub(crate) async fn white_space_in_the_first_makes_lines_of_a_script(mut fixture: Fixture) {
    let seen = fixture.run_args("a", &["cd /", "pwd", "echo 'a  b'"]).await;
    assert_eq!(seen.stdout(), "/\na  b\n");
}

pub(crate) async fn a_script_gets_the_arguments(mut fixture: Fixture) {
    fixture.write("a", "script", "#!/bin/false\necho \"$# $2\"; pwd");
    let seen = fixture.run_args("a", &["x y", "z  z"]).await;
    let working_dir = fixture.workspace().join("a");
    assert_eq!(seen.stdout(), format!("2 z  z\n{}\n", working_dir.display()));
    fixture.write("b", "sub/run..sh", "echo other");
    let other = ExecuteRequest { entrypoint: "sub/run..sh".to_owned(), ..request("b", &[]) };
    assert_eq!(fixture.run(other).await.stdout(), "other\n");
}

pub(crate) async fn what_cannot_be_executed_says_why(mut fixture: Fixture) {
    let check = |seen: &Seen, exit: (i32, i32, &str)| {
        assert_eq!((seen.exit(), seen.started), (exit, 0));
    };
    let seen = fixture.run_args("a", &["no-such-command", "x"]).await;
    check(&seen, (127, 0, "exec: \"no-such-command\": not found"));
    let seen = fixture.run_args("b", &["/etc/passwd", "x"]).await;
    check(&seen, (126, 0, "exec: \"/etc/passwd\": permission denied"));
    let seen = fixture.run_args("c", &[]).await;
    check(&seen, (0, 0, "no args or script provided"));
    assert_eq!(fixture.status("c").await.state(), ExecutionState::Failed);
    let nowhere = fixture.workspace().join("nowhere").display().to_string();
    let homeless = ExecuteRequest { working_dir: nowhere.clone(), ..request("d", &["true"]) };
    let seen = fixture.run(homeless).await;
    check(&seen, (0, 0, &format!("chdir {nowhere}: no such file or directory")));
}

pub(crate) async fn the_environment_is_exactly_the_documented_one(mut fixture: Fixture) {
    let plain = fixture.run_args("a", &["env", "--"]).await;
    let workspace = fixture.workspace();
    let (home, tmp) = (workspace.join("a"), workspace.join(".tmp/a"));
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected =
        format!("HOME={}\nLANG=C.UTF-8\nPATH={path}\nTMPDIR={}\n", home.display(), tmp.display());
    assert_eq!(plain.stdout(), expected);
    let env =
        [("PATH", "/usr/bin:/bin"), ("HOME", "/h"), ("X", "1\n2"), ("TMPDIR", "/t"), ("LANG", "C")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let own = fixture.run(ExecuteRequest { env, ..request("b", &["env", "--"]) }).await;
    assert_eq!(own.stdout(), "HOME=/h\nLANG=C\nPATH=/usr/bin:/bin\nTMPDIR=/t\nX=1\n2\n");
}

pub(crate) async fn temporary_files_have_a_place_and_go(mut fixture: Fixture) {
    let seen =
        fixture.run_args("a", &["mktemp -d; echo x > $(mktemp); stat -c %a \"$TMPDIR\""]).await;
    let tmp = fixture.workspace().join(".tmp/a");
    assert!(seen.stdout().starts_with(&format!("{}/", tmp.display())), "{seen:?}");
    assert!(seen.stdout().ends_with("\n700\n"), "{seen:?}");
    // Forget waits for the very end, files included.
    let forget = kruntimes_proto::executor::v1::ForgetRequest { id: "a".to_owned() };
    fixture.runtime.forget(forget).await.unwrap();
    assert!(!tmp.exists());
}

pub(crate) async fn code_longer_than_an_argument_runs(mut fixture: Fixture) {
    let code = format!("x={}; echo ${{#x}}", "ä".repeat(131_000));
    let seen = fixture.run_args("a", &[&code]).await;
    assert_eq!(seen.stdout(), "131000\n", "{:?}", seen.exited);
    // An argument for a command of its own the kernel refuses; that is the Run's failure.
    let seen = fixture.run_args("b", &["echo", &code]).await;
    assert_eq!(seen.exit(), (126, 0, "exec: \"echo\": argument list too long"));
}

pub(crate) async fn bad_requests_are_refused(mut fixture: Fixture) {
    // Out of the workspace, and into that of another one, by links that an execution could have left.
    fixture.write("a", "file", "");
    fixture.write("b", "file", "");
    let [out, other] = [("out", "/etc"), ("other", "../b")].map(|(name, to)| {
        let link = fixture.workspace().join("a").join(name);
        std::os::unix::fs::symlink(to, &link).unwrap();
        link.display().to_string()
    });
    let cases = [
        request("", &["true"]),
        request("../x", &["true"]),
        ExecuteRequest { entrypoint: "/bin/sh".to_owned(), ..request("a", &[]) },
        ExecuteRequest { entrypoint: "a/../../b".to_owned(), ..request("a", &[]) },
        ExecuteRequest { working_dir: "relative".to_owned(), ..request("a", &["true"]) },
        ExecuteRequest { working_dir: "/".to_owned(), ..request("a", &["true"]) },
        ExecuteRequest { working_dir: out, ..request("a", &["true"]) },
        ExecuteRequest { working_dir: other, ..request("a", &["true"]) },
        request("a", &["a\0b"]),
    ];
    for case in cases {
        let error = fixture.runtime.execute(case.clone()).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{case:?}");
    }
}
