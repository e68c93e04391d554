//! Golden scenarios: a Workflow, what happens to it, and what it does. `UPDATE_EXPECT=1` writes them anew.
//!
//! Each is also played with the controller killed before each event, once with its last status written and once with
//! none of it: the end is the same.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod player;

use player::{Lag, Player};
use std::path::{Path, PathBuf};

#[derive(Debug)]
struct Scenario {
    path: PathBuf,
    head: String,
    events: Vec<String>,
    text: String,
}

fn scenarios() -> Vec<Scenario> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut all: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    assert!(all.len() >= 20, "only {} scenarios", all.len());
    all.into_iter().map(read).collect()
}

fn read(path: PathBuf) -> Scenario {
    let text = std::fs::read_to_string(&path).unwrap();
    let (head, body) = text.split_once("---\n").unwrap_or((&text, ""));
    let events = body.lines().filter_map(|line| line.strip_prefix("> ")).map(str::to_owned);
    Scenario { head: head.to_owned(), events: events.collect(), text, path }
}

#[test]
fn every_scenario_goes_as_it_is_written() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let mut player = Player::new(&scenario.head, Lag::None);
        let mut text = format!("{}---\n", scenario.head);
        for event in &scenario.events {
            text.push_str(&format!("> {event}\n"));
            for line in player.play(event) {
                text.push_str(&format!("  {line}\n"));
            }
        }
        text.push_str(&format!("= \n{}", player.summary()));
        if update {
            std::fs::write(&scenario.path, &text).unwrap();
        } else if text != scenario.text {
            wrong.push(format!("{}:\n{text}", scenario.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_controller_that_is_killed_anywhere_comes_to_the_same_end() {
    let mut kills = 0;
    for scenario in scenarios() {
        let lags: &[Lag] = if scenario.events.iter().any(|event| event.starts_with("delete")) {
            &[Lag::None]
        } else {
            &Lag::ALL
        };
        let mut whole = Player::new(&scenario.head, Lag::None);
        scenario.events.iter().for_each(|event| drop(whole.play(event)));
        for lag in lags {
            for at in 0..=scenario.events.len() {
                let mut player = Player::new(&scenario.head, *lag);
                for (index, event) in scenario.events.iter().enumerate() {
                    if index == at {
                        player.restart();
                    }
                    player.play(event);
                }
                if at == scenario.events.len() {
                    player.restart();
                }
                player.flush();
                let name = scenario.path.display();
                assert_eq!(
                    player.summary(),
                    whole.summary(),
                    "{name}, killed before event {at}, {lag:?}"
                );
                kills += 1;
            }
        }
    }
    assert!(kills > 100, "only {kills} kills");
}

/// The widest Workflow with the longest names, where everything goes wrong at length.
#[test]
fn the_status_of_a_thousand_legs_that_fail_fits_into_an_object() {
    let name = |letter: &str| letter.repeat(63);
    let step = |letter: &str| serde_json::json!({"name": name(letter), "run": "true", "continue-on-error": letter == "s"});
    let values: Vec<String> = (0..1024).map(|number| format!("{number:0>63}")).collect();
    let spec = serde_json::json!({"spec": {"fail-fast": false, "jobs": {name("j"): {
        "runs-on": "bash", "steps": [step("s"), step("t")],
        "strategy": {"fail-fast": false, "matrix": {"value": values}},
    }}}});
    let mut player = Player::new(&spec.to_string(), Lag::None);
    player.play("start");
    let why = "\"".repeat(300);
    for round in 0..2 {
        let open = player.open();
        assert_eq!(open.len(), 1024, "round {round}");
        for child in open {
            player.play(&format!("fail {child} {why}"));
        }
    }
    player.flush();
    assert!(player.summary().starts_with("Failed"));
    let bytes = player.status_bytes();
    assert!((200_000..512 * 1024).contains(&bytes), "{bytes}");
    player.restart();
    player.flush();
    assert!(player.status_bytes() < 512 * 1024);
}

#[test]
fn an_output_that_the_status_could_not_take_fails_its_job() {
    let outputs = |count: usize| {
        let text = format!("{}${{{{ steps.s.outputs.k }}}}", "x".repeat(count));
        serde_json::json!({"spec": {"jobs": {"a": {
            "runs-on": "bash", "outputs": {"o": text}, "steps": [{"name": "s", "run": "true"}],
        }}}})
    };
    for (count, phase) in [(8191, "Succeeded"), (8192, "Failed")] {
        let mut player = Player::new(&outputs(count).to_string(), Lag::None);
        player.play("start");
        player.play("ok wf-w-a-s k=y");
        assert!(player.summary().starts_with(phase), "{count}: {:.200}", player.summary());
    }
}

#[test]
fn messages_of_former_attempts_take_no_room() {
    let values: Vec<String> = (0..60).map(|number| format!("{number:02}")).collect();
    let spec = serde_json::json!({"spec": {"jobs": {"a": {
        "runs-on": "bash", "retryPolicy": {"maxAttempts": 3}, "steps": [{"name": "s", "run": "true"}],
        "strategy": {"fail-fast": false, "matrix": {"value": values}},
    }}}});
    let mut player = Player::new(&spec.to_string(), Lag::None);
    player.play("start");
    let why = "x".repeat(240);
    for attempt in 1..=3 {
        let open = player.open();
        assert_eq!(open.len(), 60, "attempt {attempt}");
        open.iter().for_each(|child| drop(player.play(&format!("fail {child} {why}"))));
        player.play("wait 10");
    }
    // Of each leg its own, and that of its step; of the job that of its first leg.
    assert_eq!(player.summary().matches(&why).count(), 60 * 2 + 1);
}
