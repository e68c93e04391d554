//! What a Run may use of the pod that it shares.

use crate::fixture::{Fixture, Language, TOKEN, parent, request, until_end};
use kruntimes_proto::executor::v1::HealthRequest;
use kruntimes_proto::{BOUNDS_METADATA, ISOLATION_METADATA};
use tonic::{Code, Request};

/// What is left to see of the server's directories.
const LISTED: &str = "ROOT:
workspace

ROOT/workspace:
a

ROOT/workspace/.tmp:
a
";

pub(crate) async fn a_run_has_its_own_files_and_no_others(mut fixture: Fixture) {
    fixture.write("other", "secret", "canary");
    let root = fixture.workspace().parent().unwrap().display().to_string();
    let script = format!(
        "echo mine > file && cat file; echo tmp > \"$TMPDIR/file\" && cat \"$TMPDIR/file\"
         for path in {root}/token {root}/workspace/other/secret; do cat $path; done
         ls {root} {root}/workspace {root}/workspace/.tmp; echo > {root}/workspace/other/new; true"
    );
    let seen = fixture.run_args("a", &[&script]).await;
    let listed = if fixture.has_namespaces().await { LISTED } else { "" };
    assert_eq!(seen.stdout(), format!("mine\ntmp\n{}", listed.replace("ROOT", &root)));
    let stderr = String::from_utf8_lossy(&seen.stderr).into_owned();
    let refused = |why: &str| stderr.matches(why).count();
    if fixture.has_namespaces().await {
        // What is above its own directories can be listed: nothing else is there.
        assert_eq!(refused("No such file or directory"), 3, "{stderr}");
    } else {
        assert_eq!(refused("Permission denied"), 6, "{stderr}");
    }
    assert_eq!(seen.exit(), (0, 0, ""));
}

