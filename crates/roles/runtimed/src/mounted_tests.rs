//! Objects as the kubelet leaves them in a pod.

use super::*;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// A Run whose variables `V0`, `V1` … are keys of Secrets.
fn run(keys: &[(&str, &str)]) -> Run {
    let env: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(number, (name, key))| {
            let source = json!({"secretKeyRef": {"name": name, "key": key}});
            json!({"name": format!("V{number}"), "valueFrom": source})
        })
        .collect();
    let run = json!({
        "metadata": {"name": "r", "namespace": "ns"}, "spec": {"runtime": "bash", "env": env},
    });
    serde_json::from_value(run).unwrap()
}

/// Writes a version of an object, as the kubelet does.
fn write(root: &Path, path: &str, version: &str, keys: &[(&str, &[u8])]) {
    let object = root.join(path);
    fs::create_dir_all(object.join(version)).unwrap();
    for (key, content) in keys {
        fs::write(object.join(version).join(key), content).unwrap();
    }
    symlink(version, object.join("..data_tmp")).unwrap();
    fs::rename(object.join("..data_tmp"), object.join(NEWEST)).unwrap();
}

fn message(mounted: &Mounted, keys: &[(&str, &str)]) -> String {
    mounted.environment(&run(keys)).unwrap_err().to_string()
}

#[test]
fn each_attempt_reads_the_newest_version() {
    let root = crate::testing::directory("mounted-newest");
    let mounted = Mounted::new(root.clone());
    let both = [("db", "user"), ("db", "password")];
    write(&root, "secrets/db", "..1", &[("user", b"me"), ("password", b"old")]);
    assert_eq!(mounted.environment(&run(&both)).unwrap()["V1"], "old");
    write(&root, "secrets/db", "..2", &[("user", b"me"), ("password", b"new")]);
    fs::remove_dir_all(root.join("secrets/db/..1")).unwrap();
    let variables = mounted.environment(&run(&both)).unwrap();
    assert_eq!((&*variables["V0"], &*variables["V1"]), ("me", "new"));
    write(&root, "secrets/db", "..3", &[("user", b"me")]);
    assert!(message(&mounted, &both).contains("has no key \"password\""));
    assert_eq!(mounted.environment(&run(&[])).unwrap().len(), 0);
}

#[test]
fn a_directory_says_that_a_name_is_allowed() {
    let root = crate::testing::directory("mounted-allowed");
    let mounted = Mounted::new(root.clone());
    assert!(message(&mounted, &[("db", "k")]).contains("is not allowed by Runtime"));
    write(&root, "configmaps/db", "..1", &[("k", b"v")]);
    assert!(message(&mounted, &[("db", "k")]).contains("is not allowed by Runtime"));
    fs::create_dir_all(root.join("secrets/db")).unwrap();
    assert!(message(&mounted, &[("db", "k")]).contains("does not exist"));
    write(&root, "secrets/db", "..1", &[]);
    assert!(message(&mounted, &[("db", "k")]).contains("does not exist"));
}

#[test]
fn hostile_files_are_refused_within_bounds() {
    let root = crate::testing::directory("mounted-hostile");
    let mounted = Mounted::new(root.clone());
    let limit = env::READ_LIMIT_BYTES;
    let content = vec![b'x'; limit];
    write(
        &root,
        "secrets/db",
        "..1",
        &[
            ("fits", &content[..limit - 2]),
            ("long", &content[..=limit - 2]),
            ("longer", &[&content[..], b"x"].concat()),
            ("binary", b"\xff"),
        ],
    );
    let version = root.join("secrets/db/..1");
    symlink("/etc/passwd", version.join("link")).unwrap();
    fs::create_dir(version.join("directory")).unwrap();
    let pipe = version.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    assert_eq!(mounted.environment(&run(&[("db", "fits")])).unwrap()["V0"].len(), limit - 2);
    for (key, part) in [
        ("long", "at most 131070 bytes"),
        ("longer", "at most 131070 bytes"),
        ("binary", "is not UTF-8"),
        ("link", "can't be read"),
        ("directory", "is no regular file"),
        ("pipe", "is no regular file"),
    ] {
        let message = message(&mounted, &[("db", key)]);
        assert!(message.contains(part) && message.contains(key), "{message}");
    }
}

#[test]
fn all_together_are_read_within_bounds() {
    let root = crate::testing::directory("mounted-total");
    let mounted = Mounted::new(root.clone());
    let part = vec![b'x'; 131_000];
    let keys = ["a", "b", "c", "d", "e", "f"];
    let all: Vec<(&str, &[u8])> = keys.iter().map(|key| (*key, part.as_slice())).collect();
    write(&root, "secrets/one", "..1", &all);
    let of_one: Vec<_> = keys.iter().map(|key| ("one", *key)).collect();
    assert!(message(&mounted, &of_one).starts_with("spec.env has more than 131072 characters"));
    for key in keys {
        write(&root, &format!("secrets/{key}"), "..1", &[("k", &part)]);
    }
    let of_many: Vec<_> = keys.iter().map(|key| (*key, "k")).collect();
    assert!(message(&mounted, &of_many).starts_with("spec.env has more than 131072 characters"));
    let keys = mounted.object(SourceKind::Secret, "one", &[]);
    assert!(keys.is_empty());
}

#[test]
fn a_version_that_is_replaced_while_it_is_read_is_read_again() {
    let root = crate::testing::directory("mounted-replaced");
    let mounted = Mounted::new(root.clone());
    let text = |version: usize| format!("{version:08}").into_bytes();
    let put = |version: usize| {
        let content = text(version);
        let name = format!("..{version}");
        write(&root, "secrets/db", &name, &[("a", &content), ("b", &content)]);
    };
    put(0);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for version in 1..100 {
                put(version);
                fs::remove_dir_all(root.join(format!("secrets/db/..{}", version - 1))).unwrap();
            }
        });
        let mut read = 0;
        while !writer.is_finished() {
            match mounted.environment(&run(&[("db", "a"), ("db", "b")])) {
                Ok(variables) => {
                    assert_eq!(variables["V0"], variables["V1"], "of two versions");
                    read += 1;
                }
                Err(error) => assert!(error.to_string().contains("changes faster"), "{error}"),
            }
        }
        writer.join().unwrap();
        assert!(read > 0);
    });
    assert_eq!(mounted.environment(&run(&[("db", "a")])).unwrap()["V0"], "00000099");
}
