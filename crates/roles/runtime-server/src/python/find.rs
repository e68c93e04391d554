//! Looks for an interpreter: `python3` along the search path, else the newest `python3.N`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is looked for, unless a name is given.
const USUAL: &str = "python3";
/// The oldest that can fork as a server: `os.pidfd_open`.
const OLDEST_MINOR: u32 = 9;

/// An interpreter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) program: PathBuf,
    /// Names of all versions that are there.
    pub(crate) others: Vec<String>,
}

/// The interpreter to start; else what to do.
pub(crate) fn find(python: Option<&OsStr>, search_path: &OsStr) -> Result<Found, String> {
    let directories: Vec<PathBuf> = search_path
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"))
        .map(|directory| PathBuf::from(OsStr::from_bytes(directory)))
        .collect();
    let versions = versions(&directories);
    let others = versions.values().map(|path| path.display().to_string()).collect();
    let wanted = python.unwrap_or(OsStr::new(USUAL));
    let named = if wanted.as_bytes().contains(&b'/') {
        Some(PathBuf::from(wanted)).filter(|path| is_program(path))
    } else {
        let candidates = directories.iter().map(|directory| directory.join(wanted));
        candidates.into_iter().find(|path| is_program(path))
    };
    let newest = || versions.last_key_value().map(|(_, path)| path.clone());
    match (named, python) {
        (Some(program), _) => Ok(Found { program, others }),
        (None, None) => newest().map(|program| Found { program, others }).ok_or_else(|| {
            format!(
                "no python3 found in {}: install Python 3.{OLDEST_MINOR} or newer (Debian: apt-get install python3), or \
                 name it with --python PATH in the args of the Runtime",
                search_path.display()
            )
        }),
        (None, Some(wanted)) => Err(format!(
            "--python {}: there is no such program in {}{}",
            wanted.display(),
            search_path.display(),
            match versions.is_empty() {
                true => String::new(),
                false => format!(", but there is {}", others_text(&versions)),
            }
        )),
    }
}

fn others_text(versions: &BTreeMap<u32, PathBuf>) -> String {
    versions.values().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// `python3.N` by N: the first of each along the path.
fn versions(directories: &[PathBuf]) -> BTreeMap<u32, PathBuf> {
    let mut found = BTreeMap::new();
    for directory in directories {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        for name in entries.map(|entry| entry.file_name()) {
            let Some(minor) = minor(&name) else { continue };
            let path = directory.join(&name);
            if minor >= OLDEST_MINOR && !found.contains_key(&minor) && is_program(&path) {
                found.insert(minor, path);
            }
        }
    }
    found
}

fn minor(name: &OsString) -> Option<u32> {
    name.to_str()?.strip_prefix(USUAL)?.strip_prefix('.')?.parse().ok()
}

/// A script that chooses an interpreter is passed over: it needs an environment of its own.
fn is_program(path: &Path) -> bool {
    let mut magic = [0; 2];
    path.is_file()
        && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
        && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && magic != *b"#!"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn place(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let name = format!("krt-find-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        for (file, content) in files {
            fs::write(directory.join(file), content).unwrap();
            fs::set_permissions(directory.join(file), fs::Permissions::from_mode(0o755)).unwrap();
        }
        directory
    }

    #[test]
    fn the_first_python3_that_is_a_program_is_taken() {
        let shim = place("shim", &[("python3", "#!/bin/sh\n"), ("python3.x", "ELF")]);
        let real = place("real", &[("python3", "ELF"), ("python3.11", "ELF"), ("python3.8", "E")]);
        let path = OsString::from(format!("{}:{}", shim.display(), real.display()));
        let others = vec![real.join("python3.11").display().to_string()];
        let found = find(None, &path).unwrap();
        assert_eq!(found, Found { program: real.join("python3"), others });
        let versioned = place("versioned", &[("python3.9", "ELF"), ("python3.12", "ELF")]);
        let found = find(None, versioned.as_os_str()).unwrap();
        assert_eq!(found.program, versioned.join("python3.12"));
        let named = find(Some(OsStr::new("python3.11")), &path).unwrap();
        assert_eq!(named.program, real.join("python3.11"));
        for directory in [shim, real, versioned] {
            fs::remove_dir_all(directory).unwrap();
        }
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let none = place("none", &[("python2", "ELF"), ("python3.8", "ELF")]);
        let path = none.as_os_str();
        let error = find(None, path).unwrap_err();
        assert!(error.starts_with(&format!("no python3 found in {}: install", none.display())));
        let error = find(Some(OsStr::new("/nowhere/python")), path).unwrap_err();
        assert_eq!(
            error,
            format!("--python /nowhere/python: there is no such program in {}", none.display())
        );
        fs::remove_dir_all(none).unwrap();
    }
}
