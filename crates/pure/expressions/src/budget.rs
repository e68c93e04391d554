//! What the evaluation of one text may cost.

use crate::error::Problem;
use crate::limits;
use serde_json::Value;
use std::io::{Error, Write};

/// What is left of [`limits::STEPS`] and [`limits::BUILT_BYTES`]. One may serve many texts that belong together, so that
/// all of them cost no more than one.
#[derive(Debug)]
pub struct Budget {
    steps: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: limits::STEPS, bytes: limits::BUILT_BYTES }
    }
}

impl Budget {
    /// All of it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn step(&mut self) -> Result<(), Problem> {
        self.steps(1)
    }

    fn steps(&mut self, count: usize) -> Result<(), Problem> {
        self.steps = self.steps.checked_sub(count).ok_or(Problem::TooManySteps)?;
        Ok(())
    }

    pub(crate) fn build(&mut self, bytes: usize) -> Result<(), Problem> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Problem::TooManyBytes)?;
        Ok(())
    }

    /// Looking through so many bytes.
    pub(crate) fn read(&mut self, bytes: usize) -> Result<(), Problem> {
        self.steps(1 + bytes / limits::BYTES_OF_A_STEP)
    }

    /// One look at two values, without what is in them.
    pub(crate) fn compare(&mut self, left: &Value, right: &Value) -> Result<(), Problem> {
        self.read(text_bytes(left).min(text_bytes(right)))
    }

    /// A copy of a value.
    pub(crate) fn copy(&mut self, value: &Value) -> Result<(), Problem> {
        self.step()?;
        self.build(size_of::<Value>() + text_bytes(value))?;
        match value {
            Value::Array(values) => values.iter().try_for_each(|value| self.copy(value)),
            Value::Object(members) => members.iter().try_for_each(|(name, value)| {
                self.build(name.len())?;
                self.copy(value)
            }),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }

    /// As JSON in two columns, and no byte more than may be built.
    pub(crate) fn json(&mut self, value: &Value) -> Result<String, Problem> {
        let mut bounded = Bounded { written: Vec::new(), room: self.bytes };
        serde_json::to_writer_pretty(&mut bounded, value).map_err(|_| Problem::TooManyBytes)?;
        self.bytes = bounded.room;
        String::from_utf8(bounded.written).map_err(|error| Problem::Json(error.to_string()))
    }
}

fn text_bytes(value: &Value) -> usize {
    value.as_str().map_or(0, str::len)
}

struct Bounded {
    written: Vec<u8>,
    room: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if bytes.len() > self.room {
            return Err(Error::other("no room"));
        }
        self.room -= bytes.len();
        self.written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
