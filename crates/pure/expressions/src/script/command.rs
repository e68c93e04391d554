//! One command of a script: what its name and its words make of a value.

use super::Place;
use super::scan::{Refusal, UNKNOWN};

/// Words behind which a command begins.
const KEYWORDS: [&str; 17] = [
    "if", "then", "elif", "else", "while", "until", "do", "{", "!", "time", "fi", "done", "}",
    "command", "builtin", "exec", "esac",
];
/// Commands of bash that run their arguments, or take them for names with subscripts.
const EVALUATING: [&str; 12] = [
    "eval",
    "let",
    "trap",
    "alias",
    "bind",
    "complete",
    "compgen",
    "read",
    "mapfile",
    "readarray",
    "unset",
    "getopts",
];
/// Commands of bash whose arguments are names, or names with values.
const DECLARING: [&str; 5] = ["declare", "typeset", "local", "export", "readonly"];
/// Programs that run the argument of an option.
const INTERPRETERS: [&str; 12] =
    ["sh", "bash", "dash", "ash", "ksh", "zsh", "fish", "perl", "ruby", "node", "php", "pwsh"];
/// Comparisons of `[[` that take both sides for arithmetic.
const ARITHMETIC: [&str; 6] = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge"];

/// What is in parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parenthesis {
    Commands,
    List,
}

/// The command that is read, in a list of commands.
#[derive(Debug, Default)]
pub(super) struct Command {
    is_substituted: bool,
    name: Option<String>,
    word: Option<String>,
    previous: String,
    is_redirected: bool,
    has_interpreter: bool,
    is_arithmetic: bool,
    parentheses: Vec<Parenthesis>,
    cases: usize,
    /// Expressions of `[[ … ]]`.
    tested: Option<usize>,
    has_integers: bool,
    first_hole: Option<usize>,
}

impl Command {
    /// One that ends at `)`.
    pub(super) fn substituted() -> Self {
        Self { is_substituted: true, ..Self::default() }
    }

    pub(super) fn is_within_word(&self) -> bool {
        self.word.is_some()
    }

    pub(super) fn begin_word(&mut self) {
        self.word.get_or_insert_default();
    }

    pub(super) fn letter(&mut self, letter: char) {
        self.word.get_or_insert_default().push(letter);
    }

    /// A letter that is no sign.
    pub(super) fn quoted(&mut self, letter: char) {
        self.letter(if letter == '[' { UNKNOWN } else { letter });
    }

    /// What follows is no argument. A number before it belongs to it.
    pub(super) fn begin_redirect(&mut self) -> Result<(), Refusal> {
        let word = self.word.as_deref().unwrap_or_default();
        if word.chars().all(|letter| letter.is_ascii_digit()) {
            self.word = None;
        }
        self.end_word()?;
        self.is_redirected = true;
        Ok(())
    }

    /// Whether `[` begins the subscript of a variable that gets a value.
    pub(super) fn begins_subscript(&self) -> bool {
        match self.word.as_deref() {
            Some(word) => self.name.is_none() && is_name(word),
            None => self.is_list(),
        }
    }

    /// Within `NAME=( )`.
    fn is_list(&self) -> bool {
        self.parentheses.last() == Some(&Parenthesis::List)
    }

    pub(super) fn end_word(&mut self) -> Result<(), Refusal> {
        let Some(word) = self.word.take() else { return Ok(()) };
        if std::mem::take(&mut self.is_redirected) {
            return Ok(());
        }
        match self.name.as_deref() {
            None if is_assignment(&word) => {}
            // It may expand to nothing, and then the next word is the command.
            None if word.contains(['$', UNKNOWN]) => {
                let known = word.split('$').next().unwrap_or_default().replace(UNKNOWN, "");
                self.name = EVALUATING.contains(&known.as_str()).then_some(known);
            }
            None if KEYWORDS.contains(&word.as_str()) => {
                if word == "esac" {
                    self.cases = self.cases.saturating_sub(1);
                }
            }
            None => {
                self.cases += usize::from(word == "case");
                self.name = Some(word.clone());
            }
            Some("[[") if word == "]]" => self.end_test()?,
            Some("[[") => self.is_arithmetic |= ARITHMETIC.contains(&word.as_str()),
            Some(name) if DECLARING.contains(&name) && word.starts_with(['-', '+']) => {
                self.has_integers |= word.contains(['i', 'n']);
            }
            Some(_) => {}
        }
        self.has_interpreter |= is_interpreter(&word);
        self.previous = word;
        match self.first_hole {
            Some(hole) if self.has_integers => Err((hole, Place::Integers)),
            _ => Ok(()),
        }
    }

