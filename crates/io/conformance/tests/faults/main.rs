//! Every rule, tried on a server that keeps it and on one that breaks it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod faulty;
mod later;
mod mini;

use faulty::Home;
use futures::stream::{FuturesUnordered, StreamExt};
use kruntimes_conformance::{Line, Settings, Verdict, Works, check, rules};
use std::time::Duration;

/// Rules that only a server with a process of its own can break: `crates/bins/krt/tests/cli/conformance.rs`.
const BY_COMMAND: [&str; 2] = ["restart/forgets", "restart/ends"];
/// How to break a rule otherwise.
const MORE: [&str; 9] = [
    "execute/at-once+late",
    "cancel/stubborn+refused",
    "timeout+message",
    "timeout+tree",
    "output/bounded+much",
    "events/optional+half",
    "events/told+twice",
    "events/told+mixed",
    "events/renew+execute",
];

async fn try_server(fault: &'static str, only: &str) -> Vec<Line> {
    let home = Home::start(fault).await;
    check(Settings {
        endpoint: Some(home.endpoint.clone()),
        command: None,
        token: Some(faulty::TOKEN.to_owned()),
        work_dir: Some(home.work_dir()),
        works: Works::load(mini::works(&home.dir).to_str().unwrap()).unwrap(),
        patience: Duration::from_secs(4),
        only: only.to_owned(),
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_every_rule_passes() {
    for line in try_server("", "").await {
        let expected =
            if BY_COMMAND.contains(&line.rule) { Verdict::Skipped } else { Verdict::Pass };
        assert_eq!(line.result, expected, "{}: {}", line.rule, line.why);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rule_fails_where_it_is_broken() {
    let broken = rules().iter().map(|rule| rule.id).filter(|id| !BY_COMMAND.contains(id));
    let tries: FuturesUnordered<_> =
        broken.chain(MORE).map(|fault| tokio::spawn(try_fault(fault))).collect();
    let findings: Vec<String> = tries.filter_map(async |finding| finding.unwrap()).collect().await;
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// What is wrong with the check of the rule that this fault breaks.
async fn try_fault(fault: &'static str) -> Option<String> {
    let rule = fault.split('+').next().unwrap();
    let lines = try_server(fault, rule).await;
    let line = lines.iter().find(|line| line.rule == rule)?;
    (line.result != Verdict::Fail || line.why.is_empty())
        .then(|| format!("{fault}: {:?} {}", line.result, line.why))
}
