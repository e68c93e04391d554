//! Strings without regard to case.

use std::cmp::Ordering;

/// The capital of a letter that has one of a single letter.
fn upper(letter: char) -> char {
    let mut upper = letter.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(only), None) => only,
        _ => letter,
    }
}

/// All capitals.
pub(crate) fn folded(text: &str) -> String {
    text.chars().map(upper).collect()
}

/// In the order of their capitals.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    left.chars().map(upper).cmp(right.chars().map(upper))
}

#[cfg(test)]
mod tests {
    use super::compare;
    use std::cmp::Ordering;

    #[test]
    fn case_makes_no_difference() {
        for (left, right, order) in [
            ("Straße", "sTRAßE", Ordering::Equal),
            ("ß", "ss", Ordering::Greater),
            ("École", "éCOLE", Ordering::Equal),
            ("a", "B", Ordering::Less),
            ("b", "A", Ordering::Greater),
            ("", "a", Ordering::Less),
            ("_", "a", Ordering::Greater),
        ] {
            assert_eq!(compare(left, right), order, "{left} {right}");
        }
    }
}
