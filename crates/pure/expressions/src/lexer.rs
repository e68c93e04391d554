//! The words of an expression.

use crate::error::{Failure, Problem};
use crate::limits;
use crate::number;
use serde_json::{Number, Value};

/// A word, and the byte where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) at: usize,
    pub(crate) word: Word,
}

/// What an expression is made of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word {
    Literal(Value),
    Name(String),
    Sign(&'static str),
    End,
}

impl Word {
    /// As a message says it.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Literal(Value::String(text)) => {
                format!("the string '{}'", text.replace('\'', "''"))
            }
            Self::Literal(value) => value.to_string(),
            Self::Name(name) => name.clone(),
            Self::Sign(sign) => (*sign).to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 17] =
    ["<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", ".", ",", "*", "!", "<", ">", "}}"];

/// Where an expression ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At `}}`.
    Braces,
    /// With the text.
    Text,
}

/// The words of the expression that the text begins with, and the byte behind it. The last word is [`Word::End`].
pub(crate) fn words(text: &str, ending: Ending) -> Result<(Vec<Token>, usize), Failure> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else { break };
        if at > limits::EXPRESSION_BYTES {
            return Err(Failure { at: 0, problem: Problem::ExpressionTooLong });
        }
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let is_member = tokens.last().is_some_and(|token| token.word == Word::Sign("."));
        let (word, length) =
            word(rest, first, is_member).map_err(|problem| Failure { at, problem })?;
        if word == Word::Sign("}}") {
            if ending == Ending::Text {
                return Err(Failure { at, problem: Problem::Character('}') });
            }
            tokens.push(Token { at, word: Word::End });
            return Ok((tokens, at + length));
        }
        tokens.push(Token { at, word });
        at += length;
    }
    if at > limits::EXPRESSION_BYTES {
        return Err(Failure { at: 0, problem: Problem::ExpressionTooLong });
    }
    match ending {
        Ending::Braces => Err(Failure { at: 0, problem: Problem::Unclosed }),
        Ending::Text => {
            tokens.push(Token { at, word: Word::End });
            Ok((tokens, at))
        }
    }
}

/// The word that the rest begins with, and its bytes.
fn word(rest: &str, first: char, is_member: bool) -> Result<(Word, usize), Problem> {
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let name = &rest[..rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len())];
    let begins_name = first.is_ascii_alphabetic() || first == '_';
    if begins_name || (is_member && first.is_ascii_digit()) {
        let literal = match name {
            _ if is_member => None,
            "null" => Some(Value::Null),
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        };
        let word = literal.map_or_else(|| Word::Name(name.to_owned()), Word::Literal);
        return Ok((word, name.len()));
    }
    if first == '\'' {
        return string(rest);
    }
    if first.is_ascii_digit() || first == '-' {
        let (number, length) = written_number(rest)?;
        return Ok((Word::Literal(Value::Number(number)), length));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Ok((Word::Sign(sign), sign.len()));
    }
    Err(match first {
        '"' => Problem::DoubleQuote,
        '&' => Problem::Operator { found: '&', meant: "&&" },
        '|' => Problem::Operator { found: '|', meant: "||" },
        '=' => Problem::Operator { found: '=', meant: "==" },
        other => Problem::Character(other),
    })
}

fn string(rest: &str) -> Result<(Word, usize), Problem> {
    let mut text = String::new();
    let mut at = 1;
    loop {
        let length = rest[at..].find('\'').ok_or(Problem::UnclosedString)?;
        text.push_str(&rest[at..at + length]);
        at += length + 1;
        if !rest[at..].starts_with('\'') {
            return Ok((Word::Literal(Value::String(text)), at));
        }
        text.push('\'');
        at += 1;
    }
}

fn written_number(rest: &str) -> Result<(Number, usize), Problem> {
    let mut length = 0;
    let mut previous = ' ';
    for letter in rest.chars() {
        let is_signed = "+-".contains(letter) && (length == 0 || "eE".contains(previous));
        if !(letter.is_ascii_alphanumeric() || "._".contains(letter) || is_signed) {
            break;
        }
        length += letter.len_utf8();
        previous = letter;
    }
    let text = &rest[..length];
    let number = number::parse(text).ok_or_else(|| Problem::Number(shortened(text)))?;
    Ok((number, length))
}

/// The beginning of what may be long.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
