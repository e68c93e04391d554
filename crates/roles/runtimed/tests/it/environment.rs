//! Variables from Secrets and ConfigMaps: what reaches an execution, and what a Run without them is told.

use crate::world::World;
use kruntimes_api::{Phase, Run};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const CANARY: &str = "canary-9d51c0";

/// Gives the pod a Secret, as the kubelet does.
fn give(world: &World, name: &str, version: &str, keys: &[(&str, &str)]) {
    let object = world.directory.join("sources/secrets").join(name);
    fs::create_dir_all(object.join(version)).unwrap();
    for (key, content) in keys {
        fs::write(object.join(version).join(key), content).unwrap();
    }
    symlink(version, object.join("..data_tmp")).unwrap();
    fs::rename(object.join("..data_tmp"), object.join("..data")).unwrap();
}

fn from(name: &str, key: &str, optional: bool) -> Value {
    let source = json!({"secretKeyRef": {"name": name, "key": key, "optional": optional}});
    json!([{"name": "A", "value": "1"}, {"name": "P", "valueFrom": source}])
}

fn end(run: &Run) -> (Phase, &str, &str) {
    let status = run.status.as_ref().unwrap();
    let reason = status.reason.as_deref().unwrap_or_default();
    (run.phase(), reason, status.message.as_deref().unwrap_or_default())
}

/// Files below a directory that contain the canary.
fn holders(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holders(&path));
        } else if fs::read(&path).is_ok_and(|bytes| {
            bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
        }) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn a_secret_reaches_the_execution_and_nothing_that_stays() {
    let world = World::start(2).await;
    give(&world, "db", "..1", &[("password", CANARY)]);
    let uid = world.assigned("a", json!({"env": from("db", "password", false)})).await;
    let request = world.fake.executed(0).await;
    assert_eq!((&*request.env["A"], &*request.env["P"]), ("1", CANARY));
    for directory in ["control", "state", "workspace"] {
        assert_eq!(holders(&world.directory.join(directory)), Vec::<String>::new());
    }
    assert_eq!(holders(&world.directory.join("sources")).len(), 1, "the search finds it");
    world.fake.exit(&uid, 0, "");
    let run = world.until_over("a").await;
    assert_eq!(run.phase(), Phase::Succeeded);
    assert!(!serde_json::to_string(&run).unwrap().contains(CANARY));
}

#[tokio::test]
async fn not_allowed_missing_and_optional_end_in_three_ways() {
    let world = World::start(2).await;
    give(&world, "db", "..1", &[("binary", "\0")]);
    let again = json!({"maxAttempts": 9, "backoff": "1ms"});
    world.assigned("other", json!({"env": from("tls", "k", true), "retryPolicy": again})).await;
    let run = world.until_over("other").await;
    let message = "env P: Secret \"tls\" is not allowed by Runtime \"bash\": add it to its spec.allowedSecrets, and wait for its new pods";
    assert_eq!(end(&run), (Phase::Failed, "EnvNotAllowed", message));
    assert_eq!(run.status.unwrap().exit_code, None);

    world.assigned("missing", json!({"env": from("db", "password", false)})).await;
    let run = world.until_over("missing").await;
    let message = "env P: Secret \"db\" does not exist in namespace \"default\", or has no key \"password\": create it, or set optional: true";
    assert_eq!(end(&run), (Phase::Failed, "EnvUnavailable", message));

    world.assigned("hostile", json!({"env": from("db", "binary", false)})).await;
    let run = world.until_over("hostile").await;
    let message = "env P: key \"binary\" of Secret \"db\" has a NUL character, which no variable can hold: store its base64, for example";
    assert_eq!(end(&run), (Phase::Failed, "EnvUnavailable", message));

    assert_eq!(world.fake.calls(), Vec::<String>::new(), "none of them started");
    let uid = world.assigned("optional", json!({"env": from("db", "password", true)})).await;
    let request = world.fake.executed(0).await;
    assert_eq!((request.id, request.env.contains_key("P")), (uid, false));
    assert_eq!(request.env["A"], "1");
}

#[tokio::test]
async fn the_next_attempt_reads_what_came_meanwhile() {
    let world = World::start(1).await;
    give(&world, "db", "..1", &[]);
    let policy = json!({"maxAttempts": 2, "backoff": "1ms"});
    let spec = json!({"env": from("db", "password", false), "retryPolicy": policy});
    world.assigned("a", spec).await;
    let failed = world.until("a", |run| end(run).1 == "EnvUnavailable").await;
    assert_eq!(failed.phase(), Phase::Pending);
    give(&world, "db", "..2", &[("password", "there")]);
    world.assign(&failed).await;
    assert_eq!(world.fake.executed(0).await.env["P"], "there");
}
