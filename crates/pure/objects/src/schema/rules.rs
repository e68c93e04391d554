//! Runs the rules of a schema over an object: at every value that is there, with the value that it replaces.
use super::correlate::{Correlated, unchanged};
use super::error::{CauseReason, FieldError};
use super::node::Node;
use super::path::{self, Path};
use super::rule::Verdict;
use serde_json::{Map, Value};

/// What all rules of one request may cost.
const REQUEST_BUDGET: u64 = 10_000_000;

/// The errors of all rules.
pub(super) fn check(node: &Node, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut walk =
        Walk { errors: Vec::new(), path: Path::default(), budget: REQUEST_BUDGET, stopped: false };
    walk.node(node, new, old, old.map(|old| (node, new, old)));
    walk.errors
}

/// A value and the one it replaces, of this node or of its nearest ancestor that has one: if they are equal, rules that
/// do not compare with the past are not enforced, so that a stricter schema stops no unrelated update.
type Unchanged<'v> = Option<(&'v Node, &'v Value, &'v Value)>;

struct Walk {
    errors: Vec<FieldError>,
    path: Path,
    budget: u64,
    stopped: bool,
}

impl Walk {
    fn node(&mut self, node: &Node, new: &Value, old: Option<&Value>, pair: Unchanged<'_>) {
        if !node.below.rules || self.stopped || new.is_null() {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        self.rules(node, new, old, pair);
        match new {
            Value::Object(map) => self.fields(node, map, old, pair),
            Value::Array(items) => self.items(node, items, old, pair),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn rules(&mut self, node: &Node, new: &Value, old: Option<&Value>, pair: Unchanged<'_>) {
        for rule in &node.rules {
            let (verdict, cost) = rule.run(new, old, node, self.path.as_str());
            if cost > self.budget {
                self.errors.push(self.out_of_budget(node));
                self.stopped = true;
                return;
            }
            self.budget -= cost;
            match verdict {
                Verdict::Holds => {}
                Verdict::Fails(error) => {
                    if rule.uses_old()
                        || pair.is_none_or(|(node, new, old)| !unchanged(node, new, old))
                    {
                        self.errors.push(error);
                    }
                }
                Verdict::Errs(error) => self.errors.push(error),
                Verdict::Exhausted(error) => {
                    self.errors.push(error);
                    self.stopped = true;
                    return;
                }
            }
        }
    }

    fn out_of_budget(&self, node: &Node) -> FieldError {
        let kind = node.kind.map_or("", super::node::Kind::name);
        let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
        let message = format!("Invalid value: \"{kind}\": {detail}");
        FieldError::new(path::shown(self.path.as_str()), CauseReason::Invalid, message)
    }

    fn fields(
        &mut self,
        node: &Node,
        map: &Map<String, Value>,
        old: Option<&Value>,
        pair: Unchanged<'_>,
    ) {
        let old = old.and_then(Value::as_object);
        for (name, value) in map {
            let (child, named) = match (node.properties.get(name), node.additional.schema()) {
                (Some(child), _) => (child, true),
                (None, Some(child)) => (child, false),
                (None, None) => continue,
            };
            if !child.below.rules {
                continue;
            }
            let mark = self.path.mark();
            if named {
                self.path.field(name)
            } else {
                self.path.key(name)
            }
            let before = old.and_then(|old| old.get(name));
            self.node(child, value, before, before.map(|before| (child, value, before)).or(pair));
            self.path.back(mark);
        }
    }

    fn items(&mut self, node: &Node, items: &[Value], old: Option<&Value>, pair: Unchanged<'_>) {
        let Some(child) = node.items.as_deref().filter(|child| child.below.rules) else { return };
        let correlated = Correlated::new(&node.list, old);
        for (index, item) in items.iter().enumerate() {
            let mark = self.path.mark();
            self.path.index(index);
            let before = correlated.of(item);
            self.node(child, item, before, before.map(|before| (child, item, before)).or(pair));
            self.path.back(mark);
        }
    }
}
