//! Random names and tokens.

use std::io::Read;

/// Letters and digits that can't be mistaken for one another or form words, as Kubernetes takes them.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Random characters: with 10,000 Runs two share a name once in 5,000 cases, and then the API server says so.
const RANDOM_CHARS: usize = 8;

/// A random suffix of a name.
pub(crate) fn random() -> std::io::Result<String> {
    let character = |byte: u8| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]);
    Ok(bytes::<RANDOM_CHARS>()?.into_iter().map(character).collect())
}

/// A secret that can't be guessed: 256 bits in hexadecimal.
pub(crate) fn token() -> std::io::Result<String> {
    Ok(bytes::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn bytes<const COUNT: usize>() -> std::io::Result<[u8; COUNT]> {
    let mut bytes = [0_u8; COUNT];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
