//! The data directory of the local home: its permissions, and the room where it is.

use super::Check;
use crate::local::data_dir::{self, State};
use crate::local::disk;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// With less a home can't start or soon fails.
const NEEDED_BYTES: u64 = 64 << 20;
/// With less a few large Runs fill it.
const GOOD_BYTES: u64 = 1 << 30;

/// All of them.
pub(super) fn checks(dir: &Path) -> Vec<Check> {
    let temporary = std::env::temp_dir();
    vec![
        permissions(dir),
        home(dir),
        room("disk", dir, disk::free(dir)),
        room("temporary files", &temporary, disk::free(&temporary)),
    ]
}

fn permissions(dir: &Path) -> Check {
    const NAME: &str = "data directory";
    let shown = dir.display();
    let writable = |path: &Path| {
        let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(path, access).is_ok()
    };
    let Ok(metadata) = std::fs::metadata(dir) else {
        let above = dir.ancestors().skip(1).find(|path| path.exists());
        return match above {
            Some(above) if above.is_dir() && writable(above) => {
                Check::ok(NAME, format!("{shown}, to be made"))
            }
            Some(above) => Check::missing(
                NAME,
                format!("{shown} can't be made in {}", above.display()),
                "give yourself the right to write there, or name another one with --data-dir",
            ),
            None => Check::missing(
                NAME,
                format!("{shown} has no root"),
                "name another one with --data-dir",
            ),
        };
    };
    let owner = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() {
        return Check::missing(
            NAME,
            format!("{shown} is no directory"),
            "name another one with --data-dir",
        );
    }
    if !writable(dir) {
        return Check::missing(
            NAME,
            format!("{shown} can't be written"),
            format!("`chmod u+rwx {shown}`, or name another one with --data-dir"),
        );
    }
    if metadata.uid() != owner {
        return Check::degraded(
            NAME,
            format!("{shown} belongs to user {}", metadata.uid()),
            format!("it holds credentials: `chown {owner} {shown}`"),
        );
    }
    if metadata.mode() & 0o077 != 0 {
        return Check::degraded(
            NAME,
            format!("{shown} is open to others (mode {:03o})", metadata.mode() & 0o777),
            format!("it holds credentials: `chmod 700 {shown}`"),
        );
    }
    Check::ok(NAME, format!("{shown}, yours alone"))
}

fn home(dir: &Path) -> Check {
    match data_dir::state(dir) {
        Ok(State::Up(pid)) => Check::ok("local home", format!("up, pid {pid}")),
        Ok(State::Starting(pid)) => Check::ok("local home", format!("starting, pid {pid}")),
        Ok(State::Down) => Check::ok("local home", "down"),
        Err(failure) => Check::missing(
            "local home",
            failure.lines.join("; "),
            "mend the data directory, or name another one with --data-dir",
        ),
    }
}

fn room(name: &'static str, path: &Path, free: Option<u64>) -> Check {
    let shown = path.display();
    let Some(free) = free else {
        return Check::degraded(name, format!("can't tell what is free at {shown}"), "see `df`");
    };
    let found = format!("{} free at {shown}", disk::show(free));
    if free < NEEDED_BYTES {
        let needed = disk::show(NEEDED_BYTES);
        Check::missing(name, found, format!("a local home needs {needed}: make room there"))
    } else if free < GOOD_BYTES {
        let good = disk::show(GOOD_BYTES);
        Check::degraded(name, found, format!("large Runs may fail: have {good} or more"))
    } else {
        Check::ok(name, found)
    }
}

#[cfg(test)]
mod tests {
    use super::super::State as Is;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn room_is_judged_on_both_sides_of_its_limits() {
        let state = |free| room("disk", Path::new("/"), free).state;
        assert_eq!(state(Some(NEEDED_BYTES - 1)), Is::Missing);
        assert_eq!(state(Some(NEEDED_BYTES)), Is::Degraded);
        assert_eq!(state(Some(GOOD_BYTES - 1)), Is::Degraded);
        assert_eq!(state(Some(GOOD_BYTES)), Is::Ok);
        assert_eq!(state(None), Is::Degraded);
    }

    #[test]
    fn a_data_directory_is_private_or_can_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        assert_eq!(permissions(&home).state, Is::Ok);
        std::fs::create_dir(&home).unwrap();
        let mode =
            |bits| std::fs::set_permissions(&home, std::fs::Permissions::from_mode(bits)).unwrap();
        mode(0o700);
        assert_eq!(permissions(&home).state, Is::Ok);
        mode(0o750);
        assert_eq!(permissions(&home).state, Is::Degraded);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(permissions(&file).state, Is::Missing);
        assert_eq!(permissions(&file.join("below")).state, Is::Missing);
    }
}
