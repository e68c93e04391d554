//! Texts with expressions, and expressions of their own.

use crate::budget::Budget;
use crate::context::Context;
use crate::error::{ExpressionError, Failure, Position, Problem};
use crate::evaluate::Evaluation;
use crate::functions::Function;
use crate::lexer::{Ending, words};
use crate::limits;
use crate::parser;
use crate::references::{self, Reference};
use crate::tree::{Node, NodeKind};
use crate::value;
use serde_json::Value;

/// What begins an expression within a text.
const OPENING: &str = "${{";

/// An expression, as in `if:` or between `${{` and `}}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    source: String,
    start: Position,
    root: Node,
}

/// A text with expressions in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pieces: Vec<Piece>,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Literal(String),
    Expression(Expression),
}

impl Expression {
    /// The text of `if:`, with or without `${{ }}` around the whole of it.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        check_length(text)?;
        let mut from = text.len() - text.trim_start().len();
        let mut ending = Ending::Text;
        if text[from..].starts_with(OPENING) {
            from += OPENING.len();
            ending = Ending::Braces;
        }
        let start = Position::START.after(&text[..from]);
        let is_mixed = |failure: Failure| {
            let is_mixed = failure.problem == Problem::Character('$') && text.contains(OPENING);
            if is_mixed { Failure { problem: Problem::MixedCondition, ..failure } } else { failure }
        };
        let (expression, end) = Self::read(&text[from..], start, ending)
            .map_err(|failure| is_mixed(failure).within(&text[from..], start))?;
        let rest = &text[from + end..];
        if rest.trim().is_empty() {
            Ok(expression)
        } else {
            let failure = Failure { at: end, problem: Problem::MixedCondition };
            Err(failure.within(&text[from..], start))
        }
    }

    /// The expression that the text begins with, and the byte behind it and its ending.
    fn read(text: &str, start: Position, ending: Ending) -> Result<(Self, usize), Failure> {
        let (tokens, end) = words(text, ending)?;
        let source = text[..tokens.last().map_or(end, |last| last.at)].to_owned();
        let root = parser::parse(tokens)?;
        Ok((Self { source, start, root }, end))
    }

    /// The text between the braces, without spaces around it.
    #[must_use]
    pub fn source(&self) -> &str {
        self.source.trim()
    }

    /// Its value.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, ExpressionError> {
        self.evaluate_within(context, &mut Budget::new())
    }

    /// Its value, if the budget has enough for it.
    pub fn evaluate_within(
        &self,
        context: &dyn Context,
        budget: &mut Budget,
    ) -> Result<Value, ExpressionError> {
        let mut evaluation = Evaluation::new(context, budget);
        let value = evaluation.value(&self.root).and_then(|value| {
            evaluation.owned(value).map_err(|problem| Failure { at: self.root.at, problem })
        });
        value.map_err(|failure| self.error(failure))
    }

    /// Its value as a condition.
    pub fn is_true(&self, context: &dyn Context) -> Result<bool, ExpressionError> {
        self.is_true_within(context, &mut Budget::new())
    }

    /// The same, if the budget has enough for it.
    pub fn is_true_within(
        &self,
        context: &dyn Context,
        budget: &mut Budget,
    ) -> Result<bool, ExpressionError> {
        let mut evaluation = Evaluation::new(context, budget);
        let value = evaluation.value(&self.root).map_err(|failure| self.error(failure))?;
        Ok(value::is_true(&value))
    }

    /// Its value as a string.
    pub fn evaluate_text(&self, context: &dyn Context) -> Result<String, ExpressionError> {
        self.evaluate_text_within(context, &mut Budget::new())
    }

    /// Its value as a string, if the budget has enough for it.
    pub fn evaluate_text_within(
        &self,
        context: &dyn Context,
        budget: &mut Budget,
    ) -> Result<String, ExpressionError> {
        let mut text = String::new();
        self.append_to(&mut text, context, budget)?;
        Ok(text)
    }

    /// What it reads.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        references::of_tree(&self.root, &self.source, self.start)
    }

    /// Whether it asks how things went: one that does not has `success() &&` before it in `if:`.
    #[must_use]
    pub fn uses_status(&self) -> bool {
        self.calls(|function| matches!(function, Function::Status(_)))
    }

    /// Whether it needs the files of a workspace.
    #[must_use]
    pub fn uses_files(&self) -> bool {
        self.calls(|function| function == Function::HashFiles)
    }

    /// Whether it is `hashFiles(…)` and nothing else.
    #[must_use]
    pub fn is_hash_of_files(&self) -> bool {
        let is_hash =
            matches!(self.root.kind, NodeKind::Call { function: Function::HashFiles, .. });
        is_hash
            && self.root.children().iter().all(|node| !calls(node, |f| f == Function::HashFiles))
    }

    fn calls(&self, is_meant: impl Fn(Function) -> bool) -> bool {
        calls(&self.root, is_meant)
    }

    fn append_to(
        &self,
        text: &mut String,
        context: &dyn Context,
        budget: &mut Budget,
    ) -> Result<(), ExpressionError> {
        let failed = |problem| self.error(Failure { at: self.root.at, problem });
        let mut evaluation = Evaluation::new(context, budget);
        let value = evaluation.value(&self.root).map_err(|failure| self.error(failure))?;
        let part = value::text(&value).map_err(failed)?;
        evaluation.budget.build(part.len()).map_err(failed)?;
        text.push_str(&part);
        Ok(())
    }

    pub(crate) fn start(&self) -> Position {
        self.start
    }

    fn error(&self, failure: Failure) -> ExpressionError {
        failure.within(&self.source, self.start)
    }
}

