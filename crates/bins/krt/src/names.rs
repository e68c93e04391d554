//! Names: random ones, secrets, and the check of those that a user types.

use kruntimes_objects::names as well_formed;
use std::io::Read;

/// Letters and digits that can't be mistaken for one another or form words, as Kubernetes takes them.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
/// Random characters: with 10,000 Runs two share a name once in 5,000 cases, and then the API server says so.
const RANDOM_CHARS: usize = 8;
/// Characters of an object's name.
const OBJECT_CHARS: usize = 253;
/// Characters of a namespace and of a Runtime that a Run names.
const LABEL_CHARS: usize = 63;

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

/// The name of a Run or Runtime, also as `-o name` prints it: `run.kruntimes.io/NAME`.
pub(crate) fn object(text: &str) -> Result<String, String> {
    let kinds = ["run", "runs", "rn", "runtime", "runtimes", "rt"];
    let name = match text.split_once('/') {
        Some((kind, name)) if kinds.contains(&kind.trim_end_matches(".kruntimes.io")) => name,
        Some(_) | None => text,
    };
    if well_formed::subdomain(name).is_none() {
        return Ok(name.to_owned());
    }
    Err(format!(
        "a name has lower-case letters, digits, \"-\" and \".\", a letter or digit at both ends, and at most \
         {OBJECT_CHARS} characters"
    ))
}

/// The name of a namespace.
pub(crate) fn namespace(text: &str) -> Result<String, String> {
    if well_formed::label(text).is_none() {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a namespace has lower-case letters, digits and \"-\", a letter or digit at both ends, and at most \
         {LABEL_CHARS} characters"
    ))
}

/// The name of a Runtime as `spec.runtime` takes it.
pub(crate) fn runtime(text: &str) -> Result<String, String> {
    if !text.is_empty() && well_formed::label_value(text).is_none() {
        return Ok(text.to_owned());
    }
    Err(format!(
        "the name of a Runtime has letters, digits, \"-\", \"_\" and \".\", a letter or digit at both ends, and at \
         most {LABEL_CHARS} characters"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_on_both_sides_of_each_limit() {
        for good in ["a", "a-b.c1", "run/a", "run.kruntimes.io/a", "rt/a", &"a".repeat(253)] {
            assert!(object(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a.", "a..b", "pod/a", "a/b", &"a".repeat(254)] {
            assert!(object(bad).is_err(), "{bad}");
        }
        assert_eq!(object("run.kruntimes.io/a").unwrap(), "a");
        assert!(namespace(&"a".repeat(63)).is_ok() && namespace(&"a".repeat(64)).is_err());
        assert!(namespace("a.b").is_err() && namespace("").is_err());
        assert!(runtime(&"A".repeat(63)).is_ok() && runtime(&"A".repeat(64)).is_err());
        assert!(runtime("a,b=c").is_err() && runtime("a.").is_err() && runtime("").is_err());
    }
}
