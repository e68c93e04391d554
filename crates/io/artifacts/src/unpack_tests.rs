//! Archives that mean harm: nothing of them reaches beyond the directory.

use super::*;
use std::fs;
use std::io::{Seek, Write};

fn archive(fill: impl FnOnce(&mut tar::Builder<&mut Vec<u8>>)) -> File {
    let mut bytes = Vec::new();
    let mut builder = tar::Builder::new(&mut bytes);
    fill(&mut builder);
    builder.finish().unwrap();
    drop(builder);
    let mut file = tempfile::tempfile().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(&mut file, flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    gzip.finish().unwrap();
    file.rewind().unwrap();
    file
}

/// As a hostile program writes it: with any name.
fn header(name: &[u8], kind: tar::EntryType, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    header
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in [b"../x".as_slice(), b"/etc/x", b"a/../../x", b".", b"", b"a//b", b"a\\b"] {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("t");
        fs::create_dir(&target).unwrap();
        let archive = archive(|tar| {
            tar.append(&header(name, tar::EntryType::Regular, 1), b"x".as_slice()).unwrap();
        });
        let error = unpack(&archive, &target).unwrap_err();
        assert!(matches!(error, UnpackError::Hostile(_)), "{name:?}: {error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }
}

#[test]
fn links_and_devices_are_refused_and_lead_nowhere() {
    use tar::EntryType;
    for kind in [EntryType::Symlink, EntryType::Link, EntryType::Fifo, EntryType::Char] {
        let root = tempfile::tempdir().unwrap();
        let archive = archive(|tar| {
            let mut link = header(b"a", kind, 0);
            link.set_link_name("/etc").unwrap();
            link.set_cksum();
            tar.append(&link, io::empty()).unwrap();
            tar.append(&header(b"a/x", EntryType::Regular, 1), b"x".as_slice()).unwrap();
        });
        let error = unpack(&archive, root.path()).unwrap_err();
        assert!(error.to_string().contains("neither a file nor a directory"), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_name_that_comes_twice_replaces_nothing() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(|tar| {
        for content in [b"1", b"2"] {
            tar.append(&header(b"a", tar::EntryType::Regular, 1), content.as_slice()).unwrap();
        }
    });
    assert!(matches!(unpack(&archive, root.path()), Err(UnpackError::Io(_))));
    assert_eq!(fs::read_to_string(root.path().join("a")).unwrap(), "1");
}

#[test]
fn an_archive_of_a_terabyte_is_refused_before_it_is_written() {
    let root = tempfile::tempdir().unwrap();
    let archive = archive(|tar| {
        tar.append(&header(b"a", tar::EntryType::Regular, 1 << 40), b"x".as_slice()).unwrap();
    });
    let error = unpack(&archive, root.path()).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
}

#[test]
fn names_and_attributes_before_an_entry_are_bounded() {
    let unpacked = |kind: tar::EntryType, size: u64, times: usize| {
        let root = tempfile::tempdir().unwrap();
        let archive = archive(|tar| {
            for _ in 0..times {
                let name = vec![b'x'; usize::try_from(size).unwrap()];
                tar.append(&header(b"././@LongLink", kind, size), name.as_slice()).unwrap();
            }
            tar.append(&header(b"y", tar::EntryType::Regular, 1), b"x".as_slice()).unwrap();
        });
        unpack(&archive, root.path()).map_err(|error| error.to_string())
    };
    let hostile = |why: &str| Err(format!("the archive is none of an artifact: {why}"));
    assert_eq!(unpacked(tar::EntryType::GNULongName, 200, 1), Ok(()));
    assert_eq!(unpacked(tar::EntryType::GNULongName, 200, 2), hostile("a name is too long"));
    assert_eq!(unpacked(tar::EntryType::GNULongName, PATH + 1, 1), hostile("a name is too long"));
    for kind in [tar::EntryType::XHeader, tar::EntryType::GNULongLink, tar::EntryType::GNUSparse] {
        let why = "\"././@LongLink\" is neither a file nor a directory";
        assert!(
            unpacked(kind, 200, 1)
                .is_err_and(|error| error.ends_with(why) || error.contains("the name")),
            "{kind:?}"
        );
    }
}

#[test]
fn what_is_no_archive_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"hello").unwrap();
    file.rewind().unwrap();
    assert!(matches!(unpack(&file, root.path()), Err(UnpackError::Io(_))));
}
