//! What is kept, byte by byte, and what never is, whatever a Run does.

use super::*;
use crate::unpack;
use kruntimes_api::Reason;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mknodat, openat, renameat_with};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;

const PLACE: Place<'_> = Place::of("ns", "u-1");

struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("left")).unwrap();
        Self { root }
    }

    fn left(&self) -> PathBuf {
        self.root.path().join("left")
    }

    fn open(&self) -> OwnedFd {
        openat(CWD, self.left(), walk::DIRECTORY, Mode::empty()).unwrap()
    }

    fn store(&self) -> Store {
        Store::volume(self.root.path().join("store"))
    }

    fn kept_files(&self) -> Vec<PathBuf> {
        let own = self.root.path().join("store/namespaces/ns/runs/u-1");
        let mut files: Vec<_> =
            fs::read_dir(own).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn keep_all(&self) -> Result<Vec<Kept>, KeepError> {
        let directory = self.open();
        let found = survey(&directory)?;
        let stop = Stop::default();
        found.iter().map(|one| keep(&self.store(), PLACE, &directory, one, &stop)).collect()
    }

    fn content(&self, name: &str) -> Vec<u8> {
        let mut content = Vec::new();
        self.store()
            .open(PLACE, name, &Stop::default())
            .unwrap()
            .bytes
            .read_to_end(&mut content)
            .unwrap();
        content
    }

    fn refused(&self) -> String {
        let error = survey(&self.open()).unwrap_err();
        assert_eq!(error.reason(), Reason::ArtifactInvalid);
        error.to_string()
    }
}

#[test]
fn files_are_kept_as_they_are_whatever_their_length() {
    let world = World::new();
    let part = 5 << 20;
    let lengths = [0_usize, 1, 511, 512, 513, CHUNK, part - 1, part, part + 1];
    for length in lengths {
        let content: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        fs::write(world.left().join(format!("f{length:08}")), content).unwrap();
    }
    let kept = world.keep_all().unwrap();
    assert_eq!(kept.len(), lengths.len());
    for (one, length) in kept.iter().zip(lengths) {
        let content = world.content(&one.name);
        assert_eq!((content.len(), one.size), (length, length as u64));
        assert_eq!(content, fs::read(world.left().join(&one.name)).unwrap());
        assert_eq!(one.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
    }
}

#[test]
fn permissions_stay_and_directories_are_closed_to_others() {
    let world = World::new();
    let script = world.left().join("run.sh");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(world.left().join("d")).unwrap();
    world.keep_all().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = world.kept_files();
    assert_eq!(files.iter().map(|file| mode(file)).collect::<Vec<_>>(), [0o600, 0o755]);
    assert_eq!(mode(files[0].parent().unwrap()), 0o750);
}

#[test]
fn a_directory_is_one_reproducible_archive_that_unpacks_to_the_same() {
    let world = World::new();
    let site = world.left().join("site");
    fs::create_dir_all(site.join("b/empty")).unwrap();
    fs::write(site.join("b/a.txt"), "a").unwrap();
    fs::write(site.join("index.html"), vec![7; 100_000]).unwrap();
    let long = format!("b/{}", "x".repeat(255));
    fs::write(site.join(&long), "long").unwrap();
    let first = world.keep_all().unwrap().remove(0);
    assert_eq!((first.kind, first.media_type.as_str()), (ArtifactType::Directory, ARCHIVE_TYPE));
    let archive = world.content("site");
    assert_eq!(archive[4..8], [0; 4], "no time");
    assert_eq!(archive[9], 255, "no operating system");

    let target = world.root.path().join("unpacked");
    fs::create_dir(&target).unwrap();
    let Store::Volume(volume) = world.store() else { panic!("it is on a volume") };
    unpack(&volume.open(PLACE, "site").unwrap(), &target).unwrap();
    assert_eq!(fs::read(target.join("index.html")).unwrap(), vec![7; 100_000]);
    assert_eq!(fs::read_to_string(target.join(&long)).unwrap(), "long");
    assert!(target.join("b/empty").is_dir());

    let mut listed = Vec::new();
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(archive.as_slice()));
    for entry in tar.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
        listed.push(String::from_utf8(entry.path_bytes().into_owned()).unwrap());
    }
    assert_eq!(listed, ["b/", "b/a.txt", "b/empty/", &long, "index.html"]);

    // The same tree, made in another order and at another time.
    fs::remove_dir_all(&site).unwrap();
    fs::create_dir_all(site.join("b/empty")).unwrap();
    fs::write(site.join(&long), "long").unwrap();
    fs::write(site.join("index.html"), vec![7; 100_000]).unwrap();
    fs::write(site.join("b/a.txt"), "a").unwrap();
    assert_eq!(world.keep_all().unwrap().remove(0), first);
}

