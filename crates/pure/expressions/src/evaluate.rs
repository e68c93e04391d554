//! The value of a tree. Values of the context are borrowed as long as nothing has to be built from them.

use crate::budget::Budget;
use crate::call;
use crate::context::Context;
use crate::error::{Failure, Problem};
use crate::tree::{Access, Comparison, Node, NodeKind};
use crate::value;
use serde_json::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// A value, or the values that `.*` found, whose parts are the parts of each.
#[derive(Debug)]
enum Found<'a> {
    One(Cow<'a, Value>),
    Each(Vec<Cow<'a, Value>>),
}

const NULL: Cow<'static, Value> = Cow::Owned(Value::Null);

/// One evaluation of one text.
pub(crate) struct Evaluation<'a, 'b> {
    pub(crate) context: &'a dyn Context,
    pub(crate) budget: &'b mut Budget,
}

impl<'a, 'b> Evaluation<'a, 'b> {
    pub(crate) fn new(context: &'a dyn Context, budget: &'b mut Budget) -> Self {
        Self { context, budget }
    }

    pub(crate) fn value(&mut self, node: &'a Node) -> Result<Cow<'a, Value>, Failure> {
        let found = self.found(node)?;
        self.whole(found).map_err(|problem| Failure { at: node.at, problem })
    }

    fn whole(&mut self, found: Found<'a>) -> Result<Cow<'a, Value>, Problem> {
        match found {
            Found::One(value) => Ok(value),
            Found::Each(values) => {
                let mut list = Vec::new();
                for value in values {
                    list.push(self.owned(value)?);
                }
                Ok(Cow::Owned(Value::Array(list)))
            }
        }
    }

    /// A copy, where it is not ours already.
    pub(crate) fn owned(&mut self, value: Cow<'a, Value>) -> Result<Value, Problem> {
        match value {
            Cow::Owned(value) => Ok(value),
            Cow::Borrowed(value) => {
                self.budget.copy(value)?;
                Ok(value.clone())
            }
        }
    }

    fn found(&mut self, node: &'a Node) -> Result<Found<'a>, Failure> {
        let failed = |problem| Failure { at: node.at, problem };
        self.budget.step().map_err(failed)?;
        Ok(Found::One(match &node.kind {
            NodeKind::Literal(value) => Cow::Borrowed(value),
            NodeKind::Reference { names, rest } => {
                let path: Vec<&str> = names.iter().map(String::as_str).collect();
                self.budget.read(path.len()).map_err(failed)?;
                let value = self.context.value(&path).unwrap_or(NULL);
                return self.parts(value, rest, node.at);
            }
            NodeKind::Part { of, path } => {
                return match self.found(of)? {
                    Found::One(value) => self.parts(value, path, node.at),
                    Found::Each(values) => self.parts_of_each(values, path, node.at),
                };
            }
            NodeKind::Not(inner) => boolean(!value::is_true(&*self.value(inner)?)),
            NodeKind::All(nodes) => return self.first(nodes, false).map(Found::One),
            NodeKind::Any(nodes) => return self.first(nodes, true).map(Found::One),
            NodeKind::Compare { operator, left, right } => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                boolean(self.compare(*operator, &left, &right).map_err(failed)?)
            }
            NodeKind::Call { function, arguments } => {
                call::call(self, *function, arguments, node.at)?
            }
        }))
    }

    /// The first operand that decides, or the last.
    fn first(&mut self, nodes: &'a [Node], decisive: bool) -> Result<Cow<'a, Value>, Failure> {
        let mut value = NULL;
        for node in nodes {
            value = self.value(node)?;
            if value::is_true(&value) == decisive {
                break;
            }
        }
        Ok(value)
    }

    fn compare(
        &mut self,
        operator: Comparison,
        left: &Value,
        right: &Value,
    ) -> Result<bool, Problem> {
        let budget = &mut *self.budget;
        Ok(match operator {
            Comparison::Equal => value::is_equal(left, right, budget)?,
            Comparison::NotEqual => !value::is_equal(left, right, budget)?,
            Comparison::Less => value::order(left, right, budget)? == Some(Ordering::Less),
            Comparison::Greater => value::order(left, right, budget)? == Some(Ordering::Greater),
            Comparison::LessOrEqual => {
                value::order(left, right, budget)?.is_some_and(Ordering::is_le)
            }
            Comparison::GreaterOrEqual => {
                value::order(left, right, budget)?.is_some_and(Ordering::is_ge)
            }
        })
    }

    fn parts(
        &mut self,
        value: Cow<'a, Value>,
        path: &'a [Access],
        at: usize,
    ) -> Result<Found<'a>, Failure> {
        let mut value = value;
        for (index, access) in path.iter().enumerate() {
            self.budget.step().map_err(|problem| Failure { at, problem })?;
            value = match access {
                Access::Name(name) => part(value, &Key::Name(name)),
                Access::Index(node) => {
                    let index = self.value(node)?;
                    Key::of(&index).and_then(|key| part(value, &key))
                }
                Access::Every => {
                    let every = every(value);
                    return self.parts_of_each(every, &path[index + 1..], at);
                }
            }
            .unwrap_or(NULL);
        }
        Ok(Found::One(value))
    }

    /// Parts that one of them has not are left out.
    fn parts_of_each(
        &mut self,
        values: Vec<Cow<'a, Value>>,
        path: &'a [Access],
        at: usize,
    ) -> Result<Found<'a>, Failure> {
        let mut values = values;
        for access in path {
            for _ in &values {
                self.budget.step().map_err(|problem| Failure { at, problem })?;
            }
            values = match access {
                Access::Name(name) => {
                    let key = Key::Name(name);
                    values.into_iter().filter_map(|value| part(value, &key)).collect()
                }
                Access::Index(node) => {
                    let index = self.value(node)?;
                    let key = Key::of(&index);
                    let part = |value| part(value, key.as_ref()?);
                    values.into_iter().filter_map(part).collect()
                }
                Access::Every => values.into_iter().flat_map(every).collect(),
            };
        }
        Ok(Found::Each(values))
    }
}

pub(crate) fn boolean<'a>(is_true: bool) -> Cow<'a, Value> {
    Cow::Owned(Value::Bool(is_true))
}

/// What a value in brackets asks for.
enum Key<'k> {
    Name(&'k str),
    Place(usize),
}

impl<'k> Key<'k> {
    fn of(value: &'k Value) -> Option<Self> {
        if let Some(name) = value.as_str() {
            return Some(Self::Name(name));
        }
        let number = value::number(value);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is 0 or more, and what no list is long enough for is not found"
        )]
        (number >= 0.0).then_some(Self::Place(number as usize))
    }
}