    fn end_test(&mut self) -> Result<(), Refusal> {
        let is_arithmetic = std::mem::take(&mut self.is_arithmetic);
        self.name = Some("]]".to_owned());
        match self.tested.take() {
            Some(hole) if is_arithmetic => Err((hole, Place::Arithmetic)),
            _ => Ok(()),
        }
    }

    pub(super) fn end_command(&mut self) -> Result<(), Refusal> {
        self.end_word()?;
        // `[[ a && b ]]` and its lines are one command.
        if self.name.as_deref() == Some("[[") {
            return Ok(());
        }
        self.name = None;
        self.previous.clear();
        self.is_redirected = false;
        self.has_interpreter = false;
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Refusal> {
        self.end_command()?;
        if self.tested.is_some() { self.end_test() } else { Ok(()) }
    }

    pub(super) fn open_parenthesis(&mut self) -> Result<(), Refusal> {
        let is_list = self.word.as_deref().is_some_and(|word| word.ends_with('='));
        self.parentheses.push(if is_list { Parenthesis::List } else { Parenthesis::Commands });
        self.end_command()
    }

    /// Whether it ends what it is in.
    pub(super) fn close_parenthesis(&mut self) -> Result<bool, Refusal> {
        self.end_command()?;
        if self.parentheses.pop().is_some() {
            return Ok(false);
        }
        // The end of a pattern of `case`.
        if self.cases > 0 {
            return Ok(false);
        }
        if self.is_substituted {
            self.finish()?;
        }
        Ok(self.is_substituted)
    }

    /// An expression in the word that is read, or in something within it.
    pub(super) fn hole(&mut self, hole: usize) -> Result<(), Refusal> {
        self.first_hole.get_or_insert(hole);
        if self.has_integers {
            return Err((hole, Place::Integers));
        }
        let word = self.word.as_deref().unwrap_or_default();
        if !self.is_redirected
            && let Some(name) = self.evaluating(word)
        {
            return Err((hole, Place::Evaluated(name)));
        }
        if self.name.as_deref() == Some("[[") {
            self.tested.get_or_insert(hole);
        }
        self.letter(UNKNOWN);
        Ok(())
    }

    /// What would run a value in this word as code.
    fn evaluating(&self, word: &str) -> Option<String> {
        let name = self.name.as_deref()?;
        let is_option = |letters: [char; 3]| {
            self.previous.strip_prefix('-').is_some_and(|option| option.ends_with(letters))
        };
        let tests_name = ["test", "[", "[[", "printf", "wait"].contains(&name)
            && ["-v", "-R", "-p"].contains(&self.previous.as_str());
        let evaluates = EVALUATING.contains(&name)
            || (DECLARING.contains(&name) && !is_assignment(word))
            || tests_name;
        if evaluates {
            return Some(name.to_owned());
        }
        let runs = self.has_interpreter && is_option(['c', 'e', 'E']);
        runs.then(|| format!("the program behind {}", self.previous))
    }
}

/// `NAME=…` or `NAME+=…`, or `NAME[…]=…`
fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let name = name.strip_suffix('+').unwrap_or(name);
    is_name(name.split('[').next().unwrap_or_default())
}

fn is_name(word: &str) -> bool {
    let is_letter = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
    word.chars().all(is_letter)
        && !word.is_empty()
        && !word.starts_with(|c: char| c.is_ascii_digit())
}

fn is_interpreter(word: &str) -> bool {
    let program = word.rsplit('/').next().unwrap_or_default();
    INTERPRETERS.contains(&program) || program.starts_with("python")
}