#[test]
fn what_is_neither_file_nor_directory_is_refused_at_any_depth() {
    for depth in ["", "d/", "d/e/"] {
        for kind in ["a symbolic link", "a named pipe", "a socket"] {
            let world = World::new();
            fs::create_dir_all(world.left().join("d/e")).unwrap();
            let path = world.left().join(format!("{depth}x"));
            let node = |kind| mknodat(CWD, &path, kind, Mode::from_raw_mode(0o600), 0).unwrap();
            match kind {
                "a symbolic link" => symlink("/etc/passwd", &path).unwrap(),
                "a named pipe" => node(FileType::Fifo),
                _ => node(FileType::Socket),
            }
            let want =
                format!("{:?} is {kind}: only files and directories are kept", format!("{depth}x"));
            assert_eq!(world.refused(), want);
            assert_eq!(world.kept_files(), [] as [PathBuf; 0]);
        }
    }
}

#[test]
fn names_that_harm_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    for name in [b"a\\b".as_slice(), b"a\nb", b"\xff", b"\x1b[2J"] {
        for depth in ["", "d"] {
            let world = World::new();
            let directory = world.left().join(depth);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
            assert!(world.refused().contains("the name of an artifact is UTF-8"));
        }
    }
}

#[test]
fn limits_hold_on_both_sides() {
    let world = World::new();
    let sparse = |path: &str, bytes: u64| {
        File::create(world.left().join(path)).unwrap().set_len(bytes).unwrap();
    };
    for number in 0..limits::ARTIFACTS_ITEMS {
        sparse(&format!("f{number:02}"), 0);
    }
    assert_eq!(survey(&world.open()).unwrap().len(), 32);
    sparse("one-more", 0);
    assert_eq!(world.refused(), "there are more than 32 artifacts");
    fs::remove_file(world.left().join("one-more")).unwrap();
    sparse("f00", limits::ARTIFACT_BYTES);
    assert!(survey(&world.open()).is_ok());
    sparse("f00", limits::ARTIFACT_BYTES + 1);
    assert_eq!(world.refused(), "\"f00\" has more than 1073741824 bytes");
    sparse("f00", 1 << 40);
    assert_eq!(world.refused(), "\"f00\" has more than 1073741824 bytes");
    for number in 0..10 {
        sparse(&format!("f{number:02}"), limits::ARTIFACT_BYTES);
    }
    assert!(survey(&world.open()).is_ok());
    sparse("f10", 1);
    assert_eq!(world.refused(), "all artifacts have more than 10737418240 bytes");
}

#[test]
fn a_directory_has_limits_of_its_own() {
    let world = World::new();
    let mut deep = world.left().join("d");
    for _ in 0..limits::ARTIFACT_DEPTH {
        deep.push("x");
    }
    fs::create_dir_all(deep.parent().unwrap()).unwrap();
    assert!(survey(&world.open()).is_ok());
    fs::create_dir_all(&deep).unwrap();
    assert!(world.refused().contains("stands in more than 64 directories"));
    fs::remove_dir_all(world.left().join("d")).unwrap();
    for half in ["a", "b"] {
        let half = world.left().join("d").join(half);
        fs::create_dir_all(&half).unwrap();
        File::create(half.join("f")).unwrap().set_len(limits::ARTIFACT_BYTES / 2).unwrap();
    }
    assert!(survey(&world.open()).is_ok());
    fs::write(world.left().join("d/one"), "1").unwrap();
    assert_eq!(world.refused(), "\"d\" has more than 1073741824 bytes");
}

