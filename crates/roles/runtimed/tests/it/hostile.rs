//! Git sources that mean harm: none of them does anything but give a clear message.

use crate::git::{Behaviour, GitServer};
use crate::sources::{leftovers, processes, reason_and_message};
use crate::world::World;
use kruntimes_api::Phase;
use kruntimes_runtimed::SourceConfig;
use serde_json::json;
use tokio::net::TcpListener;

const LIMIT: u64 = 1 << 20;

/// What no compression shortens.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut step).flatten().take(bytes).collect()
}

/// The message with which the source is refused; nothing of it ran or is left.
async fn refused(world: &World, name: &str, source: serde_json::Value) -> String {
    world.assigned(name, json!({ "source": source })).await;
    let run = world.until_over(name).await;
    assert_eq!(processes(world), [], "{name}");
    assert!(leftovers(world).is_empty(), "{name}");
    assert_eq!(world.fake.calls(), [] as [&str; 0], "{name}");
    let (phase, reason, message) = reason_and_message(&run);
    assert_eq!((phase, reason), (Phase::Failed, "PrepareSource"), "{name}: {message}");
    assert!(!message.contains('\n') && message.len() < 400, "{message}");
    message.to_owned()
}

/// The executed Run's working directory.
async fn executed(world: &World, name: &str, source: serde_json::Value) -> std::path::PathBuf {
    world.assigned(name, json!({ "source": source })).await;
    world.fake.executed(0).await.working_dir.into()
}

fn small(server: &GitServer) -> SourceConfig {
    SourceConfig { source_max_bytes: LIMIT, ..server.config() }
}

#[tokio::test]
async fn a_repository_above_the_limit_is_refused_while_it_is_fetched() {
    let server = GitServer::start("large").await;
    let repository = server.repository("large");
    repository.write("noise", &noise(3 << 20));
    repository.commit();
    repository.publish();
    let world = World::start_fetching(small(&server)).await;
    // The rest never comes: whoever waits for the end of the transfer runs into the time limit instead.
    server.behave(Behaviour::HoldAfter(2 << 20));
    let message = refused(&world, "a", json!({"repoURL": server.url("large")})).await;
    let want = "git clone: the repository has more than 1 MiB, the limit for its files and history";
    assert_eq!(message, want);
}

#[tokio::test]
async fn files_and_history_together_may_reach_the_limit() {
    let server = GitServer::start("fits").await;
    for (name, bytes) in [("fits", 500 << 10), ("above", 530 << 10)] {
        let repository = server.repository(name);
        repository.write("noise", &noise(bytes));
        repository.commit();
        repository.publish();
    }
    let world = World::start_fetching(small(&server)).await;
    let message = refused(&world, "above", json!({"repoURL": server.url("above")})).await;
    assert!(message.contains("more than 1 MiB"), "{message}");
    executed(&world, "fits", json!({"repoURL": server.url("fits")})).await;
}

#[tokio::test]
async fn a_few_bytes_that_stand_for_many_are_refused_before_they_are_written() {
    let server = GitServer::start("bomb").await;
    let repository = server.repository("bomb");
    let mktree = |entries: &str| repository.git_with_input(&["mktree"], entries);
    let push = |branch: &str, tree: &str| {
        let commit = repository.git(&["commit-tree", "-m", "x", tree]);
        repository.git(&["update-ref", &format!("refs/heads/{branch}"), &commit]);
    };
    let zeros = "0".repeat(300 << 10);
    let zeros = repository.git_with_input(&["hash-object", "-w", "--stdin"], &zeros);
    let mut files: String = (0..4).map(|name| format!("100644 blob {zeros}\t{name}\n")).collect();
    // Who begins to write meets a path that no git writes, and says so.
    let inner = mktree(&format!("100644 blob {zeros}\tf\n"));
    files.push_str(&format!("040000 tree {inner}\t.git\n"));
    push("main", &mktree(&files));
    // Ten levels of ten times the same directory: ten thousand million files in a kilobyte.
    let blob = repository.git_with_input(&["hash-object", "-w", "--stdin"], "");
    let mut tree = mktree(&format!("100644 blob {blob}\tf\n"));
    for _ in 0..10 {
        let level: String = (0..10).map(|name| format!("040000 tree {tree}\t{name}\n")).collect();
        tree = mktree(&level);
    }
    push("many", &tree);
    // Line ends that double when they are written.
    let ends = "\n".repeat(400 << 10);
    let ends = repository.git_with_input(&["hash-object", "-w", "--stdin"], &ends);
    let attributes = "* text eol=crlf\n";
    let attributes = repository.git_with_input(&["hash-object", "-w", "--stdin"], attributes);
    let mut entries = format!("100644 blob {attributes}\t.gitattributes\n");
    entries.push_str(&format!("100644 blob {ends}\ta\n100644 blob {ends}\tb\n"));
    push("longer", &mktree(&entries));
    repository.publish();
    let world = World::start_fetching(small(&server)).await;
    for (branch, part) in [
        ("main", "more than 1 MiB"),
        ("many", "git clone: the repository has more than 100000 files"),
        ("longer", "more than 1 MiB"),
    ] {
        let source = json!({"repoURL": server.url("bomb"), "commitSHA": branch});
        let message = refused(&world, branch, source).await;
        assert!(message.contains(part), "{branch}: {message}");
    }
}

