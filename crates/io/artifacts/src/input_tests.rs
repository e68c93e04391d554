//! Artifacts on their way into a workspace: whole and where they must be, or refused, with nothing beyond it.

use super::*;
use kruntimes_rules::artifact::digest;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn reference(kind: &str, content: &[u8]) -> ArtifactRef {
    let digest = digest(&Sha256::digest(content).into());
    serde_json::from_value(json!({
        "name": "a", "driver": "filesystem", "type": kind, "location": {}, "digest": digest,
        "sizeBytes": content.len(), "createdAt": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

fn opened(content: &[u8]) -> Opened {
    Opened { size: content.len() as u64, bytes: Box::new(io::Cursor::new(content.to_vec())) }
}

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

fn put_at(root: &Path, kind: &str, content: &[u8], path: &str, room: u64) -> Result<(), PutError> {
    let path: Vec<String> = path.split('/').map(str::to_owned).collect();
    let artifact = reference(kind, content);
    Inputs::within(room).put(opened(content), &artifact, &open(root), &path, &Stop::default())
}

/// A directory as the tar.gz that it is kept as.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

#[test]
fn a_file_and_a_directory_come_to_their_path() {
    let root = tempfile::tempdir().unwrap();
    put_at(root.path(), "file", b"hello", "in/deep/f", 5).unwrap();
    let file = root.path().join("in/deep/f");
    assert_eq!(fs::read(&file).unwrap(), b"hello");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o111, 0);
    put_at(root.path(), "file", b"", "empty", 0).unwrap();
    let site = archive(&[("run", b"#!"), ("x", b"y")]);
    put_at(root.path(), "directory", &site, "in/site", 3).unwrap();
    assert_eq!(fs::read(root.path().join("in/site/x")).unwrap(), b"y");
    let mode = fs::metadata(root.path().join("in/site/run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o100, 0o100);
}

#[test]
fn nothing_that_is_there_is_replaced_and_no_link_is_followed() {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(root.path().join("f"), "mine").unwrap();
    fs::create_dir(root.path().join("d")).unwrap();
    symlink(outside.path(), root.path().join("out")).unwrap();
    symlink(outside.path().join("new"), root.path().join("dangling")).unwrap();
    let site = archive(&[("x", b"y")]);
    for (kind, content, path, why) in [
        ("file", &b"x"[..], "f", "\"f\" is there already"),
        ("file", b"x", "d", "\"d\" is there already"),
        ("file", b"x", "dangling", "\"dangling\" is there already"),
        ("file", b"x", "out/x", "\"out\" is a link or a file, where a directory must be"),
        ("file", b"x", "f/x", "\"f\" is a link or a file, where a directory must be"),
        ("directory", &site, "d", "\"d\" is there already"),
        ("directory", &site, "out", "\"out\" is there already"),
        (
            "directory",
            &site,
            "dangling/x",
            "\"dangling\" is a link or a file, where a directory must be",
        ),
    ] {
        let error = put_at(root.path(), kind, content, path, 100).unwrap_err();
        assert!(matches!(error, PutError::Path(_)), "{path}: {error:?}");
        assert_eq!(error.to_string(), why);
    }
    assert_eq!(fs::read(root.path().join("f")).unwrap(), b"mine");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_what_was_kept_is_refused() {
    let content: Vec<u8> = (0..1000_u16).map(|at| (at % 251) as u8).collect();
    let put = |kind: &str, kept: &[u8], stored: &[u8]| {
        let root = tempfile::tempdir().unwrap();
        let (artifact, path) = (reference(kind, kept), ["a".to_owned()]);
        let mut inputs = Inputs::within(1 << 20);
        inputs.put(opened(stored), &artifact, &open(root.path()), &path, &Stop::default())
    };
    for at in 0..content.len() {
        let mut flipped = content.clone();
        flipped[at] ^= 1 << (at % 8);
        let error = put("file", &content, &flipped).unwrap_err();
        assert!(matches!(error, PutError::Broken("its digest differs")), "{at}: {error:?}");
    }
    let error = put("file", &content, &content[1..]).unwrap_err();
    assert!(matches!(error, PutError::Broken("its size differs")), "{error:?}");
    // Behind its end an archive may hold anything: the digest covers it.
    let mut site = archive(&[("x", b"y")]);
    site.extend([0; 9]);
    put("directory", &site, &site).unwrap();
    let mut flipped = site.clone();
    *flipped.last_mut().unwrap() = 1;
    assert!(matches!(put("directory", &site, &flipped), Err(PutError::Broken(_))));
    let hostile = archive(&[("../x", b"y")]);
    assert!(matches!(put("directory", &hostile, &hostile), Err(PutError::Hostile(_))));
    assert!(matches!(put("directory", b"hello", b"hello"), Err(PutError::Hostile(_))));
}

#[test]
fn all_inputs_together_have_one_room() {
    let root = tempfile::tempdir().unwrap();
    let site = archive(&[("x", b"12345"), ("y", b"678")]);
    let put = |inputs: &mut Inputs, kind: &str, content: &[u8], name: &str| {
        let artifact = reference(kind, content);
        let path = [name.to_owned()];
        inputs.put(opened(content), &artifact, &open(root.path()), &path, &Stop::default())
    };
    let mut inputs = Inputs::within(10);
    put(&mut inputs, "file", b"ab", "fits").unwrap();
    put(&mut inputs, "directory", &site, "fits-too").unwrap();
    let error = put(&mut inputs, "file", b"c", "more").unwrap_err();
    assert!(matches!(error, PutError::TooLarge { bytes: 10, .. }), "{error:?}");
    assert!(!root.path().join("more").exists());
    let error = put(&mut Inputs::within(7), "directory", &site, "large").unwrap_err();
    assert!(matches!(error, PutError::TooLarge { bytes: 7, .. }), "{error:?}");
    assert_eq!(Inputs::within(u64::MAX).all.bytes, limits::ARTIFACTS_BYTES);
}

#[test]
fn a_store_that_fails_and_one_who_stops_are_told_apart() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the bucket is gone"))
        }
    }
    let root = tempfile::tempdir().unwrap();
    let stop = Stop::default();
    let put = |kind: &str, stop: &Stop| {
        let opened = Opened { size: 5, bytes: Box::new(Fails) };
        let (artifact, path) = (reference(kind, b"hello"), [kind.to_owned()]);
        Inputs::within(9).put(opened, &artifact, &open(root.path()), &path, stop).unwrap_err()
    };
    for kind in ["file", "directory"] {
        let error = put(kind, &stop).to_string();
        assert_eq!(error, "it can't be read from its store: the bucket is gone");
    }
    stop.fire();
    assert!(matches!(put("blob", &stop), PutError::Stopped));
}
