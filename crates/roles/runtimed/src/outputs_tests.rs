//! What a Run may put where its outputs are read: nothing of it waits, is followed, or takes memory.

use super::*;
use crate::testing::directory;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const UID: &str = "0b0e8b5e-0f5e-4b5e-8b5e-0b0e8b5e0f5e";

static PLACES: AtomicU32 = AtomicU32::new(0);

fn collected(place: impl FnOnce(&Path)) -> Collected {
    let root = directory(&format!("outputs-{}", PLACES.fetch_add(1, Ordering::Relaxed)));
    let own = root.join(UID);
    fs::create_dir_all(&own).unwrap();
    place(&own.join(FILE));
    let began = Instant::now();
    let collected = collect(&Workspaces::new(root), UID);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    collected
}

fn refused(place: impl FnOnce(&Path)) -> (Reason, String) {
    let collected = collected(place);
    assert_eq!(collected.outputs, Outputs::new());
    collected.refused.unwrap()
}

#[test]
fn what_was_written_is_read() {
    let collected = collected(|file| fs::write(file, "a=1\nb<<E\nx\ny\nE\n").unwrap());
    let want = [("a", "1"), ("b", "x\ny")];
    let want = want.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(collected, Collected { outputs: want, ..Collected::default() });
}

#[test]
fn nothing_is_no_outputs() {
    assert_eq!(collected(|_| ()), Collected::default());
    assert_eq!(collected(|file| fs::write(file, "").unwrap()), Collected::default());
    assert_eq!(
        collected(|file| fs::remove_dir(file.parent().unwrap()).unwrap()),
        Collected::default()
    );
}

#[test]
fn what_is_no_file_of_its_own_is_refused_by_its_kind() {
    let secret = directory("outputs-secret").join("secret");
    fs::write(&secret, "password=1").unwrap();
    let named = |kind: &str| {
        let message =
            format!("$KRUNTIME_OUTPUTS is {kind}: it must be a regular file of the Run's own");
        (Reason::OutputsInvalid, message)
    };
    assert_eq!(refused(|file| symlink(&secret, file).unwrap()), named("a symbolic link"));
    assert_eq!(refused(|file| symlink("/nowhere", file).unwrap()), named("a symbolic link"));
    assert_eq!(refused(|file| fs::create_dir(file).unwrap()), named("a directory"));
    let second = |file: &Path| {
        let first = file.with_extension("first");
        fs::write(&first, "a=1").unwrap();
        fs::hard_link(first, file).unwrap();
    };
    assert_eq!(refused(second), named("a file with a second name"));
    let node = |kind: FileType| {
        let mode = Mode::from_raw_mode(0o600);
        move |file: &Path| rustix::fs::mknodat(rustix::fs::CWD, file, kind, mode, 0).unwrap()
    };
    assert_eq!(refused(node(FileType::Fifo)), named("a named pipe"));
    assert_eq!(refused(node(FileType::Socket)), named("a socket"));
}

#[test]
fn a_file_belongs_to_this_user_or_to_root() {
    let file = directory("outputs-owner").join("file");
    fs::write(&file, "a=1").unwrap();
    let mut stat = rustix::fs::stat(&file).unwrap();
    let me = stat.st_uid;
    for (owner, wanted) in [(me, true), (0, true), (me + 1, false)] {
        stat.st_uid = owner;
        assert_eq!(check(&stat).is_ok(), wanted, "{owner}");
    }
}

#[test]
fn a_workspace_that_became_a_link_is_not_entered() {
    let elsewhere = directory("outputs-elsewhere");
    fs::write(elsewhere.join(FILE), "password=1").unwrap();
    let (reason, _) = refused(|file| {
        let own = file.parent().unwrap();
        fs::remove_dir(own).unwrap();
        symlink(&elsewhere, own).unwrap();
    });
    assert_eq!(reason, Reason::OutputsInvalid);
}

#[test]
fn a_huge_file_is_refused_by_its_size_alone() {
    let sparse =
        |bytes: u64| move |file: &Path| File::create(file).unwrap().set_len(bytes).unwrap();
    let (reason, message) = refused(sparse(10 << 30));
    assert_eq!(reason, Reason::OutputsTooLarge);
    assert_eq!(message, "$KRUNTIME_OUTPUTS: the file has 10737418240 bytes: it may have 262144");
    assert_eq!(refused(sparse(limits::OUTPUTS_FILE_BYTES + 1)).0, Reason::OutputsTooLarge);
    // Within the limit it is read: one line of zeros is no output.
    assert_eq!(refused(sparse(limits::OUTPUTS_FILE_BYTES)).0, Reason::OutputsInvalid);
}

#[test]
fn a_directory_of_artifacts_that_became_a_link_is_not_nothing() {
    let root = directory(&format!("outputs-{}", PLACES.fetch_add(1, Ordering::Relaxed)));
    let workspaces = Workspaces::new(root.clone()).keeping(true);
    let artifacts = root.join(UID).join("artifacts");
    fs::create_dir_all(&artifacts).unwrap();
    assert!(is_nothing(&workspaces, UID));
    fs::remove_dir(&artifacts).unwrap();
    assert!(is_nothing(&workspaces, UID));
    let empty = directory(&format!("outputs-{}", PLACES.fetch_add(1, Ordering::Relaxed)));
    for target in ["/nowhere", empty.to_str().unwrap()] {
        symlink(target, &artifacts).unwrap();
        assert!(!is_nothing(&workspaces, UID) && collect(&workspaces, UID).artifacts, "{target}");
        fs::remove_file(&artifacts).unwrap();
    }
}
