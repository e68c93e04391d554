//! Whether output is what the page says: `…` stands for any characters of a line, a line of only `…` for any lines.

const ANY: char = '…';

/// Whether all of `output` is as `expected`; blanks at ends of lines and empty lines at the end don't count.
pub(crate) fn matches(expected: &str, output: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end().lines().map(|line| line.trim_end().to_owned()).collect()
    };
    lines_match(&lines(expected), &lines(output))
}

fn lines_match(expected: &[String], output: &[String]) -> bool {
    match expected {
        [] => output.is_empty(),
        [any, rest @ ..] if any.trim().chars().eq([ANY]) => {
            (0..=output.len()).any(|skipped| lines_match(rest, &output[skipped..]))
        }
        [first, rest @ ..] => {
            output.first().is_some_and(|line| line_matches(first, line))
                && lines_match(rest, &output[1..])
        }
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let Some((head, rest)) = expected.split_once(ANY) else { return expected == line };
    let Some(mut line) = line.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split(ANY).collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = line.find(part) else { return false };
        line = &line[at + part.len()..];
    }
    line.ends_with(tail)
}

#[test]
fn wildcards_stand_for_anything_and_for_nothing_else() {
    for (expected, output) in [
        ("a\nb\n", "a\nb"),
        ("a … c … e", "a b c d e  "),
        ("…", ""),
        ("a\n…\nz", "a\nb\nc\nz"),
        ("a\n…\nz", "a\nz"),
        ("run-… Failed", "run-x7 Failed"),
    ] {
        assert!(matches(expected, output), "{expected:?} {output:?}");
    }
    for (expected, output) in [
        ("a\nb\n", "a"),
        ("a", "a\nb"),
        ("a … c", "a b d"),
        ("a…a", "a"),
        ("a\n…\nz", "a\nb"),
        ("", "a"),
    ] {
        assert!(!matches(expected, output), "{expected:?} {output:?}");
    }
}
