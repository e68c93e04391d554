//! Scripts that values reach by variables, so that no value is ever a part of a script's text.
//!
//! Each `${{ expression }}` becomes `${NAME}`, whatever is around it, and the value is put into the variable: bash does
//! with it what it does with a variable that stands there. Where that is another thing than the value, or where bash
//! takes what a variable holds for code, the script is refused. `scan` finds such places; if it missed one, a value
//! would still not be a part of the text.

mod command;
mod hash;
mod redirect;
mod scan;

use crate::error::{ExpressionError, Position, Problem};
use crate::template::{Expression, Piece, Template};

/// What runs a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpreter<'a> {
    /// GNU bash.
    Bash,
    /// Anything else, by its name for messages.
    Other(&'a str),
}

/// Words in names of Runtimes that execute no shell, whatever number is behind them. What is missing here is safe all the
/// same: a variable of bash is an error in any other language, never a value.
const NO_SHELLS: [&str; 3] = ["python", "node", "nodejs"];

impl<'a> Interpreter<'a> {
    /// What a Runtime of this name executes.
    #[must_use]
    pub fn of(runtime: &'a str) -> Self {
        let words = runtime.split(['-', '.', '_']);
        let mut words =
            words.map(|word| word.trim_end_matches(|letter: char| letter.is_ascii_digit()));
        if words.any(|word| NO_SHELLS.contains(&word)) { Self::Other(runtime) } else { Self::Bash }
    }
}

/// A script without expressions, and the variables that it reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// For the interpreter.
    pub text: String,
    /// Names, each with the expression whose value it has.
    pub variables: Vec<(String, Expression)>,
}

/// Where in a script no value can stand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Place {
    /// `'…'` and `$'…'`
    #[error("bash leaves the text in single quotes as it is: use double quotes")]
    SingleQuotes,
    /// `<<'END'`
    #[error("bash leaves this here-document as it is: take the quotes off its delimiter")]
    HereDocument,
    /// `<<${{ … }}`
    #[error("the delimiter of a here-document is a plain word")]
    Delimiter,
    /// `((…))`, `$((…))`, `$[…]` and `[[ … -eq … ]]`
    #[error("arithmetic of bash runs code that a value holds: compare with [ … -gt … ]")]
    Arithmetic,
    /// `name[…]`
    #[error("a subscript of bash runs code that a value holds")]
    Subscript,
    /// `${…}`
    #[error("it can't stand within ${{ }}")]
    Parameter,
    /// `` `…` ``
    #[error("it can't stand within backticks: use $( )")]
    Backticks,
    /// `\${{ … }}` and `$${{ … }}`
    #[error("{0} before it takes it apart")]
    Taken(char),
    /// Of a command.
    #[error("{0} runs code that a value holds")]
    Evaluated(String),
    /// `declare -i`
    #[error("a script with integer variables (declare -i) runs code that a value holds")]
    Integers,
    /// Of the script.
    #[error("bash ends this script within quotes, parentheses or braces")]
    Unfinished,
    /// Of the script.
    #[error("the script is nested more than {} deep", scan::DEPTH)]
    TooDeep,
    /// Not bash.
    #[error("it can't be put into a script of {0} safely")]
    Interpreter(String),
}

impl Template {
    /// The text as a script, whose expressions are variables that begin with the prefix.
    pub fn to_script(
        &self,
        interpreter: Interpreter<'_>,
        prefix: &str,
    ) -> Result<Script, ExpressionError> {
        if let (Interpreter::Other(name), Some(expression)) =
            (interpreter, self.expressions().next())
        {
            return Err(refused(expression.start(), Place::Interpreter(name.to_owned())));
        }
        if !self.is_literal() {
            scan::check(self.pieces())?;
        }
        let mut text = String::new();
        let mut variables: Vec<(String, Expression)> = Vec::new();
        for piece in self.pieces() {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Expression(expression) => {
                    let source = expression.source();
                    let known = variables.iter().position(|(_, other)| other.source() == source);
                    let number = known.unwrap_or(variables.len());
                    let name = format!("{prefix}{number}");
                    text.push_str(&format!("${{{name}}}"));
                    if known.is_none() {
                        variables.push((name, expression.clone()));
                    }
                }
            }
        }
        let hashes = variables.iter().filter(|(_, expression)| expression.is_hash_of_files());
        let text = hash::before(text, hashes.map(|(name, _)| name.as_str()));
        Ok(Script { text, variables })
    }
}

fn refused(position: Position, place: Place) -> ExpressionError {
    ExpressionError { position, problem: Problem::Script(place) }
}
