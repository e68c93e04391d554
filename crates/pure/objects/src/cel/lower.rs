//! Checks a parsed expression against the declared types and lowers it to what the evaluator walks.
use super::decl::Decl;
use super::escape::unescape;
use super::ir::{Func, Ir, Lit, Loop, LoopKind, Select, SelectMode};
use super::re2;
use super::signature::{self, Refused};
use super::types::Ty;
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};
use std::sync::Arc;

const MAX_DEPTH: usize = 64;
const TYPES: [(&str, &str); 11] = [
    ("int", "int"),
    ("uint", "uint"),
    ("double", "double"),
    ("bool", "bool"),
    ("string", "string"),
    ("bytes", "bytes"),
    ("list", "list"),
    ("map", "map"),
    ("null_type", "null_type"),
    ("type", "type"),
    ("optional_type", "optional_type"),
];

/// A refused expression: which node, and why.
#[derive(Debug)]
pub(super) struct CheckError {
    pub(super) id: u64,
    pub(super) message: String,
}

type Checked = Result<(Ir, Ty), CheckError>;

/// Lowers expressions; variables are found by name, the innermost first.
pub(super) struct Lower {
    scope: Vec<(String, Ty)>,
    depth: usize,
    /// How many slots the evaluation needs.
    pub(super) slots: usize,
    /// Whether the second variable, `oldSelf`, is read.
    pub(super) uses_old: bool,
}

fn refuse<T>(id: u64, message: impl Into<String>) -> Result<T, CheckError> {
    Err(CheckError { id, message: message.into() })
}

impl Lower {
    pub(super) fn new(variables: Vec<(String, Ty)>) -> Self {
        Self { slots: variables.len(), scope: variables, depth: 0, uses_old: false }
    }

    pub(super) fn expr(&mut self, node: &IdedExpr) -> Checked {
        if self.depth == MAX_DEPTH {
            return refuse(node.id, format!("expression nests deeper than {MAX_DEPTH}"));
        }
        self.depth += 1;
        let lowered = match &node.expr {
            Expr::Literal(literal) => Ok(lower_literal(literal)),
            Expr::Ident(name) => self.ident(node.id, name),
            Expr::Select(select) => self.select(node.id, select, SelectMode::Value),
            Expr::Call(call) => self.call(node.id, call),
            Expr::List(list) if list.optional_indices.is_empty() => self.list(&list.elements),
            Expr::Map(map) => self.map(node.id, &map.entries),
            Expr::List(_) | Expr::Struct(_) | Expr::Comprehension(_) | Expr::Unspecified => {
                refuse(node.id, "this kind of expression is not served")
            }
        };
        self.depth -= 1;
        lowered
    }

