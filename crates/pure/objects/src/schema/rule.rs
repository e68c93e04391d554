//! One entry of `x-kubernetes-validations`.
use super::error::{CauseReason, FieldError};
use super::fieldpath;
use super::node::Node;
use crate::cel::{Failure, Inputs, Program, Wanted};
use serde_json::Value;

/// What a message that a rule computes may measure, in bytes.
const MAX_MESSAGE: usize = 5 << 10;

/// A compiled rule.
#[derive(Debug)]
pub(super) struct Rule {
    program: Program,
    source: String,
    message: Option<String>,
    message_expression: Option<Program>,
    reason: CauseReason,
    /// Where its errors stand, below the node of the rule.
    pub(super) field_path: String,
    optional_old: bool,
}

/// What a rule said.
pub(super) enum Verdict {
    /// It holds, or it does not apply.
    Holds,
    /// It does not hold.
    Fails(FieldError),
    /// It could not be evaluated.
    Errs(FieldError),
    /// It cost too much: no other rule is to be run.
    Exhausted(FieldError),
}

impl Rule {
    /// Compiles one entry for values of `node`; `path` is the entry's own.
    pub(super) fn compile(entry: &Value, node: &Node, path: &str) -> Result<Self, Vec<FieldError>> {
        let text = |key: &str| {
            entry.get(key).and_then(Value::as_str).unwrap_or_default().trim().to_owned()
        };
        let optional_old = entry.get("optionalOldSelf").and_then(Value::as_bool).unwrap_or(false);
        let source = text("rule");
        let invalid = |key: &str, detail: String| {
            let shown = super::gofmt::quoted(&text(key));
            vec![FieldError::new(
                format!("{path}.{key}"),
                CauseReason::Invalid,
                format!("Invalid value: {shown}: {detail}"),
            )]
        };
        if source.is_empty() {
            return Err(vec![FieldError::new(
                format!("{path}.rule"),
                CauseReason::Required,
                "Required value: rule is not specified",
            )]);
        }
        let program = Program::compile(&source, &node.decl, optional_old, Wanted::Bool)
            .map_err(|error| invalid("rule", format!("compilation failed: {error}")))?;
        let message_expression = match text("messageExpression") {
            source if source.is_empty() => None,
            source => {
                Some(Program::compile(&source, &node.decl, optional_old, Wanted::Text).map_err(
                    |error| {
                        invalid(
                            "messageExpression",
                            format!("messageExpression compilation failed: {error}"),
                        )
                    },
                )?)
            }
        };
        let field_path = match text("fieldPath") {
            path if path.is_empty() => path,
            path => fieldpath::normalize(&path, node).map_err(|error| {
                invalid("fieldPath", format!("fieldPath must be a valid path: {error}"))
            })?,
        };
        let message = Some(text("message")).filter(|message| !message.is_empty());
        let reason = match entry.get("reason").and_then(Value::as_str).unwrap_or_default() {
            "FieldValueForbidden" => CauseReason::Forbidden,
            "FieldValueRequired" => CauseReason::Required,
            "FieldValueDuplicate" => CauseReason::Duplicate,
            _ => CauseReason::Invalid,
        };
        Ok(Self { program, source, message, message_expression, reason, field_path, optional_old })
    }

    /// Whether it compares with the value before the update.
    pub(super) fn uses_old(&self) -> bool {
        self.program.uses_old()
    }

    /// Runs the rule on the value at `path`; also what it cost.
    pub(super) fn run(
        &self,
        value: &Value,
        old: Option<&Value>,
        node: &Node,
        path: &str,
    ) -> (Verdict, u64) {
        if self.uses_old() && old.is_none() && !self.optional_old {
            return (Verdict::Holds, 0);
        }
        let inputs = Inputs { value, old, optional_old: self.optional_old, decl: &node.decl };
        let (result, cost) = self.program.holds(inputs);
        let kind = node.kind.map_or("", super::node::Kind::name);
        let told = self.message.as_deref().unwrap_or(&self.source);
        let error = |detail: String| {
            FieldError::new(
                super::path::shown(path),
                CauseReason::Invalid,
                format!("Invalid value: \"{kind}\": {detail}"),
            )
        };
        let verdict = match result {
            Ok(true) => Verdict::Holds,
            Ok(false) => Verdict::Fails(self.failed(inputs, kind, path)),
            Err(failure @ Failure::NoSuchOverload) => Verdict::Errs(error(format!(
                "'{failure}': call arguments did not match a supported operator, function or macro signature for rule: \
                 {told}"
            ))),
            Err(failure @ Failure::Budget) => Verdict::Exhausted(error(format!(
                "'{failure}': no further validation rules will be run due to call cost exceeds limit for rule: {told}"
            ))),
            Err(Failure::Other(text)) => {
                Verdict::Errs(error(format!("{text} evaluating rule: {told}")))
            }
        };
        (verdict, cost)
    }

    fn failed(&self, inputs: Inputs<'_>, kind: &str, path: &str) -> FieldError {
        let computed =
            self.message_expression.as_ref().and_then(|program| program.text(inputs).ok());
        let computed = computed.map(|text| text.trim().to_owned());
        let usable =
            |text: &String| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
        let detail = computed.filter(usable).unwrap_or_else(|| match &self.message {
            Some(message) => message.clone(),
            None => format!("failed rule: {}", self.source),
        });
        let message = match self.reason {
            CauseReason::Forbidden => format!("Forbidden: {detail}"),
            CauseReason::Required => format!("Required value: {detail}"),
            CauseReason::Duplicate => format!("Duplicate value: \"{kind}\""),
            CauseReason::Invalid
            | CauseReason::TooLong
            | CauseReason::TooMany
            | CauseReason::NotSupported
            | CauseReason::TypeInvalid => format!("Invalid value: \"{kind}\": {detail}"),
        };
        let place = super::path::joined(path, &self.field_path);
        FieldError::new(super::path::shown(&place), self.reason, message)
    }
}
