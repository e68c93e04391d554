//! A compiled rule: source in, verdict out.
use super::decl::Decl;
use super::eval::{COST_LIMIT, Machine};
use super::ir::Ir;
use super::lower::{CheckError, Lower};
use super::types::Ty;
use super::value::{EvalError, Val};
use cel::common::ast::SourceInfo;
use serde_json::Value as Json;
use std::rc::Rc;
use std::sync::Arc;

/// What a source may measure. The parser recurses and its own limit comes too late for a small stack (a bracket costs
/// up to 170 KiB of it in a debug build), so nesting is bounded before, and parsing has a stack of its own.
const MAX_SOURCE: usize = 16 << 10;
const MAX_OPERATORS: usize = 400;
pub(super) const MAX_NESTING: usize = 24;
const PARSER_STACK: usize = 64 << 20;

/// A checked expression over `self` and `oldSelf`.
#[derive(Debug)]
pub struct Program {
    ir: Ir,
    slots: usize,
    uses_old: bool,
}

/// What the expression must evaluate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A rule.
    Bool,
    /// A message.
    Text,
}

/// What one evaluation reads.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The value.
    pub value: &'a Json,
    /// The value before the update, if there was one.
    pub old: Option<&'a Json>,
    /// Whether `oldSelf` is an optional.
    pub optional_old: bool,
    /// The type of both.
    pub decl: &'a Decl,
}

/// Why an evaluation has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A call met arguments that it does not take.
    #[error("no such overload")]
    NoSuchOverload,
    /// The evaluation cost too much.
    #[error("operation cancelled: actual cost limit exceeded")]
    Budget,
    /// Anything else, in upstream's words.
    #[error("{0}")]
    Other(String),
}

impl From<EvalError> for Failure {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::NoSuchOverload => Self::NoSuchOverload,
            EvalError::Budget => Self::Budget,
            EvalError::Text(text) => Self::Other(text.into_owned()),
        }
    }
}

impl Program {
    /// Parses and checks `source` with `self` (and `oldSelf`) of type `decl`; the error is the text for the user.
    pub fn compile(
        source: &str,
        decl: &Arc<Decl>,
        optional_old: bool,
        wanted: Wanted,
    ) -> Result<Self, String> {
        measure(source)?;
        let parsed = parse(source)?;
        let own = Ty::of(decl);
        let old = if optional_old { Ty::Optional(Box::new(own.clone())) } else { own.clone() };
        let mut lower = Lower::new(vec![("self".to_owned(), own), ("oldSelf".to_owned(), old)]);
        let (ir, ty) = lower
            .expr(parsed.expression())
            .map_err(|error| located(source, parsed.source_info(), &error))?;
        match wanted {
            Wanted::Bool if !matches!(ty, Ty::Bool) => {
                Err("cel expression must evaluate to a bool".to_owned())
            }
            Wanted::Text if !matches!(ty, Ty::Str) => {
                Err("messageExpression must evaluate to a string".to_owned())
            }
            Wanted::Bool | Wanted::Text => {
                Ok(Self { ir, slots: lower.slots, uses_old: lower.uses_old })
            }
        }
    }

    /// Whether the expression reads `oldSelf`.
    pub fn uses_old(&self) -> bool {
        self.uses_old
    }

    /// The verdict of a rule, and what it cost.
    pub fn holds(&self, inputs: Inputs<'_>) -> (Result<bool, Failure>, u64) {
        let (result, cost) = self.run(inputs);
        let verdict = result.and_then(|value| match value {
            Val::Bool(verdict) => Ok(verdict),
            _ => Err(EvalError::NoSuchOverload),
        });
        (verdict.map_err(Failure::from), cost)
    }

    /// The text of a message expression.
    pub fn text(&self, inputs: Inputs<'_>) -> Result<String, Failure> {
        match self.run(inputs).0? {
            Val::Str(text) => Ok(text.into_owned()),
            _ => Err(Failure::NoSuchOverload),
        }
    }

    fn run<'a>(&'a self, inputs: Inputs<'a>) -> (Result<Val<'a>, EvalError>, u64) {
        let mut machine = Machine::new(self.slots);
        let bound = bind(&mut machine, inputs, self.uses_old);
        let result = bound.and_then(|()| machine.eval(&self.ir));
        (result, machine.cost.min(COST_LIMIT))
    }
}

fn bind<'a>(
    machine: &mut Machine<'a>,
    inputs: Inputs<'a>,
    uses_old: bool,
) -> Result<(), EvalError> {
    machine.bind(0, Val::from_json(inputs.value, inputs.decl)?);
    if !uses_old {
        return Ok(());
    }
    let old = inputs.old.map(|old| Val::from_json(old, inputs.decl)).transpose()?;
    match (old, inputs.optional_old) {
        (old, true) => machine.bind(1, Val::Optional(old.map(Rc::new))),
        (Some(old), false) => machine.bind(1, old),
        (None, false) => {}
    }
    Ok(())
}

/// Refuses sources that are too long or nest too deep to be parsed safely.
fn measure(source: &str) -> Result<(), String> {
    let (mut operators, mut depth, mut deepest) = (0, 0usize, 0);
    for byte in source.bytes() {
        match byte {
            b'(' | b'[' | b'{' | b'?' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
        operators += usize::from(b"+-*/%<>=!&|?.,([{".contains(&byte));
    }
    if source.len() > MAX_SOURCE || operators > MAX_OPERATORS {
        return Err(format!(
            "expression is longer than {MAX_SOURCE} bytes or {MAX_OPERATORS} operators"
        ));
    }
    if deepest > MAX_NESTING {
        return Err(format!("expression nests deeper than {MAX_NESTING}"));
    }
    Ok(())
}

fn parse(source: &str) -> Result<cel::Program, String> {
    let parse = || cel::Env::default().compile(source).map_err(|errors| errors.to_string());
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().stack_size(PARSER_STACK).spawn_scoped(scope, parse);
        let parsed = thread.map_err(|error| format!("the parser cannot start: {error}"))?.join();
        parsed.unwrap_or_else(|_| Err("the parser failed".to_owned()))
    })
}

/// An error with its place in the source, as upstream prints it.
fn located(source: &str, info: &SourceInfo, error: &CheckError) -> String {
    let at = info.offset_for(error.id).map_or(0, |(start, _)| start as usize);
    let head: String = source.chars().take(at).collect();
    let line = head.matches('\n').count();
    let column = head.rsplit('\n').next().unwrap_or_default().chars().count();
    let snippet = source.lines().nth(line).unwrap_or_default().replace('\t', " ");
    let dots = ".".repeat(column);
    format!(
        "ERROR: <input>:{}:{}: {}\n | {snippet}\n | {dots}^",
        line + 1,
        column + 1,
        error.message
    )
}
