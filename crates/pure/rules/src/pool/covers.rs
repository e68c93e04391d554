//! Whether a live object already is what is wanted, whatever an API server added to it by default.

use serde_json::Value;

/// Whether every field of `desired` stands in `live` with the same value. Lists must have the same length.
#[must_use]
pub fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => desired
            .iter()
            .all(|(key, wanted)| live.get(key).is_some_and(|found| covers(found, wanted))),
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(found, wanted)| covers(found, wanted))
        }
        _ => live == desired,
    }
}
