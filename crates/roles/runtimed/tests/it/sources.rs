//! Git sources that are fetched as they should be, and fetches that end before they are done.

use crate::git::{Behaviour, GitServer, Repository};
use crate::world::World;
use kruntimes_api::{Phase, Run};
use kruntimes_runtimed::SourceConfig;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) fn reason_and_message(run: &Run) -> (Phase, &str, &str) {
    let status = run.status.as_ref().unwrap();
    (status.phase, status.reason.as_deref().unwrap(), status.message.as_deref().unwrap())
}

/// The processes that know of the world's directory: number and command line.
pub(crate) fn processes(world: &World) -> Vec<(i32, String)> {
    let directory = world.directory.to_str().unwrap().as_bytes();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let ours = environment.windows(directory.len()).any(|part| part == directory);
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        ours.then(|| (pid, String::from_utf8_lossy(&command).replace('\0', " ")))
    })
    .collect()
}

/// Waits until no process knows of the world's directory.
async fn until_no_process(world: &World) {
    while let Some((pid, _)) = processes(world).pop() {
        let pid = Pid::from_raw(pid).unwrap();
        // One that has ended meanwhile needs no wait.
        let Ok(ends) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let wait = move || {
            let patience = Timespec { tv_sec: 60, tv_nsec: 0 };
            poll(&mut [PollFd::new(&ends, PollFlags::IN)], Some(&patience)).unwrap()
        };
        assert_eq!(tokio::task::spawn_blocking(wait).await.unwrap(), 1, "{pid:?} lives on");
    }
}

