//! The legs of a matrix that is checked.

use super::check::axes;
use super::{Leg, MatrixError, MatrixProblem, bytes, error, name};
use crate::limits;
use serde_json::{Map, Value};

type Values = Map<String, Value>;

/// A name and its values.
type Axis<'a> = (&'a String, &'a Vec<Value>);

/// A combination and what `include` added to it.
struct Combination {
    original: Values,
    added: Values,
}

pub(super) fn legs(matrix: &Value, limit: usize) -> Result<Vec<Leg>, MatrixError> {
    let entries = |key: &str| matrix.get(key).and_then(Value::as_array).into_iter().flatten();
    let axes: Vec<Axis<'_>> = matrix
        .as_object()
        .into_iter()
        .flat_map(axes)
        .filter_map(|(name, values)| Some((name, values.as_array()?)))
        .collect();
    let values = ["include", "exclude"]
        .map(|key| entries(key).filter_map(Value::as_object).map(Map::len).sum::<usize>());
    let combined: usize = axes.iter().map(|(_, values)| values.len()).product();
    let count = combined.saturating_mul(values.iter().sum());
    if count > limits::COMPARISONS {
        return Err(error("matrix", MatrixProblem::TooManyComparisons { count }));
    }
    let place = |name: &String| axes.iter().position(|(other, _)| *other == name);
    let excluded: Vec<Vec<(usize, &Value)>> = entries("exclude")
        .filter_map(Value::as_object)
        .map(|entry| entry.iter().filter_map(|(name, value)| Some((place(name)?, value))).collect())
        .collect();
    let mut room = Room(limits::LEGS_BYTES);
    let mut combinations = combine(&axes, &excluded, &mut room)?;
    let mut alone: Vec<Values> = Vec::new();
    for entry in entries("include").filter_map(Value::as_object) {
        let mut is_added = false;
        for combination in &mut combinations {
            let is_kept = |(name, value): (&String, &Value)| {
                combination.original.get(name).is_none_or(|original| original == value)
            };
            if entry.iter().all(is_kept) {
                is_added = true;
                for (name, value) in entry {
                    if !combination.original.contains_key(name) {
                        room.take(name, value)?;
                        combination.added.insert(name.clone(), value.clone());
                    }
                }
            }
        }
        if !is_added {
            for (name, value) in entry {
                room.take(name, value)?;
            }
            alone.push(entry.clone());
        }
        if combinations.len() + alone.len() > limit {
            return Err(error("matrix.include", MatrixProblem::TooManyLegs { limit }));
        }
    }
    let whole = |Combination { mut original, mut added }| {
        original.append(&mut added);
        original
    };
    name::named(combinations.into_iter().map(whole).chain(alone).collect())
}

/// Each value with each of the others, but for what is excluded.
fn combine(
    axes: &[Axis<'_>],
    excluded: &[Vec<(usize, &Value)>],
    room: &mut Room,
) -> Result<Vec<Combination>, MatrixError> {
    let mut combinations = Vec::new();
    if axes.is_empty() || axes.iter().any(|(_, values)| values.is_empty()) {
        return Ok(combinations);
    }
    let mut places = vec![0; axes.len()];
    loop {
        let has = |(axis, value): &(usize, &Value)| axes[*axis].1[places[*axis]] == **value;
        let is_excluded = excluded.iter().any(|entry| entry.iter().all(has));
        if !is_excluded {
            let mut original = Values::new();
            for ((name, values), place) in axes.iter().zip(&places) {
                room.take(name, &values[*place])?;
                original.insert((*name).clone(), values[*place].clone());
            }
            combinations.push(Combination { original, added: Values::new() });
        }
        let next = (0..axes.len()).rev().find(|axis| places[*axis] + 1 < axes[*axis].1.len());
        let Some(next) = next else { return Ok(combinations) };
        places[next] += 1;
        places[next + 1..].fill(0);
    }
}

/// Bytes that the values of legs may still take.
struct Room(usize);

impl Room {
    fn take(&mut self, name: &str, value: &Value) -> Result<(), MatrixError> {
        let left = self.0.checked_sub(name.len() + bytes(value));
        self.0 = left.ok_or_else(|| error("matrix", MatrixProblem::TooLarge))?;
        Ok(())
    }
}
