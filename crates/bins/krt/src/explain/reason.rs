//! `krt explain REASON`: an entry of the table of reasons, or the list of them.

use crate::failure::Failure;
use kruntimes_api::explain::{self, Explanation, Place};

/// Columns of a text for people.
const WIDTH: usize = 80;
/// Names that are offered for one that is unknown.
const OFFERED: usize = 3;

/// What is printed for a reason, in any case of letters, or for none.
pub(super) fn explain(reason: Option<&str>) -> Result<String, Failure> {
    let all = explain::all();
    let Some(reason) = reason else { return Ok(list(&all)) };
    match all.iter().find(|entry| entry.reason.eq_ignore_ascii_case(reason)) {
        Some(found) => Ok(entry(found)),
        None => Err(unknown(reason, &all)),
    }
}

/// Whether there is such a reason.
pub(super) fn is_known(word: &str) -> bool {
    explain::all().iter().any(|entry| entry.reason.eq_ignore_ascii_case(word))
}

/// What to do about a reason, for people.
pub(super) fn remedy(reason: &str) -> Option<String> {
    let all = explain::all();
    all.iter().find(|entry| entry.reason == reason).map(|entry| wrapped(entry.remedy))
}

fn entry(found: &Explanation) -> String {
    format!(
        "{}: {}\n\nWhat happened:\n{}\nWhat to do:\n{}",
        found.reason,
        found.place.title(),
        wrapped(found.happened),
        wrapped(found.remedy)
    )
}

fn list(all: &[Explanation]) -> String {
    let mut text = String::new();
    for place in Place::ALL {
        text.push_str(&format!("{}:\n", place.title()));
        for entry in all.iter().filter(|entry| entry.place == place) {
            text.push_str(&format!("  {}\n", entry.reason));
        }
        text.push('\n');
    }
    text + "`krt explain REASON` says what happened and what to do.\n"
}

fn unknown(reason: &str, all: &[Explanation]) -> Failure {
    let near = near(reason, all.iter().map(|entry| entry.reason));
    let offer = if near.is_empty() {
        "`krt explain` lists them all".to_owned()
    } else {
        format!("did you mean {}?", near.join(" or "))
    };
    Failure::usage(format!("there is no reason {reason:?}: {offer}"))
}

/// Names that are a few letters away from `typed`, or hold it, the nearest first.
fn near<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let typed = typed.to_ascii_lowercase();
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let lower = name.to_ascii_lowercase();
            let holds = typed.len() >= 3 && lower.contains(&typed);
            let apart = if holds { 0 } else { distance(&typed, &lower) };
            (apart <= 1 + name.len() / 5).then_some((apart, name))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

/// Letters to change, insert or take away to make one text the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, from) in from.chars().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for (at, to) in to.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(corner + 1);
        }
    }
    row[to.len()]
}

/// Lines of at most [`WIDTH`] columns, indented by two.
pub(super) fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from(" ");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH && line.len() > 1 {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from(" ");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_found_in_any_case() {
        let text = explain(Some("podgone")).unwrap();
        assert!(text.starts_with("PodGone: A Run that ended"), "{text}");
        assert!(text.contains("\nWhat happened:\n  The pod") && text.contains("\nWhat to do:\n  "));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn an_unknown_reason_gets_near_ones() {
        for (typed, offer) in [
            ("Timeot", "did you mean Timeout?"),
            ("RuntimeNotfnd", "did you mean RuntimeNotFound?"),
            ("capacity", "did you mean NoCapacity?"),
            ("Zebra", "`krt explain` lists them all"),
        ] {
            let failure = explain(Some(typed)).unwrap_err();
            assert_eq!(failure.lines, [format!("there is no reason {typed:?}: {offer}")]);
            assert_eq!(failure.code, crate::failure::USAGE);
        }
    }

    #[test]
    fn the_list_has_every_reason() {
        let text = explain(None).unwrap();
        for entry in explain::all() {
            assert!(text.contains(&format!("\n  {}\n", entry.reason)), "{}", entry.reason);
        }
    }

    #[test]
    fn distances() {
        for (from, to, apart) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)] {
            assert_eq!(distance(from, to), apart, "{from} {to}");
        }
    }
}