/// What is left of fetches.
pub(crate) fn leftovers(world: &World) -> Vec<PathBuf> {
    let sources = world.directory.join("state/sources");
    std::fs::read_dir(sources).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Less than a transfer that stands still takes to end by itself.
const SOON: Duration = Duration::from_secs(20);

async fn until_nothing_is_left(world: &World) {
    let wait = async {
        until_no_process(world).await;
        while !leftovers(world).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, wait).await.unwrap();
}

struct Commits {
    first: String,
    tip: String,
    feature: String,
}

fn three_commits(repository: &Repository) -> Commits {
    repository.write("dir/script", b"echo first\n");
    let first = repository.commit();
    repository.git(&["tag", "--annotate", "--message=x", "v1"]);
    repository.write("dir/script", b"echo second\n");
    let second = repository.commit();
    repository.write("dir/script", b"echo tip\n");
    let tip = repository.commit();
    repository.git(&["checkout", "--quiet", "-b", "feature/a", &second]);
    repository.write("dir/script", b"echo feature\n");
    let feature = repository.commit();
    repository.git(&["checkout", "--quiet", "main"]);
    repository.publish();
    Commits { first, tip, feature }
}

fn head(directory: &Path) -> String {
    let git = std::process::Command::new("git")
        .args(["-C", directory.to_str().unwrap(), "rev-parse", "HEAD"])
        .output()
        .unwrap();
    String::from_utf8(git.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_branch_a_tag_a_commit_and_the_default_are_fetched() {
    let server = GitServer::start("kinds").await;
    let commits = three_commits(&server.repository("a"));
    let world = World::start_fetching(server.config()).await;
    let cases = [
        ("default", None, Behaviour::Serve, &commits.tip, "echo tip\n"),
        ("branch", Some("feature/a"), Behaviour::Serve, &commits.feature, "echo feature\n"),
        ("ref", Some("refs/heads/main"), Behaviour::Serve, &commits.tip, "echo tip\n"),
        ("tag", Some("v1"), Behaviour::Serve, &commits.first, "echo first\n"),
        ("commit", Some(&commits.first), Behaviour::Serve, &commits.first, "echo first\n"),
        ("old", Some(&commits.first), Behaviour::Old, &commits.first, "echo first\n"),
        ("old-tip", Some(&commits.tip), Behaviour::Old, &commits.tip, "echo tip\n"),
    ];
    for (number, (name, revision, behaviour, commit, script)) in cases.into_iter().enumerate() {
        server.behave(behaviour);
        let mut source = json!({"repoURL": server.url("a")});
        if let Some(revision) = revision {
            source["commitSHA"] = json!(revision);
        }
        let uid = world.assigned(name, json!({"source": source, "entrypoint": "dir/script"})).await;
        let request = world.fake.executed(number).await;
        let repository = world.directory.join("workspace").join(&uid).join("repo");
        assert_eq!(request.working_dir, repository.display().to_string(), "{name}");
        assert_eq!(request.entrypoint, "dir/script");
        assert_eq!(std::fs::read_to_string(repository.join("dir/script")).unwrap(), script);
        assert_eq!(&head(&repository), commit, "{name}");
        let config = std::fs::read_to_string(repository.join(".git/config")).unwrap();
        assert!(config.contains(&format!("url = {}", server.url("a"))), "{config}");
        world.fake.exit(&uid, 0, "");
        assert_eq!(world.until_over(name).await.phase(), Phase::Succeeded);
        world.until_removed(&uid).await;
    }
    until_nothing_is_left(&world).await;
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let server = GitServer::start("missing").await;
    three_commits(&server.repository("a"));
    let world = World::start_fetching(server.config()).await;
    let absent = "0123456789012345678901234567890123456789";
    for (name, repository, revision, part) in [
        ("branch", "a", "nowhere", "git clone: the repository has no branch or tag `nowhere`"),
        ("short", "a", "0123456", "a commit must have all its 40 digits"),
        ("commit", "a", absent, "git clone: the repository has no commit 0123456789"),
        ("tag-word", "a", "tag", "git clone: the repository has no branch or tag `tag`"),
        ("repository", "b", "main", "not found"),
    ] {
        let source = json!({"repoURL": server.url(repository), "commitSHA": revision});
        world.assigned(name, json!({ "source": source })).await;
        let run = world.until_over(name).await;
        let (phase, reason, message) = reason_and_message(&run);
        assert_eq!((phase, reason), (Phase::Failed, "PrepareSource"), "{name}: {message}");
        assert!(message.contains(part) && message.starts_with("git clone: "), "{name}: {message}");
    }
    assert_eq!(world.fake.calls(), [] as [&str; 0]);
    until_nothing_is_left(&world).await;
}

#[tokio::test]
async fn each_attempt_fetches_anew() {
    let server = GitServer::start("retry").await;
    three_commits(&server.repository("a"));
    let world = World::start_fetching(server.config()).await;
    server.behave(Behaviour::Fail);
    let source = json!({"repoURL": server.url("a")});
    let spec = json!({"source": source, "retryPolicy": {"maxAttempts": 2}});
    let uid = world.assigned("a", spec).await;
    let failed = |run: &Run| {
        let status = run.status.as_ref().unwrap();
        status.phase == Phase::Pending && status.reason.as_deref() == Some("PrepareSource")
    };
    let run = world.until("a", failed).await;
    server.behave(Behaviour::Serve);
    world.assign(&run).await;
    let request = world.fake.executed(0).await;
    let script = Path::new(&request.working_dir).join("dir/script");
    assert_eq!(std::fs::read_to_string(script).unwrap(), "echo tip\n");
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!((run.phase(), run.status.unwrap().attempt), (Phase::Succeeded, Some(2)));
}

#[tokio::test]
async fn a_fetch_ends_with_its_attempt_and_leaves_no_process() {
    for (end, phase) in
        [("cancel", Some(Phase::Cancelled)), ("timeout", Some(Phase::Timeout)), ("delete", None)]
    {
        let server = GitServer::start(end).await;
        three_commits(&server.repository("a"));
        let world = World::start_fetching(server.config()).await;
        server.behave(Behaviour::Hang);
        let mut spec = json!({"source": {"repoURL": server.url("a")}});
        if end == "timeout" {
            spec["timeoutSeconds"] = json!(5);
        }
        world.assigned("a", spec).await;
        server.asked(1).await;
        let running = processes(&world);
        let helper = running.iter().any(|(_, command)| command.contains("remote-https"));
        assert!(helper && running.len() > 1, "{end}: {running:?}");
        match end {
            "cancel" => world.patch("a", json!({"spec": {"cancelRequested": true}})).await,
            "delete" => world.delete("a").await,
            _ => {}
        }
        if let Some(phase) = phase {
            assert_eq!(world.until_over("a").await.phase(), phase);
        }
        until_nothing_is_left(&world).await;
        assert_eq!(world.fake.calls(), [] as [&str; 0], "{end}");
    }
}

#[tokio::test]
async fn a_killed_runtimed_takes_its_fetch_along() {
    let server = GitServer::start("killed").await;
    three_commits(&server.repository("a"));
    let mut world = World::start_fetching(server.config()).await;
    server.behave(Behaviour::Hang);
    let uid = world.assigned("a", json!({"source": {"repoURL": server.url("a")}})).await;
    server.asked(1).await;
    assert!(!processes(&world).is_empty());
    world.kill_runtimed().await;
    until_no_process(&world).await;
    server.behave(Behaviour::Serve);
    world.start_runtimed();
    let run = world.until("a", |run| run.phase() == Phase::Pending).await;
    assert_eq!(reason_and_message(&run).1, "NotStarted");
    world.assign(&run).await;
    assert_eq!(world.fake.executed(0).await.id, uid, "it is fetched again");
}

#[tokio::test]
async fn without_git_or_trust_the_message_says_what_to_do() {
    let server = GitServer::start("setup").await;
    three_commits(&server.repository("a"));
    let without_git = SourceConfig { source_search_path: "/nowhere".to_owned(), ..server.config() };
    let without_trust = SourceConfig { source_ca_bundle: None, ..server.config() };
    for (config, part) in [
        (without_git, "git clone: git is not installed in this pod"),
        (without_trust, "KRUNTIMES_SOURCE_CA_BUNDLE"),
    ] {
        let world = World::start_fetching(config).await;
        world.assigned("a", json!({"source": {"repoURL": server.url("a")}})).await;
        let run = world.until_over("a").await;
        let (phase, reason, message) = reason_and_message(&run);
        assert_eq!((phase, reason), (Phase::Failed, "PrepareSource"));
        assert!(message.contains(part), "{message}");
    }
}