#[test]
fn a_hundred_thousand_files_are_refused() {
    let world = World::new();
    let many = world.left().join("many");
    fs::create_dir(&many).unwrap();
    // Names of one file: a hundred thousand of them are fast.
    let first = many.join("0");
    fs::write(&first, "").unwrap();
    for number in 1..limits::ARTIFACT_FILES {
        // The file system has a limit of links.
        let of = many.join((number / 60_000 * 60_000).to_string());
        if of.exists() {
            fs::hard_link(of, many.join(number.to_string())).unwrap()
        }
    }
    assert!(survey(&world.open()).is_ok());
    for number in limits::ARTIFACT_FILES..100_000 {
        fs::write(many.join(number.to_string()), "").unwrap();
    }
    assert_eq!(world.refused(), "there are more than 50000 files and directories");
}

#[test]
fn what_changes_between_two_looks_never_gives_away_another_file() {
    let world = World::new();
    let secret = world.root.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("f"), "the secret").unwrap();
    fs::create_dir(world.left().join("d")).unwrap();
    fs::write(world.left().join("d/f"), "public").unwrap();
    fs::write(world.left().join("g"), "public").unwrap();
    symlink(&secret, world.root.path().join("link-d")).unwrap();
    symlink(secret.join("f"), world.root.path().join("link-g")).unwrap();
    let (root, left) = (world.root.path().to_owned(), world.left());
    let end = Stop::default();
    let ended = end.clone();
    let racer = thread::spawn(move || {
        let mut swaps = 0_u64;
        while !ended.is_fired() {
            for (link, name) in [("link-d", "d"), ("link-g", "g")] {
                let flags = RenameFlags::EXCHANGE;
                renameat_with(CWD, root.join(link), CWD, left.join(name), flags).unwrap();
            }
            swaps += 1;
        }
        swaps
    });
    let directory = world.open();
    let found = [("d", ArtifactType::Directory), ("g", ArtifactType::File)];
    let found = found.map(|(name, kind)| Found { name: name.to_owned(), kind });
    let (mut kept, mut refused) = (0, 0);
    for _ in 0..2_000 {
        for one in &found {
            match keep(&world.store(), PLACE, &directory, one, &Stop::default()) {
                Ok(_) => {
                    kept += 1;
                    let content = world.content(&one.name);
                    let mut text = Vec::new();
                    flate2::read::GzDecoder::new(content.as_slice()).read_to_end(&mut text).ok();
                    let all = [content, text].concat();
                    assert!(!all.windows(10).any(|part| part == b"the secret"));
                }
                Err(KeepError::Invalid(_)) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    end.fire();
    let swaps = racer.join().unwrap();
    assert!(
        kept > 0 && refused > 0 && swaps > 100,
        "{kept} kept, {refused} refused, {swaps} swaps"
    );
}

#[test]
fn a_stopped_one_leaves_nothing() {
    let world = World::new();
    fs::write(world.left().join("f"), vec![1; 1 << 20]).unwrap();
    let found = survey(&world.open()).unwrap();
    let stop = Stop::default();
    stop.fire();
    let stopped = keep(&world.store(), PLACE, &world.open(), &found[0], &stop);
    assert!(matches!(stopped, Err(KeepError::Stopped)), "{stopped:?}");
    assert_eq!(world.kept_files(), [] as [PathBuf; 0]);
}

#[test]
fn what_nobody_wants_any_more_never_takes_the_place_of_what_is_there() {
    let world = World::new();
    fs::write(world.left().join("f"), "new").unwrap();
    let found = survey(&world.open()).unwrap();
    for asked_before in 0..=4 {
        let own = world.root.path().join("store/namespaces/ns/runs/u-1");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("f"), "of another attempt").unwrap();
        let asked = std::sync::atomic::AtomicU32::new(0);
        let stop = Stop::unless(move || asked.fetch_add(1, Ordering::Relaxed) < asked_before);
        let kept = keep(&world.store(), PLACE, &world.open(), &found[0], &stop);
        let last = asked_before > 2;
        assert_eq!(kept.is_ok(), last, "{asked_before}: {kept:?}");
        let content = if last { "new" } else { "of another attempt" };
        assert_eq!(world.content("f"), content.as_bytes(), "{asked_before}");
        assert_eq!(world.kept_files().len(), 1, "nothing half stays");
    }
}

#[test]
fn a_store_that_can_not_be_written_says_so() {
    let world = World::new();
    fs::write(world.left().join("f"), "1").unwrap();
    fs::write(world.root.path().join("store"), "a file").unwrap();
    let error = world.keep_all().unwrap_err();
    assert_eq!(error.to_string(), "the artifact store can't be written");
}

#[test]
fn a_link_in_a_store_is_not_followed() {
    let world = World::new();
    fs::write(world.left().join("f"), "1").unwrap();
    let elsewhere = world.root.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("u-1")).unwrap();
    fs::write(elsewhere.join("u-1/f"), "not ours").unwrap();
    fs::create_dir_all(world.root.path().join("store/namespaces/ns")).unwrap();
    symlink(&elsewhere, world.root.path().join("store/namespaces/ns/runs")).unwrap();
    assert!(matches!(world.keep_all(), Err(KeepError::Store { .. })));
    assert!(world.store().open(PLACE, "f", &Stop::default()).is_err());
    assert!(world.store().remove(PLACE, &Stop::default()).is_err());
    assert_eq!(fs::read_to_string(elsewhere.join("u-1/f")).unwrap(), "not ours");
    for name in ["..", "a/b", ""] {
        assert!(world.store().open(PLACE, name, &Stop::default()).is_err(), "{name}");
        let place = Place::of(name, "u");
        assert!(world.store().remove(place, &Stop::default()).is_err(), "{name}");
    }
}