fn part<'a>(value: Cow<'a, Value>, key: &Key<'_>) -> Option<Cow<'a, Value>> {
    match (value, key) {
        (Cow::Borrowed(Value::Object(members)), Key::Name(name)) => {
            members.get(*name).map(Cow::Borrowed)
        }
        (Cow::Owned(Value::Object(mut members)), Key::Name(name)) => {
            members.remove(*name).map(Cow::Owned)
        }
        (Cow::Borrowed(Value::Array(values)), Key::Place(place)) => {
            values.get(*place).map(Cow::Borrowed)
        }
        (Cow::Owned(Value::Array(values)), Key::Place(place)) => {
            values.into_iter().nth(*place).map(Cow::Owned)
        }
        _ => None,
    }
}

/// The values in a list or an object.
fn every(value: Cow<'_, Value>) -> Vec<Cow<'_, Value>> {
    match value {
        Cow::Borrowed(Value::Array(values)) => values.iter().map(Cow::Borrowed).collect(),
        Cow::Borrowed(Value::Object(members)) => members.values().map(Cow::Borrowed).collect(),
        Cow::Owned(Value::Array(values)) => values.into_iter().map(Cow::Owned).collect(),
        Cow::Owned(Value::Object(members)) => {
            members.into_iter().map(|(_, value)| Cow::Owned(value)).collect()
        }
        Cow::Borrowed(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
        | Cow::Owned(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            Vec::new()
        }
    }
}
