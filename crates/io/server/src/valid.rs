//! What is wrong with a request whatever executes it: ids that are no file names, text that no process can take.

use kruntimes_proto::executor::v1::ExecuteRequest;
use std::path::{Component, Path};
use tonic::Status;

/// Longest id: it names a directory.
const ID_BYTES: usize = 200;

/// Refuses as INVALID_ARGUMENT what no executor could take.
pub(crate) fn check(request: &ExecuteRequest) -> Result<(), Status> {
    check_id(&request.id)?;
    let named = request.env.keys().all(|name| !name.is_empty() && !name.contains('='));
    if !named {
        return Err(invalid("the name of an environment variable is empty or has a ="));
    }
    let pairs = request.env.iter().flat_map(|(name, value)| [name, value]);
    let paths = [&request.entrypoint, &request.working_dir, &request.handler];
    if request.args.iter().chain(pairs).chain(paths).any(|text| text.contains('\0')) {
        return Err(invalid("arguments, environment and paths cannot hold a NUL character"));
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
            "id must be a file name of at most {ID_BYTES} bytes without a leading dot"
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