#[test]
fn what_is_removed_is_gone_and_nothing_else() {
    let world = World::new();
    fs::write(world.left().join("f"), "1").unwrap();
    world.keep_all().unwrap();
    let other = Place::of("ns", "u-2");
    let found = survey(&world.open()).unwrap();
    keep(&world.store(), other, &world.open(), &found[0], &Stop::default()).unwrap();
    // What a crash has left.
    fs::write(world.kept_files()[0].with_file_name(".artifact-1-1"), "").unwrap();
    let mut runs = world.store().runs().unwrap();
    runs.sort();
    let named = |uid: &str| ("ns".to_owned(), uid.to_owned());
    assert_eq!(runs, [named("u-1"), named("u-2")]);
    let names = ["f".to_owned(), "x".to_owned()].into();
    world.store().retain(PLACE, &names, &Stop::default()).unwrap();
    assert!(
        world.kept_files().len() == 1 && world.store().open(PLACE, "f", &Stop::default()).is_ok()
    );
    world.store().remove(PLACE, &Stop::default()).unwrap();
    assert_eq!(world.store().runs().unwrap(), [named("u-2")]);
    assert!(!world.root.path().join("store/namespaces/ns/runs/u-1").exists());
    assert!(world.store().open(other, "f", &Stop::default()).is_ok());
    world.store().remove(PLACE, &Stop::default()).unwrap();
    let nowhere = Store::volume(world.root.path().join("nowhere"));
    nowhere.remove(PLACE, &Stop::default()).unwrap();
    assert_eq!(nowhere.runs().unwrap(), []);
}
