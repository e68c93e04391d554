//! What can be wrong with an expression, and where.

use crate::limits;
use crate::script::Place;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// From 1 on.
    pub line: usize,
    /// In characters, from 1 on.
    pub column: usize,
}

impl Position {
    /// The beginning of a text.
    pub const START: Self = Self { offset: 0, line: 1, column: 1 };

    /// The place behind `passed`, which begins here.
    #[must_use]
    pub fn after(self, passed: &str) -> Self {
        let last = passed.rsplit('\n').next().unwrap_or_default();
        let lines = passed.bytes().filter(|byte| *byte == b'\n').count();
        let before = if lines == 0 { self.column } else { 1 };
        Self {
            offset: self.offset + passed.len(),
            line: self.line + lines,
            column: before + last.chars().count(),
        }
    }
}

/// An expression that can't be parsed or evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {problem}", position.line, position.column)]
pub struct ExpressionError {
    /// Where in the text.
    pub position: Position,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Of a text.
    #[error("the text has {chars} characters, the limit is {}", limits::TEMPLATE_CHARS)]
    TemplateTooLong { chars: usize },
    /// Of one expression.
    #[error("the expression has more than {} bytes", limits::EXPRESSION_BYTES)]
    ExpressionTooLong,
    /// Of one text.
    #[error("the text has more than {} expressions", limits::EXPRESSIONS)]
    TooManyExpressions,
    /// Of one expression.
    #[error("the expression is nested more than {} deep", limits::DEPTH)]
    TooDeep,
    /// The braces.
    #[error("this ${{{{ has no }}}}: write ${{{{ '${{{{' }}}} for the characters themselves")]
    Unclosed,
    /// Between the braces, or of a condition.
    #[error("an expression is missing")]
    Empty,
    /// A string.
    #[error("this string has no closing single quote")]
    UnclosedString,
    /// Not a string here.
    #[error("strings have single quotes, as 'text'; '' is a single quote within one")]
    DoubleQuote,
    /// Outside of strings.
    #[error("{0:?} is no part of an expression")]
    Character(char),
    /// `&`, `|` or `=` alone.
    #[error("{found} is no operator: {meant} is")]
    Operator { found: char, meant: &'static str },
    /// A number.
    #[error("{0} is not a number: 10, -2.5, 1e3, 0xff and 0o17 are")]
    Number(String),
    /// Anything else that can't stand there.
    #[error("{found} can't stand here: {expected} is expected")]
    Expected { expected: &'static str, found: String },
    /// A word that is no context.
    #[error("nothing has the name {name}: {hint}")]
    UnknownName { name: String, hint: String },
    /// A word before `(` that is no function.
    #[error("there is no function {name}: {hint}")]
    UnknownFunction { name: String, hint: String },
    /// A call.
    #[error("{function} takes {expected}, not {given}")]
    Arguments { function: &'static str, expected: &'static str, given: usize },
    /// A condition that would always be true.
    #[error(
        "a condition is one expression: put the whole of it between ${{{{ and }}}}, or none of it"
    )]
    MixedCondition,
    /// A list or an object where a string is needed.
    #[error("{0} has no text of its own: use toJSON(…) for all of it, or take a part of it")]
    NoText(Kind),
    /// `fromJSON`.
    #[error("fromJSON: {0}")]
    Json(String),
    /// `format`.
    #[error("format: {0}")]
    Format(String),
    /// `join`.
    #[error("join needs a list, not {0}")]
    Join(Kind),
    /// Of a script.
    #[error("no value can stand here: {0}; or set env: and read the variable")]
    Script(Place),
    /// What the context says.
    #[error("{0}")]
    Context(String),
    /// Of one evaluation.
    #[error("the evaluation takes more than {} steps", limits::STEPS)]
    TooManySteps,
    /// Of one evaluation.
    #[error("the evaluation builds more than {} bytes", limits::BUILT_BYTES)]
    TooManyBytes,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// `null`
    #[error("null")]
    Null,
    /// `true` or `false`
    #[error("a boolean")]
    Boolean,
    /// Of JSON.
    #[error("a number")]
    Number,
    /// Unicode.
    #[error("a string")]
    String,
    /// Of values.
    #[error("a list")]
    List,
    /// Of names with values.
    #[error("an object")]
    Object,
}

/// A problem at a byte of the source of an expression.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) at: usize,
    pub(crate) problem: Problem,
}

impl Failure {
    /// `text` begins at the position, and `at` counts from there.
    pub(crate) fn within(self, text: &str, start: Position) -> ExpressionError {
        let passed = text.get(..self.at).unwrap_or(text);
        ExpressionError { position: start.after(passed), problem: self.problem }
    }
}