pub(crate) async fn a_run_in_a_shared_workspace_has_that_and_its_own(mut fixture: Fixture) {
    fixture.write("other", "script", "cat ../../*/work/*");
    for id in ["s", "t"] {
        let script = "cat file; echo $0 >> file; echo k=v > \"$OUT\"; cat $OTHER || true";
        fixture.write(id, "work/script", script);
        fixture.write("holder", "work/.keep", "");
        let own = fixture.workspace().join(id);
        let mut request = request(id, &[]);
        request.working_dir = fixture.workspace().join("holder/work").display().to_string();
        request.entrypoint = own.join("work/script").display().to_string();
        let variables =
            [("OUT", own.join("outputs")), ("OTHER", fixture.workspace().join("other/script"))];
        request
            .env
            .extend(variables.map(|(name, path)| (name.to_owned(), path.display().to_string())));
        let seen = fixture.run(request.clone()).await;
        assert_eq!(seen.exit(), (0, 0, ""), "{}", String::from_utf8_lossy(&seen.stderr));
        assert_eq!(std::fs::read_to_string(own.join("outputs")).unwrap(), "k=v\n");
        let before = if id == "s" {
            String::new()
        } else {
            fixture.workspace().join("s/work/script\n").display().to_string()
        };
        assert_eq!(seen.stdout(), before);
        // The script of another one is none of its files.
        request.id = format!("{id}-thief");
        request.entrypoint = fixture.workspace().join("other/script").display().to_string();
        let refused = fixture.runtime.execute(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
}

const EVERYBODYS: &str = "for place in /tmp /dev/shm; do
    test ! -e $place/file && echo x > $place/file && cat $place/file
done
cat /var/tmp/file; ls / >/dev/null && ps -e -o comm= | sort | uniq | head -1";

pub(crate) async fn what_is_everybodys_is_its_own(mut fixture: Fixture) {
    let mut off = Fixture::start_with(Language::Bash, &["--namespaces", "off"]).await;
    assert!(!off.has_namespaces().await);
    let granted = fixture.has_namespaces().await;
    for id in ["a", "b"] {
        let seen = fixture.run_args(id, &[EVERYBODYS]).await;
        assert_eq!(seen.stdout(), if granted { "x\nx\nx\nbash\n" } else { "" });
        let seen = off.run_args(id, &[EVERYBODYS]).await;
        assert_eq!((seen.stdout().as_str(), seen.exit().0), ("", 2));
    }
}

pub(crate) async fn without_isolation_it_has_all(_: Fixture) {
    let mut fixture = Fixture::start_with(Language::Bash, &["--isolation", "none"]).await;
    fixture.write("other", "secret", "canary\n");
    let root = fixture.workspace().parent().unwrap().display().to_string();
    let script = format!("cat {root}/token {root}/workspace/other/secret");
    let seen = fixture.run_args("a", &[&script]).await;
    assert_eq!(seen.stdout(), format!("{TOKEN}\ncanary\n"));
}

pub(crate) async fn the_server_shows_a_run_nothing(mut fixture: Fixture) {
    let server = fixture.process.id();
    let main = fixture.start_and_read_pid("beside", &["echo $$; exec sleep 1000"]).await;
    let supervisor = parent(main);
    let script = format!(
        "for file in environ cmdline maps fd/0; do cat /proc/{server}/$file; done; kill -0 {server} || kill -0 {supervisor}"
    );
    let seen = fixture.run_args("a", &[&script]).await;
    assert_eq!(seen.stdout(), "");
    assert_eq!(seen.exit().0, 1);
}

pub(crate) async fn a_run_of_python_is_confined_warm_and_new(mut fixture: Fixture) {
    fixture.write("other", "secret", "canary");
    let root = fixture.workspace().parent().unwrap().display().to_string();
    let code = format!(
        "import os, socket
for name, attempt in {{
    'own': lambda: open('file', 'w').close(), 'image': lambda: open('/etc/passwd').read(),
    'token': lambda: open('{root}/token').read(), 'other': lambda: open('{root}/workspace/other/secret').read(),
    'signal': lambda: os.kill(os.getppid() or 1, 0), 'unix': lambda: socket.socket(socket.AF_UNIX),
}}.items():
    try:
        attempt()
        print(name, 'yes')
    except OSError:
        print(name, 'no')
"
    );
    // An option before -c asks for a new interpreter.
    for (id, args) in [("warm", vec!["-c", &code]), ("new", vec!["-I", "-c", &code])] {
        let seen = fixture.run_args(id, &args).await;
        let expected = "own yes\nimage yes\ntoken no\nother no\nsignal no\nunix no\n";
        assert_eq!(seen.stdout(), expected, "{id}");
    }
}

pub(crate) async fn bounds_are_kept_and_unknown_ones_refused(mut fixture: Fixture) {
    let code = "import socket
for make in (socket.socket, socket.socketpair):
    try:
        make()
        print(make.__name__, 'yes')
    except PermissionError:
        print(make.__name__, 'no')
";
    let mut free = Fixture::start_with(Language::Bash, &["--isolation", "none"]).await;
    for fixture in [&mut fixture, &mut free] {
        for (bounds, id, can) in [("", "with", "yes"), ("network=none", "without", "no")] {
            let mut events = fixture.watch(0).await;
            let mut asked = Request::new(request(id, &["python3", "-c", code]));
            asked.metadata_mut().insert(BOUNDS_METADATA, bounds.parse().unwrap());
            fixture.runtime.execute(asked).await.unwrap();
            let seen = until_end(&mut events, id).await;
            assert_eq!(seen.stdout(), format!("socket {can}\nsocketpair yes\n"), "{bounds}");
        }
        let mut asked = Request::new(request("wrong", &["true"]));
        asked.metadata_mut().insert(BOUNDS_METADATA, "cpu=1".parse().unwrap());
        let refused = fixture.runtime.execute(asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(refused.message(), "kruntimes-bounds: \"cpu=1\" is no bound of an execution");
    }
}

pub(crate) async fn health_says_how_runs_are_kept_apart(mut fixture: Fixture) {
    let mut free = Fixture::start_with(Language::Bash, &["--isolation", "none"]).await;
    let mut off = Fixture::start_with(Language::Bash, &["--namespaces", "off"]).await;
    let landlock = kruntimes_confine::landlock_abi().unwrap();
    let full = format!("full: Landlock {landlock}, seccomp");
    let without = format!("{full}, but nothing for modes, owners and times of files");
    let own = format!("{full}, namespaces (pid, mount, ipc");
    let own = if fixture.has_namespaces().await { own } else { without.clone() };
    let expected = [own, without, "none".to_owned()];
    for (fixture, expected) in [&mut fixture, &mut off, &mut free].into_iter().zip(expected) {
        let health = fixture.runtime.health(HealthRequest {}).await.unwrap();
        let said = health.metadata().get(ISOLATION_METADATA).unwrap().to_str().unwrap();
        assert!(said.starts_with(&expected), "{said}");
        assert_eq!(said.contains("namespaces"), expected.contains("namespaces"), "{said}");
        assert!(health.get_ref().healthy);
    }
}

pub(crate) async fn who_uses_too_much_ends_and_says_so(mut fixture: Fixture) {
    let bomb = "bomb() { [ $1 = 0 ] && exec sleep 20; \
    bomb $(($1 - 1)) | bomb $(($1 - 1)) & wait; }; bomb 10";
    let memory = "python3 -c \"b = []\nwhile True: b.append(b'x' * 2**20)\"";
    let disk = "while :; do head -c 1M /dev/zero >> \"$TMPDIR/file\"; done";
    for (id, bounds, script, starts) in [
        (
            "processes",
            "processes=64",
            bomb,
            "process limit: there were at least 65, 64 are allowed",
        ),
        ("by-default", "", bomb, "process limit: there were at least 513, 512 are allowed"),
        ("memory", "memory=67108864", memory, "memory limit: "),
        ("disk", "disk=4194304", disk, "disk limit: "),
    ] {
        let mut events = fixture.watch(0).await;
        let mut asked = Request::new(request(id, &[script]));
        asked.metadata_mut().insert(BOUNDS_METADATA, bounds.parse().unwrap());
        fixture.runtime.execute(asked).await.unwrap();
        let seen = until_end(&mut events, id).await;
        let (exit_code, signal, message) = seen.exit();
        assert_eq!((exit_code, signal), (137, 9), "{message}");
        assert!(message.starts_with(starts), "{message}");
    }
    assert_eq!(fixture.run_args("after", &["echo on"]).await.stdout(), "on\n");
}
