//! The evaluator: walks a checked expression over borrowed values, counting what it costs.
use super::calls;
use super::ir::{Ir, Lit, Loop, LoopKind, Select, SelectMode};
use super::value::{Eval, EvalError, Val};
use serde_json::{Map, Value as Json};
use std::borrow::Cow;
use std::rc::Rc;

/// What one evaluation may cost; a node costs one, long texts and large comparisons more.
pub(super) const COST_LIMIT: u64 = 1_000_000;
/// How many characters of text cost one.
const CHARS_PER_COST: usize = 10;

/// One evaluation.
#[derive(Debug)]
pub(super) struct Machine<'a> {
    slots: Vec<Option<Val<'a>>>,
    /// What was spent.
    pub(super) cost: u64,
}

impl<'a> Machine<'a> {
    pub(super) fn new(slots: usize) -> Self {
        Self { slots: vec![None; slots], cost: 0 }
    }

    pub(super) fn bind(&mut self, slot: usize, value: Val<'a>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(value);
        }
    }

    pub(super) fn charge(&mut self, cost: usize) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost as u64);
        if self.cost > COST_LIMIT { Err(EvalError::Budget) } else { Ok(()) }
    }

    /// Charges for reading a text of `bytes`.
    pub(super) fn charge_text(&mut self, bytes: usize) -> Result<(), EvalError> {
        self.charge(bytes / CHARS_PER_COST)
    }

    pub(super) fn eval(&mut self, ir: &'a Ir) -> Eval<'a> {
        self.charge(1)?;
        match ir {
            Ir::Lit(lit) => Ok(literal(lit)),
            Ir::Var(slot) => self
                .slots
                .get(*slot)
                .cloned()
                .flatten()
                .ok_or_else(|| EvalError::text("no such attribute(s): oldSelf")),
            Ir::Select(select) => self.select(select),
            Ir::List(items) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| self.eval(item)).collect();
                Ok(Val::List(Rc::new(items?)))
            }
            Ir::Map(entries) => self.map(entries),
            Ir::And(pair) => self.logic(pair, false),
            Ir::Or(pair) => self.logic(pair, true),
            Ir::Cond(parts) => match self.eval(&parts[0])? {
                Val::Bool(true) => self.eval(&parts[1]),
                Val::Bool(false) => self.eval(&parts[2]),
                _ => Err(EvalError::NoSuchOverload),
            },
            Ir::Call(func, args) => self.call(*func, args),
            Ir::Matches(text, regex) => match self.eval(text)? {
                Val::Str(text) => {
                    self.charge_text(text.len())?;
                    Ok(Val::Bool(regex.is_match(&text)))
                }
                _ => Err(EvalError::NoSuchOverload),
            },
            Ir::Loop(inner) => self.run_loop(inner),
        }
    }

    fn call(&mut self, func: super::ir::Func, args: &'a [Ir]) -> Eval<'a> {
        match args {
            [a] => {
                let values = [self.eval(a)?];
                calls::call(self, func, &values)
            }
            [a, b] => {
                let values = [self.eval(a)?, self.eval(b)?];
                calls::call(self, func, &values)
            }
            more => {
                let values: Result<Vec<_>, _> = more.iter().map(|arg| self.eval(arg)).collect();
                calls::call(self, func, &values?)
            }
        }
    }

    /// `&&` and `||`: the absorbing side wins, even over an error of the other one.
    fn logic(&mut self, pair: &'a [Ir; 2], absorbing: bool) -> Eval<'a> {
        let left = self.eval(&pair[0]);
        match &left {
            Ok(Val::Bool(value)) if *value == absorbing => return Ok(Val::Bool(absorbing)),
            Err(EvalError::Budget) => return left,
            _ => {}
        }
        match self.eval(&pair[1]) {
            Ok(Val::Bool(value)) if value == absorbing => Ok(Val::Bool(absorbing)),
            Err(EvalError::Budget) => Err(EvalError::Budget),
            right => match (left?, right?) {
                (Val::Bool(_), Val::Bool(value)) => Ok(Val::Bool(value)),
                _ => Err(EvalError::NoSuchOverload),
            },
        }
    }

    fn map(&mut self, entries: &'a [(Ir, Ir)]) -> Eval<'a> {
        let mut built: Vec<(Val<'a>, Val<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let key = self.eval(key)?;
            for (known, _) in &built {
                if super::equal::equal(self, known, &key)? {
                    return Err(EvalError::text("Failed with repeated key"));
                }
            }
            let value = self.eval(value)?;
            built.push((key, value));
        }
        Ok(Val::Map(Rc::new(built)))
    }

    fn select(&mut self, select: &'a Select) -> Eval<'a> {
        let operand = self.eval(&select.operand)?;
        let (operand, chained) = match operand {
            Val::Optional(Some(inner)) => ((*inner).clone(), true),
            Val::Optional(None) if select.mode == SelectMode::Has => return Ok(Val::Bool(false)),
            Val::Optional(None) => return Ok(Val::Optional(None)),
            other => (other, false),
        };
        let found = self.find(&operand, select)?;
        match (select.mode, found) {
            (SelectMode::Has, found) => Ok(Val::Bool(found.is_some())),
            (SelectMode::Value, Some(value)) if !chained => value,
            (SelectMode::Value, None) if !chained => {
                Err(EvalError::text(format!("no such key: {}", select.ident)))
            }
            (_, Some(value)) => Ok(Val::Optional(Some(Rc::new(value?)))),
            (_, None) => Ok(Val::Optional(None)),
        }
    }

    fn find(
        &mut self,
        operand: &Val<'a>,
        select: &'a Select,
    ) -> Result<Option<Eval<'a>>, EvalError> {
        match (operand, &select.decl) {
            (Val::JsonMap(map, _), Some(decl)) => {
                Ok(present(map, &select.field).map(|json| Val::from_json(json, decl)))
            }
            (Val::JsonMap(map, decl), None) => Ok(Val::property(map, decl, &select.field)),
            (Val::Map(entries), _) => {
                let is_field =
                    |key: &Val<'_>| matches!(key, Val::Str(text) if *text == select.field);
                Ok(entries
                    .iter()
                    .find(|(key, _)| is_field(key))
                    .map(|(_, value)| Ok(value.clone())))
            }
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn run_loop(&mut self, inner: &'a Loop) -> Eval<'a> {
        let range = self.eval(&inner.range)?;
        let items = range.elements().ok_or(EvalError::NoSuchOverload)?;
        match inner.kind {
            LoopKind::All => self.quantify(inner, items, false),
            LoopKind::Exists => self.quantify(inner, items, true),
            LoopKind::ExistsOne => self.exists_one(inner, items),
            LoopKind::Filter => self.filter(inner, items),
            LoopKind::Map => self.map_items(inner, items),
        }
    }

    /// `all` and `exists`: one deciding item outweighs errors of others.
    fn quantify(&mut self, inner: &'a Loop, items: Vec<Eval<'a>>, deciding: bool) -> Eval<'a> {
        let mut failed = None;
        for item in items {
            let verdict = item.and_then(|item| self.body(inner, item));
            match verdict {
                Ok(Val::Bool(value)) if value == deciding => return Ok(Val::Bool(deciding)),
                Ok(Val::Bool(_)) => {}
                Ok(_) => failed = failed.or(Some(EvalError::NoSuchOverload)),
                Err(EvalError::Budget) => return Err(EvalError::Budget),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(Val::Bool(!deciding)), Err)
    }

    fn body(&mut self, inner: &'a Loop, item: Val<'a>) -> Eval<'a> {
        self.bind(inner.slot, item);
        self.eval(&inner.body)
    }

    fn truth(&mut self, ir: &'a Ir) -> Result<bool, EvalError> {
        match self.eval(ir)? {
            Val::Bool(value) => Ok(value),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    fn exists_one(&mut self, inner: &'a Loop, items: Vec<Eval<'a>>) -> Eval<'a> {
        let mut count = 0;
        for item in items {
            self.bind(inner.slot, item?);
            count += usize::from(self.truth(&inner.body)?);
        }
        Ok(Val::Bool(count == 1))
    }

    fn filter(&mut self, inner: &'a Loop, items: Vec<Eval<'a>>) -> Eval<'a> {
        let mut kept = Vec::new();
        for item in items {
            let item = item?;
            self.bind(inner.slot, item.clone());
            if self.truth(&inner.body)? {
                kept.push(item);
            }
        }
        Ok(Val::List(Rc::new(kept)))
    }

    fn map_items(&mut self, inner: &'a Loop, items: Vec<Eval<'a>>) -> Eval<'a> {
        let mut mapped = Vec::with_capacity(items.len());
        for item in items {
            self.bind(inner.slot, item?);
            let wanted = match &inner.filter {
                Some(filter) => self.truth(filter)?,
                None => true,
            };
            if wanted {
                mapped.push(self.eval(&inner.body)?);
            }
        }
        Ok(Val::List(Rc::new(mapped)))
    }
}

/// A declared property: null is the same as absent.
fn present<'a>(map: &'a Map<String, Json>, field: &str) -> Option<&'a Json> {
    map.get(field).filter(|json| !json.is_null())
}

fn literal(lit: &Lit) -> Val<'_> {
    match lit {
        Lit::Null => Val::Null,
        Lit::Bool(flag) => Val::Bool(*flag),
        Lit::Int(number) => Val::Int(*number),
        Lit::Uint(number) => Val::Uint(*number),
        Lit::Double(number) => Val::Double(*number),
        Lit::Str(text) => Val::Str(Cow::Borrowed(text)),
        Lit::Bytes(bytes) => Val::Bytes(bytes.as_slice().into()),
        Lit::Type(name) => Val::Type(name),
    }
}
