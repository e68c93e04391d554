//! Random bits for names and addresses: not secret, only unlikely to repeat.

use std::hash::{BuildHasher, Hasher, RandomState};

/// The letters of generated names: no vowels, nothing that looks like another.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Letters of the suffix of a pod's name.
const SUFFIX_CHARS: usize = 5;

/// Random bits.
pub(crate) fn bits() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A suffix for a generated name, made from random bits.
pub(crate) fn suffix(mut bits: u64) -> String {
    let letters = ALPHABET.len() as u64;
    let mut text = String::with_capacity(SUFFIX_CHARS);
    for _ in 0..SUFFIX_CHARS {
        let index = usize::try_from(bits % letters).unwrap_or_default();
        text.push(char::from(ALPHABET[index]));
        bits /= letters;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_legal_and_differ() {
        assert_eq!(suffix(0), "bbbbb");
        assert_eq!(suffix(u64::MAX).len(), SUFFIX_CHARS);
        let seen: std::collections::BTreeSet<String> = (0..64).map(|_| suffix(bits())).collect();
        assert!(seen.len() > 60, "{seen:?}");
    }
}
