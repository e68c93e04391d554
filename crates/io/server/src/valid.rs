//! What is wrong with a request whatever executes it: ids that are no file names, text that no process can take.

use kruntimes_proto::executor::v1::ExecuteRequest;
use std::path::{Component, Path};
use tonic::Status;

/// Longest id: it names a directory.
const ID_BYTES: usize = 200;

/// Refuses as INVALID_ARGUMENT what no executor could take.
pub(crate) fn check(request: &ExecuteRequest) -> Result<(), Status> {
    check_id(&request.id)?;
    for (name, value) in &request.env {
        if name.is_empty() {
            return Err(invalid("an env name \"\" is empty"));
        }
        if name.contains('=') {
            return Err(invalid(format!("env name {name:?} has a =")));
        }
        without_nul(name, || format!("env name {name:?}"))?;
        without_nul(value, || format!("the value of env {name:?}"))?;
    }
    for (at, arg) in request.args.iter().enumerate() {
        without_nul(arg, || format!("args[{at}]"))?;
    }
    let paths = [
        ("entrypoint", &request.entrypoint),
        ("working_dir", &request.working_dir),
        ("handler", &request.handler),
    ];
    for (field, path) in paths {
        without_nul(path, || format!("{field} {path:?}"))?;
    }
    Ok(())
}

/// Refuses as INVALID_ARGUMENT a working directory that is not within one directory of one of `roots`: it would be another's.
pub fn working_dir(asked: &Path, roots: &[&Path]) -> Result<(), Status> {
    let parts = || asked.components();
    if !asked.is_absolute() || parts().any(|part| part == Component::ParentDir) {
        return Err(invalid(format!("working_dir {asked:?} must be absolute, without ..")));
    }
    let inner = |root: &&Path| {
        let root = std::path::absolute(root).ok()?;
        match asked.strip_prefix(&root).ok()?.components().next()? {
            Component::Normal(first) if !first.as_encoded_bytes().starts_with(b".") => {
                Some((root, first))
            }
            Component::Prefix(_)
            | Component::RootDir
            | Component::CurDir
            | Component::ParentDir
            | Component::Normal(_) => None,
        }
    };
    let Some((root, first)) = roots.iter().find_map(inner) else {
        let root = roots.first().map_or(Path::new("/"), |root| *root);
        return Err(invalid(format!(
            "working_dir {asked:?} is not in the workspace: name a directory below {root:?}, or none"
        )));
    };
    // One that is not there is said better by who enters it.
    let Ok(real) = asked.canonicalize() else { return Ok(()) };
    let own = root.canonicalize().unwrap_or(root).join(first);
    if real.starts_with(own) {
        return Ok(());
    }
    Err(invalid(format!("working_dir {asked:?} is a symbolic link out of its workspace")))
}

fn without_nul(text: &str, what: impl Fn() -> String) -> Result<(), Status> {
    if text.contains('\0') {
        return Err(invalid(format!("{} holds a NUL character, which ends a text", what())));
    }
    Ok(())
}

fn check_id(id: &str) -> Result<(), Status> {
    if id.is_empty() {
        return Err(invalid("id is empty"));
    }
    let mut parts = Path::new(id).components();
    let is_one = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    if !is_one
        || id.contains('/')
        || id.starts_with('.')
        || id.contains('\0')
        || id.len() > ID_BYTES
    {
        return Err(invalid(format!(
            "id {:?} must be a file name of at most {ID_BYTES} bytes without a leading dot",
            id.chars().take(ID_BYTES).collect::<String>()
        )));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn request() -> ExecuteRequest {
        ExecuteRequest { id: "run-1".to_owned(), ..ExecuteRequest::default() }
    }

    fn accepted(request: &ExecuteRequest) -> bool {
        match check(request) {
            Ok(()) => true,
            Err(status) => {
                assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
                false
            }
        }
    }

    #[test]
    fn an_id_names_a_directory() {
        let long = "x".repeat(ID_BYTES);
        let too_long = "x".repeat(ID_BYTES + 1);
        let cases = [
            ("run-1", true),
            (&long, true),
            (&too_long, false),
            ("", false),
            ("a/b", false),
            ("a/", false),
            ("..", false),
            (".tmp", false),
        ];
        for (id, expected) in cases {
            let request = ExecuteRequest { id: id.to_owned(), ..request() };
            assert_eq!(accepted(&request), expected, "{id:?}");
        }
    }

    #[test]
    fn nul_characters_and_bad_names_are_refused() {
        let args = |arg: &str| ExecuteRequest { args: vec![arg.to_owned()], ..request() };
        let env = |name: &str, value: &str| ExecuteRequest {
            env: [(name.to_owned(), value.to_owned())].into(),
            ..request()
        };
        assert!(accepted(&args("a\nb")));
        assert!(!accepted(&args("a\0b")));
        assert!(accepted(&env("A", "b=c\nd")));
        for (name, value) in [("", "x"), ("A=B", "x"), ("A", "\0"), ("A\0", "x")] {
            assert!(!accepted(&env(name, value)), "{name:?}={value:?}");
        }
    }
}
