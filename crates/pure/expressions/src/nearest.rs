//! The name that a misspelt one may stand for.

/// Differences that a mistake may have.
const MAX_DISTANCE: usize = 2;
/// A longer word is no mistake of a name of ours.
const MAX_CHARS: usize = 40;

/// `did you mean X?`, or all that there are.
pub(crate) fn hint(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("there are {}", known.join(", ")),
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > MAX_CHARS {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let rated = known.iter().map(|name| (distance(&word, &name.to_ascii_lowercase()), *name));
    let (distance, name) = rated.min()?;
    (distance <= MAX_DISTANCE && 2 * distance < name.len()).then_some(name)
}

/// Letters to add, drop or change.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn a_mistake_of_two_letters_is_understood() {
        for (word, expected) in [
            ("need", "did you mean needs?"),
            ("NEEDS", "did you mean needs?"),
            ("sneeds", "did you mean needs?"),
            ("nee", "did you mean needs?"),
            ("matirx", "did you mean matrix?"),
            ("ne", "there are needs, matrix"),
            ("xxneeds", "did you mean needs?"),
            ("xxxneeds", "there are needs, matrix"),
            ("nabla", "there are needs, matrix"),
            ("x", "there are needs, matrix"),
        ] {
            assert_eq!(hint(word, &["needs", "matrix"]), expected, "{word}");
        }
        assert_eq!(hint(&"needs".repeat(20_000), &["needs"]), "there are needs");
        assert_eq!(hint("b", &["a"]), "there are a");
        assert_eq!(hint("oops", &["jobs"]), "there are jobs");
        assert_eq!(hint("jbos", &["jobs"]), "there are jobs");
        assert_eq!(hint("job", &["jobs"]), "did you mean jobs?");
    }
}
