//! The functions: their names and what they take. [`crate::evaluate`] calls them.

use crate::context::StatusFunction;
use crate::error::Problem;

/// A function of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Function {
    Contains,
    StartsWith,
    EndsWith,
    Format,
    Join,
    ToJson,
    FromJson,
    HashFiles,
    Status(StatusFunction),
}

struct Signature {
    function: Function,
    name: &'static str,
    least: usize,
    most: usize,
    takes: &'static str,
}

const MANY: usize = usize::MAX;

const fn signature(
    function: Function,
    name: &'static str,
    (least, most): (usize, usize),
    takes: &'static str,
) -> Signature {
    Signature { function, name, least, most, takes }
}

const SIGNATURES: [Signature; 12] = [
    signature(Function::Contains, "contains", (2, 2), "2 arguments"),
    signature(Function::StartsWith, "startsWith", (2, 2), "2 arguments"),
    signature(Function::EndsWith, "endsWith", (2, 2), "2 arguments"),
    signature(Function::Format, "format", (2, MANY), "2 arguments or more"),
    signature(Function::Join, "join", (1, 2), "1 or 2 arguments"),
    signature(Function::ToJson, "toJSON", (1, 1), "1 argument"),
    signature(Function::FromJson, "fromJSON", (1, 1), "1 argument"),
    signature(Function::HashFiles, "hashFiles", (1, MANY), "1 argument or more"),
    signature(Function::Status(StatusFunction::Always), "always", (0, 0), "no arguments"),
    signature(Function::Status(StatusFunction::Success), "success", (0, 0), "no arguments"),
    signature(Function::Status(StatusFunction::Failure), "failure", (0, 0), "no arguments"),
    signature(Function::Status(StatusFunction::Cancelled), "cancelled", (0, 0), "no arguments"),
];

impl Function {
    /// Case makes no difference.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let found = SIGNATURES.iter().find(|known| known.name.eq_ignore_ascii_case(name));
        found.map(|known| known.function)
    }

    pub(crate) fn names() -> Vec<&'static str> {
        SIGNATURES.iter().map(|known| known.name).collect()
    }

    /// Whether it takes so many arguments.
    pub(crate) fn check(self, given: usize) -> Result<(), Problem> {
        match SIGNATURES.iter().find(|known| known.function == self) {
            Some(known) if given < known.least || given > known.most => {
                Err(Problem::Arguments { function: known.name, expected: known.takes, given })
            }
            _ => Ok(()),
        }
    }
}
