//! The outputs of a Run: the grammar and the limits of the file at `$KRUNTIME_OUTPUTS`.
//!
//! A line is `NAME=VALUE`, both trimmed; an empty line, or one that begins with `#`, says nothing; of two values of a
//! name the last one holds. A line without `=` that is `NAME<<END` begins a value of many lines, which go to the line
//! `END`, as they stand. Line ends are LF or CR LF. Limits hold for what is kept.

use kruntimes_api::{Reason, limits};
use std::collections::BTreeMap;
use thiserror::Error;

/// Names and values.
pub type Outputs = BTreeMap<String, String>;

/// Why a file holds no outputs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OutputsError {
    /// Some byte of a line.
    #[error("line {0} is no UTF-8")]
    NotUtf8(usize),
    /// A line that gives no value.
    #[error("line {line}, {shown}, is neither NAME=VALUE nor NAME<<END")]
    NoValue {
        /// Its number, from 1.
        line: usize,
        /// Its beginning.
        shown: String,
    },
    /// A name that can't be one.
    #[error(
        "line {line}: the name {shown} must have letters, digits, `_`, `-` and `.` only, and begin with none of the last two"
    )]
    Name {
        /// Number of its line.
        line: usize,
        /// Its beginning.
        shown: String,
    },
    /// A value of many lines that does not end.
    #[error("line {line} begins a value of many lines, and no line {shown} ends it")]
    Unclosed {
        /// Number of its first line.
        line: usize,
        /// What should have ended it.
        shown: String,
    },
    /// A name that is too long.
    #[error("line {line}: the name has {bytes} bytes: it may have {most}", most = limits::OUTPUT_NAME_BYTES)]
    NameTooLong {
        /// Number of its line.
        line: usize,
        /// How long it is.
        bytes: usize,
    },
    /// A value that is too long.
    #[error("the value of {name} has {bytes} bytes: it may have {most}", most = limits::OUTPUT_VALUE_BYTES)]
    ValueTooLong {
        /// Whose.
        name: String,
        /// How long it is.
        bytes: usize,
    },
    /// Too many names.
    #[error("there are {0} names: there may be {most}", most = limits::OUTPUTS_ITEMS)]
    TooMany(usize),
    /// Names and values together.
    #[error("names and values have {0} bytes in all: they may have {most}", most = limits::OUTPUTS_BYTES)]
    TooLong(usize),
    /// The file, with what says nothing.
    #[error("the file has {0} bytes: it may have {most}", most = limits::OUTPUTS_FILE_BYTES)]
    FileTooLong(u64),
}

impl OutputsError {
    /// The reason of a Run that ends with this.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NotUtf8(_) | Self::NoValue { .. } | Self::Name { .. } | Self::Unclosed { .. } => {
                Reason::OutputsInvalid
            }
            Self::NameTooLong { .. }
            | Self::ValueTooLong { .. }
            | Self::TooMany(_)
            | Self::TooLong(_)
            | Self::FileTooLong(_) => Reason::OutputsTooLarge,
        }
    }
}

/// Reads a whole file.
///
/// # Errors
/// What is wrong first.
pub fn parse(file: &[u8]) -> Result<Outputs, OutputsError> {
    if file.len() as u64 > limits::OUTPUTS_FILE_BYTES {
        return Err(OutputsError::FileTooLong(file.len() as u64));
    }
    let mut outputs = Outputs::new();
    let mut lines = Lines { rest: file, number: 0 };
    while let Some(line) = lines.next()? {
        let number = lines.number;
        let text = line.text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let (name, value) = match (text.split_once('='), text.split_once("<<")) {
            (Some((name, value)), _) => (name, value.trim().to_owned()),
            (None, Some((name, end))) if !end.trim().is_empty() => {
                (name, lines.until(end.trim(), line.ends_with_cr)?)
            }
            (None, _) => {
                return Err(OutputsError::NoValue { line: number, shown: shown(text) });
            }
        };
        let name = name.trim();
        check_name(name, number)?;
        outputs.insert(name.to_owned(), value);
    }
    check_limits(&outputs)?;
    Ok(outputs)
}

fn check_name(name: &str, line: usize) -> Result<(), OutputsError> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.');
    let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    if !begins || !name.chars().all(plain) {
        return Err(OutputsError::Name { line, shown: shown(name) });
    }
    if name.len() > limits::OUTPUT_NAME_BYTES {
        return Err(OutputsError::NameTooLong { line, bytes: name.len() });
    }
    Ok(())
}

fn check_limits(outputs: &Outputs) -> Result<(), OutputsError> {
    let long = outputs.iter().find(|(_, value)| value.len() > limits::OUTPUT_VALUE_BYTES);
    if let Some((name, value)) = long {
        return Err(OutputsError::ValueTooLong { name: name.clone(), bytes: value.len() });
    }
    if outputs.len() > limits::OUTPUTS_ITEMS as usize {
        return Err(OutputsError::TooMany(outputs.len()));
    }
    let bytes = outputs.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > limits::OUTPUTS_BYTES {
        return Err(OutputsError::TooLong(bytes));
    }
    Ok(())
}

/// The beginning of what a Run wrote, with nothing in it that a terminal would obey.
fn shown(text: &str) -> String {
    const CHARS: usize = 40;
    let begins: String = text.chars().take(CHARS).collect();
    let more = if begins.len() < text.len() { "…" } else { "" };
    format!("{begins:?}{more}")
}

struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

struct Line<'a> {
    /// Without its end.
    text: &'a str,
    ends_with_cr: bool,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<Option<Line<'a>>, OutputsError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        let text = std::str::from_utf8(line).map_err(|_| OutputsError::NotUtf8(self.number))?;
        let (text, ends_with_cr) =
            text.strip_suffix('\r').map_or((text, false), |text| (text, true));
        Ok(Some(Line { text, ends_with_cr }))
    }

    /// The lines up to `end`. A CR before a LF belongs to the value unless the first line ends with one too.
    fn until(&mut self, end: &str, cr: bool) -> Result<String, OutputsError> {
        let first = self.number;
        let mut value: Option<String> = None;
        while let Some(line) = self.next()? {
            if line.text == end {
                return Ok(value.unwrap_or_default());
            }
            let value = match &mut value {
                Some(value) => {
                    value.push('\n');
                    value
                }
                None => value.insert(String::new()),
            };
            value.push_str(line.text);
            if line.ends_with_cr && !cr {
                value.push('\r');
            }
        }
        Err(OutputsError::Unclosed { line: first, shown: shown(end) })
    }
}

#[cfg(test)]
#[path = "outputs_tests.rs"]
mod tests;
