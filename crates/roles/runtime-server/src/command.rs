//! What an Execute request runs: its script, one line of shell, or one command with its arguments.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What to execute, before any path was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// bash with these arguments.
    Bash(Vec<String>),
    /// A command found by its name, with all arguments as they are.
    Direct(Vec<String>),
}

/// Why a command cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    NotFound,
    NotExecutable,
}

/// Chooses by the public rules: an existing script takes the arguments; else one argument is shell code; else it is one
/// command with its arguments, unless the first holds white space: then each argument is a line of one script.
pub(crate) fn choose(script: Option<&Path>, args: &[String]) -> Option<Choice> {
    if let Some(script) = script {
        let file = script.to_string_lossy().into_owned();
        return Some(Choice::Bash([file].into_iter().chain(args.iter().cloned()).collect()));
    }
    match args {
        [] => None,
        [code] => Some(shell(code.clone())),
        [first, ..] if first.contains(char::is_whitespace) => Some(shell(args.join("\n"))),
        [_, ..] => Some(Choice::Direct(args.to_vec())),
    }
}

fn shell(code: String) -> Choice {
    Choice::Bash(vec!["-c".to_owned(), code])
}

/// Finds `name` as `execvp` would with this search path, from `working_dir`.
pub(crate) fn find(
    name: &str,
    search_path: &OsStr,
    working_dir: &Path,
) -> Result<PathBuf, Missing> {
    if name.contains('/') {
        return executable(working_dir.join(name));
    }
    let mut missing = Missing::NotFound;
    for directory in search_path.as_bytes().split(|byte| *byte == b':') {
        let candidate = working_dir.join(OsStr::from_bytes(directory)).join(name);
        match executable(candidate) {
            Ok(path) if !name.is_empty() => return Ok(path),
            Err(Missing::NotExecutable) => missing = Missing::NotExecutable,
            Ok(_) | Err(Missing::NotFound) => {}
        }
    }
    Err(missing)
}

fn executable(path: PathBuf) -> Result<PathBuf, Missing> {
    if !path.is_file() {
        return Err(if path.is_dir() { Missing::NotExecutable } else { Missing::NotFound });
    }
    match rustix::fs::access(&path, rustix::fs::Access::EXEC_OK) {
        Ok(()) => Ok(path),
        Err(_) => Err(Missing::NotExecutable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: Option<&str>, args: &[&str], expected: &Option<Choice>) {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(&choose(script.map(Path::new), &args), expected, "{script:?} {args:?}");
    }

    fn bash(args: &[&str]) -> Option<Choice> {
        Some(Choice::Bash(args.iter().map(|arg| (*arg).to_owned()).collect()))
    }

    fn direct(args: &[&str]) -> Option<Choice> {
        Some(Choice::Direct(args.iter().map(|arg| (*arg).to_owned()).collect()))
    }

    #[test]
    fn the_command_is_chosen_by_the_public_rules() {
        check(Some("/w/script"), &[], &bash(&["/w/script"]));
        check(Some("/w/script"), &["a b", "c"], &bash(&["/w/script", "a b", "c"]));
        check(None, &[], &None);
        check(None, &["exit 7"], &bash(&["-c", "exit 7"]));
        check(None, &["echo", "a  b"], &direct(&["echo", "a  b"]));
        check(None, &["bash", "-c", "echo $1", "x"], &direct(&["bash", "-c", "echo $1", "x"]));
        check(None, &["cd /tmp", "pwd"], &bash(&["-c", "cd /tmp\npwd"]));
        check(None, &["set\t-e", "false"], &bash(&["-c", "set\t-e\nfalse"]));
    }

    #[test]
    fn a_name_is_found_along_the_path() {
        let path = OsStr::new("/nowhere:/usr/bin:/bin");
        assert!(find("bash", path, Path::new("/")).is_ok());
        assert_eq!(find("no-such-command", path, Path::new("/")), Err(Missing::NotFound));
        assert_eq!(find("", path, Path::new("/")), Err(Missing::NotExecutable));
        assert_eq!(find("/etc/passwd", path, Path::new("/")), Err(Missing::NotExecutable));
        assert_eq!(find("./bash", path, Path::new("/bin")), Ok(PathBuf::from("/bin/./bash")));
    }
}