#[tokio::test]
async fn a_hang_is_killed_with_its_helpers_at_the_time_limit() {
    let server = GitServer::start("hang").await;
    let repository = server.repository("a");
    repository.write("script", b"");
    repository.commit();
    repository.publish();
    server.behave(Behaviour::Hang);
    let config = SourceConfig { source_timeout_seconds: 5, ..server.config() };
    let world = World::start_fetching(config).await;
    let watching = async {
        server.asked(1).await;
        processes(&world)
    };
    let source = json!({"repoURL": server.url("a")});
    let (running, message) = tokio::join!(watching, refused(&world, "a", source));
    assert!(running.iter().any(|(_, command)| command.contains("remote-https")), "{running:?}");
    assert_eq!(message, "git clone: the source was not fetched within 5s");
}

#[tokio::test]
async fn a_redirect_to_another_protocol_is_not_followed() {
    let server = GitServer::start("redirect").await;
    let repository = server.repository("a");
    repository.write("script", b"");
    repository.commit();
    repository.publish();
    let world = World::start_fetching(server.config()).await;
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = format!("http://{}", plain.local_addr().unwrap());
    let file = format!("file://{}/projects", server.directory.display());
    for (name, to) in [("http", &http), ("file", &file)] {
        server.behave(Behaviour::Redirect(to.clone()));
        let message = refused(&world, name, json!({"repoURL": server.url("a")})).await;
        assert_eq!(message, "git clone: the server redirects to a protocol other than https");
    }
    let nobody = futures::FutureExt::now_or_never(plain.accept());
    assert!(nobody.is_none(), "somebody came over http");
}

#[tokio::test]
async fn who_wants_credentials_gets_none_and_nobody_is_asked() {
    let server = GitServer::start("credentials").await;
    server.behave(Behaviour::Unauthorized);
    let world = World::start_fetching(server.config()).await;
    let message = refused(&world, "a", json!({"repoURL": server.url("a")})).await;
    assert!(message.contains("the server asks for credentials"), "{message}");
}

#[tokio::test]
async fn what_git_could_take_for_more_than_a_name_is_not_admitted() {
    let server = GitServer::start("names").await;
    let world = World::start_fetching(server.config()).await;
    let marker = world.directory.join("marker");
    let touch = format!("touch {}", marker.display());
    let url = server.url("a");
    for (name, source, part) in [
        (
            "option",
            json!({"repoURL": url, "commitSHA": format!("--upload-pack={touch}")}),
            "no leading -",
        ),
        (
            "option-url",
            json!({"repoURL": format!("--upload-pack={touch}")}),
            "must begin with https://",
        ),
        ("ext", json!({"repoURL": format!("ext::sh -c {touch}")}), "must begin with https://"),
        ("file", json!({"repoURL": "file:///etc"}), "must begin with https://"),
        ("ssh", json!({"repoURL": "git@127.0.0.1:a"}), "must begin with https://"),
        ("user", json!({"repoURL": "https://me:s3cret@127.0.0.1/a"}), "must not name a user"),
    ] {
        let error = world.created(name, json!({ "source": source })).await.unwrap_err().to_string();
        assert!(error.contains("spec.source") && error.contains(part), "{name}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    assert!(!marker.exists() && server.requests().is_empty());
}

#[tokio::test]
async fn a_submodule_is_not_fetched() {
    let server = GitServer::start("submodule").await;
    let inner = server.repository("inner");
    inner.write("file", b"inner");
    let commit = inner.commit();
    inner.publish();
    let outer = server.repository("outer");
    let modules = format!("[submodule \"sub\"]\n\tpath = sub\n\turl = {}\n", server.url("inner"));
    outer.write(".gitmodules", modules.as_bytes());
    outer.git(&["add", ".gitmodules"]);
    outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},sub")]);
    outer.git(&["commit", "--quiet", "--message=x"]);
    outer.publish();
    let world = World::start_fetching(server.config()).await;
    let work = executed(&world, "a", json!({"repoURL": server.url("outer")})).await;
    assert_eq!(std::fs::read_dir(work.join("sub")).unwrap().count(), 0);
    assert!(server.requests().iter().all(|request| !request.contains("inner")));
}

#[tokio::test]
async fn no_filter_of_large_files_is_run() {
    let server = GitServer::start("lfs").await;
    let repository = server.repository("a");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    repository.write(".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n");
    repository.write(".lfsconfig", b"[lfs]\n\turl = https://127.0.0.1:1/\n");
    repository.write("a.bin", pointer.as_bytes());
    repository.commit();
    repository.publish();
    let world = World::start_fetching(server.config()).await;
    let work = executed(&world, "a", json!({"repoURL": server.url("a")})).await;
    assert_eq!(std::fs::read_to_string(work.join("a.bin")).unwrap(), pointer);
}

#[tokio::test]
async fn a_hook_in_a_repository_is_neither_written_nor_run() {
    let server = GitServer::start("hook").await;
    let world = World::start_fetching(server.config()).await;
    let marker = world.directory.join("marker");
    let repository = server.repository("a");
    // A directory `.git` in a tree: written out, it would be the repository's own.
    let hook = format!("#!/bin/sh\ntouch {}\n", marker.display());
    let hook = repository.git_with_input(&["hash-object", "-w", "--stdin"], &hook);
    let mktree = |entry: &str| repository.git_with_input(&["mktree"], &format!("{entry}\n"));
    let hooks = mktree(&format!("100755 blob {hook}\tpost-checkout"));
    let dot_git = mktree(&format!("040000 tree {hooks}\thooks"));
    let root = mktree(&format!("040000 tree {dot_git}\t.git"));
    let commit = repository.git(&["commit-tree", "-m", "x", &root]);
    repository.git(&["update-ref", "refs/heads/main", &commit]);
    repository.publish();
    let message = refused(&world, "a", json!({"repoURL": server.url("a")})).await;
    assert!(message.starts_with("git checkout: invalid path '.git/"), "{message}");
    assert!(!marker.exists());
}
