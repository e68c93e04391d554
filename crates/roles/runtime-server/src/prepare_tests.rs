//! Which command an execution becomes.

use super::*;
use std::os::unix::fs::PermissionsExt;
use tonic::Code;

fn places(workspace: Option<&str>) -> Places {
    let workspace = workspace.map(PathBuf::from);
    Places::new(Path::new("/workspace"), workspace)
}

fn request() -> ExecuteRequest {
    ExecuteRequest { id: "run-1".to_owned(), ..ExecuteRequest::default() }
}

fn accepted(request: ExecuteRequest) -> bool {
    match places(None).check(Request::new(request)) {
        Ok(_) => true,
        Err(status) => {
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            false
        }
    }
}

#[test]
fn an_entrypoint_stays_below_the_working_directory() {
    let cases = [
        ("", true),
        ("a..b/c", true),
        ("a/b.sh", true),
        ("/bin/sh", false),
        ("..", false),
        ("a/../../b", false),
    ];
    for (entrypoint, expected) in cases {
        let request = ExecuteRequest { entrypoint: entrypoint.to_owned(), ..request() };
        assert_eq!(accepted(request), expected, "{entrypoint:?}");
    }
}

#[test]
fn working_directories_are_absolute_and_the_workspace_is_where_it_is() {
    let dir = |workspace: Option<&str>, given: &str| {
        let request = ExecuteRequest { working_dir: given.to_owned(), ..request() };
        places(workspace)
            .check(Request::new(request))
            .map(|valid| valid.working_dir)
            .map_err(|status| status.code())
    };
    let ok = |path: &str| Ok(PathBuf::from(path));
    assert_eq!(dir(None, ""), ok("/workspace/run-1"));
    assert_eq!(dir(None, "/workspace/uid/repo"), ok("/workspace/uid/repo"));
    assert_eq!(dir(Some("/home/x"), ""), ok("/home/x/run-1"));
    assert_eq!(dir(Some("/home/x"), "/workspace/uid"), ok("/home/x/uid"));
    assert_eq!(dir(Some("/home/x"), "/home/x/uid"), ok("/home/x/uid"));
    assert_eq!(
        dir(Some("/workspace/pods/x"), "/workspace/pods/x/uid"),
        ok("/workspace/pods/x/uid")
    );
    for elsewhere in [
        "uid",
        "/workspace/../etc",
        "/",
        "/etc",
        "/workspace",
        "/workspace/",
        "/workspaces/uid",
        "/workspace/.tmp/uid",
        "/home/x/uid",
    ] {
        assert_eq!(dir(None, elsewhere), Err(Code::InvalidArgument), "{elsewhere}");
    }
    assert_eq!(dir(Some("/home/x"), "/home/y/uid"), Err(Code::InvalidArgument));
}

#[test]
fn the_runs_own_environment_stands_above_the_given() {
    let own =
        BTreeMap::from([("PATH".to_owned(), "/p".to_owned()), ("X".to_owned(), "1".to_owned())]);
    let mut places = places(None);
    places.warm.insert("POOL".to_owned(), "a".to_owned());
    places.warm.insert("TMPDIR".to_owned(), "/elsewhere".to_owned());
    let env = places.environment(Path::new("/w"), Path::new("/t"), own);
    let pairs: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(pairs, ["HOME=/w", "LANG=C.UTF-8", "PATH=/p", "POOL=a", "TMPDIR=/t", "X=1"]);
}

#[test]
fn nothing_of_an_execution_before_stays_in_the_place_for_temporary_files() {
    let place = std::env::temp_dir().join(format!("kruntimes-empty-{}", std::process::id()));
    let places = Places::new(&place, None);
    let temporary = places.temporary("id");
    for _first_and_again in 0..2 {
        places.make_temporary("id").unwrap();
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
        assert_eq!(fs::metadata(&temporary).unwrap().permissions().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink("/etc", temporary.join("link")).unwrap();
    }
    places.make_temporary("untouched").unwrap();
    assert!(!places.put_aside("untouched"), "nothing keeps executions apart here");
    fs::remove_dir_all(place).unwrap();
}