impl Template {
    /// A text with `${{ }}` anywhere, or nowhere.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        check_length(text)?;
        let mut pieces = Vec::new();
        let mut position = Position::START;
        let mut rest = text;
        let mut expressions = 0;
        while let Some(at) = rest.find(OPENING) {
            if at > 0 {
                pieces.push(Piece::Literal(rest[..at].to_owned()));
            }
            let opening = position.after(&rest[..at]);
            let start = opening.after(OPENING);
            let inner = &rest[at + OPENING.len()..];
            expressions += 1;
            if expressions > limits::EXPRESSIONS {
                let problem = Problem::TooManyExpressions;
                return Err(ExpressionError { position: opening, problem });
            }
            let (expression, end) = Expression::read(inner, start, Ending::Braces)
                .map_err(|failure| opened(failure, inner, opening, start))?;
            pieces.push(Piece::Expression(expression));
            position = start.after(&inner[..end]);
            rest = &inner[end..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Self { pieces })
    }

    /// The value of the only expression, if there is nothing else; otherwise a string.
    pub fn evaluate(&self, context: &dyn Context) -> Result<Value, ExpressionError> {
        self.evaluate_within(context, &mut Budget::new())
    }

    /// The same, if the budget has enough for it.
    pub fn evaluate_within(
        &self,
        context: &dyn Context,
        budget: &mut Budget,
    ) -> Result<Value, ExpressionError> {
        match self.pieces.as_slice() {
            [Piece::Expression(expression)] => expression.evaluate_within(context, budget),
            _ => self.evaluate_text_within(context, budget).map(Value::String),
        }
    }

    /// A string, whatever the expressions are.
    pub fn evaluate_text(&self, context: &dyn Context) -> Result<String, ExpressionError> {
        self.evaluate_text_within(context, &mut Budget::new())
    }

    /// The same, if the budget has enough for it.
    pub fn evaluate_text_within(
        &self,
        context: &dyn Context,
        budget: &mut Budget,
    ) -> Result<String, ExpressionError> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Expression(expression) => {
                    expression.append_to(&mut text, context, budget)?;
                }
            }
        }
        Ok(text)
    }

    /// Its expressions, in order.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Expression(expression) => Some(expression),
            Piece::Literal(_) => None,
        })
    }

    /// Whether it is a plain text.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.expressions().next().is_none()
    }

    /// What its expressions read.
    #[must_use]
    pub fn references(&self) -> Vec<Reference> {
        self.expressions().flat_map(Expression::references).collect()
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether one of its expressions asks how things went.
    #[must_use]
    pub fn uses_status(&self) -> bool {
        self.expressions().any(Expression::uses_status)
    }
}

/// Whether such a function is called anywhere in there.
fn calls(root: &Node, is_meant: impl Fn(Function) -> bool) -> bool {
    let mut waiting = vec![root];
    while let Some(node) = waiting.pop() {
        if matches!(node.kind, NodeKind::Call { function, .. } if is_meant(function)) {
            return true;
        }
        waiting.extend(node.children());
    }
    false
}

/// What concerns the whole of an expression is said of its braces.
fn opened(failure: Failure, inner: &str, opening: Position, start: Position) -> ExpressionError {
    let is_of_all =
        matches!(failure.problem, Problem::Unclosed | Problem::Empty | Problem::ExpressionTooLong);
    if is_of_all {
        ExpressionError { position: opening, problem: failure.problem }
    } else {
        failure.within(inner, start)
    }
}

fn check_length(text: &str) -> Result<(), ExpressionError> {
    let chars = text.chars().count();
    if chars > limits::TEMPLATE_CHARS {
        let problem = Problem::TemplateTooLong { chars };
        return Err(ExpressionError { position: Position::START, problem });
    }
    Ok(())
}
