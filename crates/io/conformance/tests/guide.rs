//! The guide and the kit say the same.
#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use kruntimes_conformance::{Works, rules};
use std::path::Path;

fn section(heading: &str) -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/custom-runtime.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, rest) = guide.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split("\n## ").next().unwrap().to_owned()
}

#[test]
fn the_guide_has_every_rule_as_the_kit_tries_it() {
    let written: String = section("The rules").trim_start().to_owned();
    let tried: Vec<String> =
        rules().iter().map(|rule| format!("- `{}`: {}\n", rule.id, rule.sentence)).collect();
    assert_eq!(written, tried.concat());
}

#[test]
fn the_guide_has_every_work() {
    let table = section("Try your server");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut written: Vec<&str> = rows.map(|row| row.split('`').next().unwrap()).collect();
    let known = format!("{:?}", Works::default());
    let known = known.trim_start_matches("Works { ").trim_end_matches(" }").to_owned();
    let mut known: Vec<&str> =
        known.split(", ").map(|field| field.split(':').next().unwrap()).collect();
    written.sort_unstable();
    known.sort_unstable();
    assert_eq!(written, known);
}
