//! The names of legs: their values where these are a name, else with a hash.

use super::{Leg, MatrixError, MatrixProblem, error};
use crate::lexer::shortened;
use crate::limits;
use crate::value;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Characters of a hash in a name.
const HASH_CHARS: usize = 10;

/// Each leg with a name of its own.
pub(super) fn named(legs: Vec<Map<String, Value>>) -> Result<Vec<Leg>, MatrixError> {
    let plain: Vec<(String, bool)> = legs.iter().map(readable).collect();
    let mut uses: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in &plain {
        *uses.entry(name.clone()).or_default() += 1;
    }
    let mut named: Vec<Leg> = Vec::new();
    for (values, (name, is_whole)) in legs.into_iter().zip(plain) {
        let is_own = is_whole && uses.get(&name) == Some(&1);
        let name = if is_own { name } else { with_hash(&name, &values) };
        named.push(Leg { values, name });
    }
    let mut seen: BTreeMap<&str, &Leg> = BTreeMap::new();
    for leg in &named {
        if seen.insert(&leg.name, leg).is_some() {
            let shown = Value::Object(leg.values.clone()).to_string();
            return Err(error("matrix", MatrixProblem::Repeated(shortened(&shown))));
        }
    }
    Ok(named)
}

/// The values with dashes between them, and whether nothing had to be left out or changed for it.
fn readable(values: &Map<String, Value>) -> (String, bool) {
    let texts = values.values().map(|value| value::text(value).ok());
    let mut is_whole = true;
    let mut name = String::new();
    for text in texts {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            is_whole = false;
            continue;
        };
        if !name.is_empty() {
            name.push('-');
        }
        for letter in text.chars() {
            let safe = letter.to_ascii_lowercase();
            let is_safe = safe.is_ascii_alphanumeric() || "-.".contains(safe);
            is_whole &= is_safe && safe == letter;
            name.push(if is_safe { safe } else { '-' });
            if name.len() > limits::LEG_NAME_CHARS {
                break;
            }
        }
    }
    let parts = name.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty());
    let mut clean = parts.collect::<Vec<_>>().join(".");
    is_whole &= clean == name && name.len() <= limits::LEG_NAME_CHARS;
    clean.truncate(limits::LEG_NAME_CHARS);
    (clean, is_whole && !name.is_empty() && !seems_hashed(&name))
}

/// A value that looks like the end of another leg's name gets a hash of its own.
fn seems_hashed(name: &str) -> bool {
    let end = name.rsplit('-').next().unwrap_or_default();
    end.len() == HASH_CHARS && end.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn with_hash(name: &str, values: &Map<String, Value>) -> String {
    let digest = Sha256::digest(Value::Object(values.clone()).to_string());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let hash = &hash[..HASH_CHARS];
    let room = limits::LEG_NAME_CHARS - HASH_CHARS - 1;
    let kept = name[..name.len().min(room)].trim_end_matches(['-', '.']);
    if kept.is_empty() { hash.to_owned() } else { format!("{kept}-{hash}") }
}