    fn ident(&mut self, id: u64, name: &str) -> Checked {
        if let Some(slot) = self.scope.iter().rposition(|(known, _)| known == name) {
            self.uses_old |= slot == 1;
            return Ok((Ir::Var(slot), self.scope[slot].1.clone()));
        }
        match TYPES.iter().find(|(known, _)| *known == name) {
            Some((_, printed)) => Ok((Ir::Lit(Lit::Type(printed)), Ty::Type)),
            None => refuse(id, format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    fn list(&mut self, items: &[IdedExpr]) -> Checked {
        let mut lowered = Vec::with_capacity(items.len());
        let mut joined: Option<Ty> = None;
        for item in items {
            let (ir, ty) = self.expr(item)?;
            joined = Some(match joined {
                Some(known) => known.join(&ty),
                None => ty,
            });
            lowered.push(ir);
        }
        Ok((Ir::List(lowered), Ty::list(joined.unwrap_or(Ty::Dyn))))
    }

    fn map(&mut self, id: u64, entries: &[cel::common::ast::IdedEntryExpr]) -> Checked {
        let mut lowered = Vec::with_capacity(entries.len());
        let mut joined: Option<(Ty, Ty)> = None;
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return refuse(id, "this kind of expression is not served");
            };
            if entry.optional {
                return refuse(id, "this kind of expression is not served");
            }
            let (key, key_ty) = self.expr(&entry.key)?;
            let (value, value_ty) = self.expr(&entry.value)?;
            joined = Some(match joined {
                Some((k, v)) => (k.join(&key_ty), v.join(&value_ty)),
                None => (key_ty, value_ty),
            });
            lowered.push((key, value));
        }
        let (key, value) = joined.unwrap_or((Ty::Dyn, Ty::Dyn));
        Ok((Ir::Map(lowered), Ty::Map(Box::new(key), Box::new(value))))
    }

    fn select(&mut self, id: u64, select: &SelectExpr, mode: SelectMode) -> Checked {
        let (operand, ty) = self.expr(&select.operand)?;
        self.select_on(id, operand, ty, &select.field, mode)
    }

    fn select_on(
        &mut self,
        id: u64,
        operand: Ir,
        ty: Ty,
        field: &str,
        mode: SelectMode,
    ) -> Checked {
        let (target, chained) = match ty {
            Ty::Optional(inner) => (*inner, true),
            other => (other, false),
        };
        let ident = field.to_owned();
        let (field, decl, result) = match &target {
            Ty::Object(decl) => {
                let Some((name, decl)) = object_field(decl, field) else {
                    return refuse(id, format!("undefined field '{field}'"));
                };
                let ty = Ty::of(&decl);
                (name, Some(decl), ty)
            }
            Ty::Map(_, value) => (field.to_owned(), None, (**value).clone()),
            Ty::Dyn => (field.to_owned(), None, Ty::Dyn),
            other => return refuse(id, format!("type '{other}' does not support field selection")),
        };
        let result = match mode {
            SelectMode::Has => Ty::Bool,
            SelectMode::Optional => Ty::Optional(Box::new(result)),
            SelectMode::Value if chained => Ty::Optional(Box::new(result)),
            SelectMode::Value => result,
        };
        Ok((Ir::Select(Box::new(Select { operand, ident, field, decl, mode })), result))
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Checked {
        if let Some(special) = self.special(id, call) {
            return special;
        }
        let mut args = Vec::with_capacity(call.args.len() + 1);
        let mut types = Vec::with_capacity(call.args.len() + 1);
        for arg in call.target.as_deref().into_iter().chain(&call.args) {
            let (ir, ty) = self.expr(arg)?;
            args.push(ir);
            types.push(ty);
        }
        let method = call.target.is_some();
        let checked = match signature::operator(&call.func_name, &types) {
            Some(checked) if !method => checked,
            _ => signature::function(&call.func_name, method, &types),
        };
        match checked {
            Ok((func, ty)) => Ok((finish_call(id, func, args)?, ty)),
            Err(Refused::Arguments) => refuse(id, no_overload(&call.func_name, method, &types)),
            Err(Refused::NotServed) => refuse(
                id,
                format!("function '{}' is not served by this API server", call.func_name),
            ),
            Err(Refused::Undeclared) => refuse(
                id,
                format!("undeclared reference to '{}' (in container '')", call.func_name),
            ),
        }
    }

    /// Logic, conditionals and macros: calls whose arguments are not simply evaluated.
    fn special(&mut self, id: u64, call: &CallExpr) -> Option<Checked> {
        let name = call.func_name.as_str();
        match (name, call.target.as_deref(), call.args.as_slice()) {
            ("_&&_" | "_||_", None, [a, b]) => Some(self.logic(id, name, a, b)),
            ("_?_:_", None, [condition, yes, no]) => Some(self.conditional(id, condition, yes, no)),
            ("has", None, [arg]) => Some(match &arg.expr {
                Expr::Select(select) => self.select(id, select, SelectMode::Has),
                _ => refuse(id, "invalid argument to has() macro"),
            }),
            ("_?._", None, [operand, field]) => Some(self.optional_select(id, operand, field)),
            ("all", Some(range), [var, body]) => {
                Some(self.macro_loop(id, LoopKind::All, range, var, None, body))
            }
            ("exists", Some(range), [var, body]) => {
                Some(self.macro_loop(id, LoopKind::Exists, range, var, None, body))
            }
            ("exists_one" | "existsOne", Some(range), [var, body]) => {
                Some(self.macro_loop(id, LoopKind::ExistsOne, range, var, None, body))
            }
            ("filter", Some(range), [var, body]) => {
                Some(self.macro_loop(id, LoopKind::Filter, range, var, None, body))
            }
            ("map", Some(range), [var, body]) => {
                Some(self.macro_loop(id, LoopKind::Map, range, var, None, body))
            }
            ("map", Some(range), [var, filter, body]) => {
                Some(self.macro_loop(id, LoopKind::Map, range, var, Some(filter), body))
            }
            _ => None,
        }
    }

    fn boolean(
        &mut self,
        node: &IdedExpr,
        id: u64,
        message: impl Fn(&Ty) -> String,
    ) -> Result<Ir, CheckError> {
        let (ir, ty) = self.expr(node)?;
        if ty.fits(&Ty::Bool) { Ok(ir) } else { refuse(id, message(&ty)) }
    }

    fn logic(&mut self, id: u64, name: &str, a: &IdedExpr, b: &IdedExpr) -> Checked {
        let (a, a_ty) = self.expr(a)?;
        let (b, b_ty) = self.expr(b)?;
        if !a_ty.fits(&Ty::Bool) || !b_ty.fits(&Ty::Bool) {
            return refuse(id, no_overload(name, false, &[a_ty, b_ty]));
        }
        let pair = Box::new([a, b]);
        Ok((if name == "_&&_" { Ir::And(pair) } else { Ir::Or(pair) }, Ty::Bool))
    }

    fn conditional(
        &mut self,
        id: u64,
        condition: &IdedExpr,
        yes: &IdedExpr,
        no: &IdedExpr,
    ) -> Checked {
        let (condition, condition_ty) = self.expr(condition)?;
        let (yes, yes_ty) = self.expr(yes)?;
        let (no, no_ty) = self.expr(no)?;
        if !condition_ty.fits(&Ty::Bool) || !yes_ty.fits(&no_ty) {
            return refuse(id, no_overload("_?_:_", false, &[condition_ty, yes_ty, no_ty]));
        }
        Ok((Ir::Cond(Box::new([condition, yes, no])), yes_ty.join(&no_ty)))
    }

    fn optional_select(&mut self, id: u64, operand: &IdedExpr, field: &IdedExpr) -> Checked {
        let Expr::Literal(LiteralValue::String(field)) = &field.expr else {
            return refuse(id, "unsupported optional field selection");
        };
        let (operand, ty) = self.expr(operand)?;
        self.select_on(id, operand, ty, field.inner(), SelectMode::Optional)
    }

    fn macro_loop(
        &mut self,
        id: u64,
        kind: LoopKind,
        range: &IdedExpr,
        var: &IdedExpr,
        filter: Option<&IdedExpr>,
        body: &IdedExpr,
    ) -> Checked {
        let Expr::Ident(name) = &var.expr else {
            return refuse(var.id, "argument must be a simple name");
        };
        let (range, range_ty) = self.expr(range)?;
        let item = match &range_ty {
            Ty::List(item) => (**item).clone(),
            Ty::Map(key, _) => (**key).clone(),
            Ty::Dyn => Ty::Dyn,
            other => {
                let expected = "(must be list, map, or dynamic)";
                return refuse(
                    id,
                    format!(
                        "expression of type '{other}' cannot be range of a comprehension {expected}"
                    ),
                );
            }
        };
        let slot = self.scope.len();
        self.scope.push((name.clone(), item.clone()));
        self.slots = self.slots.max(self.scope.len());
        let wanted = |ty: &Ty| format!("expected type 'bool' but found '{ty}'");
        let filter = filter.map(|filter| self.boolean(filter, filter.id, wanted)).transpose()?;
        let (body, result) = match kind {
            LoopKind::Map => {
                let (body, ty) = self.expr(body)?;
                (body, Ty::list(ty))
            }
            LoopKind::Filter => (self.boolean(body, body.id, wanted)?, Ty::list(item)),
            LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne => {
                (self.boolean(body, body.id, wanted)?, Ty::Bool)
            }
        };
        self.scope.pop();
        Ok((Ir::Loop(Box::new(Loop { kind, range, slot, filter, body })), result))
    }
}

/// The declared, readable property that an identifier names.
fn object_field(decl: &Arc<Decl>, ident: &str) -> Option<(String, Arc<Decl>)> {
    let Decl::Object(fields) = &**decl else { return None };
    let name = unescape(ident)?;
    let field = fields.get(&name).filter(|field| field.is_readable())?;
    (super::escape::escape(&name).as_deref() == Some(ident))
        .then(|| (name.clone(), Arc::clone(field)))
}

fn lower_literal(literal: &LiteralValue) -> (Ir, Ty) {
    let (lit, ty) = match literal {
        LiteralValue::Null => (Lit::Null, Ty::Null),
        LiteralValue::Boolean(flag) => (Lit::Bool(*flag.inner()), Ty::Bool),
        LiteralValue::Int(number) => (Lit::Int(*number.inner()), Ty::Int),
        LiteralValue::UInt(number) => (Lit::Uint(*number.inner()), Ty::Uint),
        LiteralValue::Double(number) => (Lit::Double(*number.inner()), Ty::Double),
        LiteralValue::String(text) => (Lit::Str(text.inner().to_owned()), Ty::Str),
        LiteralValue::Bytes(bytes) => (Lit::Bytes(bytes.inner().to_vec()), Ty::Bytes),
    };
    (Ir::Lit(lit), ty)
}

/// Compiles what is constant: the pattern of `matches`.
fn finish_call(id: u64, func: Func, mut args: Vec<Ir>) -> Result<Ir, CheckError> {
    if func == Func::Matches
        && let [_, Ir::Lit(Lit::Str(pattern))] = args.as_slice()
    {
        let regex = match re2::compile(pattern) {
            Ok(regex) => regex,
            Err(error) => return refuse(id, format!("error parsing regexp: {error}")),
        };
        return Ok(Ir::Matches(Box::new(args.swap_remove(0)), regex));
    }
    Ok(Ir::Call(func, args))
}

fn no_overload(name: &str, method: bool, types: &[Ty]) -> String {
    let printed: Vec<String> = types.iter().map(Ty::to_string).collect();
    let signature = match printed.split_first() {
        Some((receiver, rest)) if method => format!("{receiver}.({})", rest.join(", ")),
        _ => format!("({})", printed.join(", ")),
    };
    format!("found no matching overload for '{name}' applied to '{signature}'")
}
