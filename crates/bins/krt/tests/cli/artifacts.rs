//! `krt artifact` beside the shared local home: what a Run leaves is listed, downloaded, unpacked, and gone with its Run.

use crate::support::{collect, finish, finish_with_input, send, shared};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

fn create(name: &str, script: &str) -> Option<i32> {
    let manifest = serde_json::json!({
        "apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": name},
        "spec": {"runtime": "bash", "args": [format!("cd \"$KRUNTIME_ARTIFACTS_DIR\"\n{script}")]},
    });
    finish_with_input(&mut shared().krt(&["run", "-f", "-"]), manifest.to_string().as_bytes()).code
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    (dir, path)
}

#[test]
fn artifacts_are_listed_downloaded_and_unpacked() {
    let script = "printf hello > report.txt; mkdir -p site/css; printf x > site/css/a.css; printf '#!' > site/run; \
                  chmod 755 site/run";
    assert_eq!(create("with-artifacts", script), Some(0));
    let listed = shared().run(&["artifact", "list", "with-artifacts"]);
    let rows: Vec<Vec<&str>> =
        listed.out().lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "TYPE", "SIZE", "CONTENT-TYPE", "DIGEST"]);
    assert_eq!(rows[1][..3], ["report.txt", "file", "5"]);
    let digest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    assert_eq!(rows[1].last(), Some(&digest));
    assert_eq!((rows[2][0], rows[2][1], rows[2][3]), ("site", "directory", "application/gzip"));
    let json: serde_json::Value = serde_json::from_str(
        shared().run(&["artifact", "list", "with-artifacts", "-o", "json"]).out(),
    )
    .unwrap();
    assert_eq!(json[0]["digest"], digest);

    let (_keep, dir) = place();
    let file = dir.join("here.txt");
    let path = file.to_str().unwrap();
    let got = shared().run(&["artifact", "download", "with-artifacts", "report.txt", "-o", path]);
    let want = format!("Downloaded report.txt (file, 5 bytes) to {path}\n");
    assert_eq!(got.expect(0).out(), want);
    assert_eq!(fs::read_to_string(&file).unwrap(), "hello");
    // What an earlier command has left is gone on with; what can't be the beginning of it is not.
    for left in ["hel", "hexl", "more than it is"] {
        fs::write(dir.join(".here.txt.part-2cf24dba5fb0a30e"), left).unwrap();
        shared()
            .run(&["artifact", "download", "with-artifacts", "report.txt", "-o", path])
            .expect(0);
        assert_eq!(fs::read_to_string(&file).unwrap(), "hello");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }
    let site = dir.join("site");
    let path = site.to_str().unwrap();
    let extract = ["artifact", "download", "with-artifacts", "site", "--extract", "-o", path];
    shared().run(&extract).expect(0);
    assert_eq!(fs::read_to_string(site.join("css/a.css")).unwrap(), "x");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(site.join("run")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o111, 0o111);
    let again = shared().run(&extract);
    assert!(again.expect(125).stderr.contains("is there already"), "{}", again.stderr);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing half is left");
}

#[test]
fn what_is_not_there_or_not_whole_is_one_clear_line_and_no_file() {
    assert_eq!(create("one-artifact", "printf hello > f"), Some(0));
    let (_keep, dir) = place();
    let path = dir.join("f");
    let path = path.to_str().unwrap();
    let missing = shared().run(&["artifact", "download", "one-artifact", "g", "-o", path]);
    assert_eq!(missing.expect(125).stderr, "error: one-artifact has no artifact \"g\": it has f\n");
    let extract =
        shared().run(&["artifact", "download", "one-artifact", "f", "--extract", "-o", path]);
    assert!(extract.expect(2).stderr.contains("only a directory can be unpacked"));
    let nowhere = shared().run(&["artifact", "download", "one-artifact", "f", "-o", "/no/where"]);
    assert!(nowhere.expect(125).stderr.contains("can't write /no/where: No such file"));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    assert_eq!(create("no-artifacts", "true"), Some(0));
    let none = shared().run(&["artifact", "list", "no-artifacts"]);
    assert_eq!((none.out(), none.stderr.as_str()), ("", "no-artifacts has no artifacts.\n"));
}

#[test]
fn a_run_whose_artifacts_can_not_be_kept_fails() {
    assert_eq!(create("linked", "ln -s /etc/passwd x"), Some(125));
    let details = shared().run(&["get", "linked"]);
    assert!(details.out().contains("ArtifactInvalid"), "{}", details.out());
}

#[test]
fn a_run_takes_what_an_earlier_one_has_left_on_either_runtime() {
    assert_eq!(create("maker", "printf hello > report.txt; mkdir d; printf x > d/y"), Some(0));
    let script = "cat report.txt in/d/y; ls -A | tr '\\n' ' '";
    let taken = ["run", "--input", "report.txt=maker", "--input", "d=maker:in/d", "--", script];
    assert_eq!(shared().run(&taken).expect(0).out(), "helloxin report.txt ");
    let python = [
        "run",
        "-r",
        "python",
        "--input",
        "report.txt=run/maker",
        "--",
        "print(open('report.txt').read())",
    ];
    assert_eq!(shared().run(&python).expect(0).out(), "hello\n");
    let missing = shared().run(&["run", "--input", "other=maker", "--", "true"]);
    let want = "Failed (InputUnavailable): spec.inputs[0]: the Run \"maker\" is Succeeded and has no artifact \"other\"";
    assert!(missing.expect(125).stderr.contains(want), "{}", missing.stderr);
    let wrong = shared().run(&["run", "--input", "other", "--", "true"]);
    assert!(
        wrong.expect(2).stderr.contains("is not NAME=RUN or NAME=RUN:PATH"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn a_download_that_is_stopped_leaves_nothing_under_its_name_and_goes_on_later() {
    let script = "head -c 200000000 /dev/urandom > big; sha256sum < big | cut -c 1-64 > sum";
    assert_eq!(create("large", script), Some(0));
    let (_keep, dir) = place();
    let (big, sum) = (dir.join("big"), dir.join("sum"));
    let download = |name: &str, path: &std::path::Path| {
        let path = path.to_str().unwrap().to_owned();
        shared().krt(&["artifact", "download", "large", name, "-o", &path])
    };
    finish(&mut download("sum", &sum)).expect(0);
    let child =
        download("big", &big).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let part = || {
        let mut entries = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap());
        entries.find(|entry| entry.file_name().to_string_lossy().starts_with(".big.part-"))
    };
    // Nothing tells that it has begun: it is looked for.
    while part().is_none_or(|part| part.metadata().unwrap().len() == 0) {
        std::thread::yield_now();
    }
    send(&child, Signal::INT);
    let stopped = collect(child);
    assert!(stopped.expect(130).stderr.contains("the same command goes on from there"));
    assert!(!big.exists() && part().is_some());
    let ended = finish(&mut download("big", &big));
    assert_eq!(ended.expect(0).stderr, "");
    assert!(part().is_none());
    let hashed = std::process::Command::new("sha256sum").arg(&big).output().unwrap();
    assert_eq!(hashed.stdout[..64], fs::read(&sum).unwrap()[..64]);
}
