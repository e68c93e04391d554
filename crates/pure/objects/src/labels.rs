//! Label selectors in all their forms, parsed as apimachinery does.
use std::collections::{BTreeMap, BTreeSet};

use crate::names;

/// A parsed label selector; empty selects everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    op: Op,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Op {
    Exists,
    Absent,
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Greater(i64),
    Less(i64),
}

/// Why a selector is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub struct LabelSelectorError(String);

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
    pub fn parse(source: &str) -> Result<Self, LabelSelectorError> {
        let mut parser = Parser { rest: source.trim() };
        let mut requirements = Vec::new();
        while !parser.rest.is_empty() {
            requirements.push(parser.requirement()?);
            if !parser.rest.is_empty() && !parser.take(",") {
                return Err(fail(&format!(
                    "found '{}', expected: ',' or 'end of string'",
                    parser.rest
                )));
            }
        }
        Ok(Self(requirements))
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|r| r.op.holds(labels.get(&r.key)))
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Op {
    fn holds(&self, value: Option<&String>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(set) => value.is_some_and(|v| set.contains(v)),
            Self::NotIn(set) => value.is_none_or(|v| !set.contains(v)),
            Self::Greater(than) => number().is_some_and(|n| n > *than),
            Self::Less(than) => number().is_some_and(|n| n < *than),
        }
    }
}

struct Parser<'s> {
    rest: &'s str,
}

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(after) => {
                self.rest = after.trim_start();
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || "=!<>(),".contains(c))
            .unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        self.rest = after.trim_start();
        word.to_owned()
    }

    fn key(&mut self) -> Result<String, LabelSelectorError> {
        let key = self.word();
        match names::qualified_name(&key) {
            Some(why) => Err(fail(&format!("key: Invalid value: \"{key}\": {why}"))),
            None => Ok(key),
        }
    }

    fn value(&mut self) -> Result<String, LabelSelectorError> {
        let value = self.word();
        match names::label_value(&value) {
            Some(why) => Err(fail(&format!("values[0]: Invalid value: \"{value}\": {why}"))),
            None => Ok(value),
        }
    }

    fn requirement(&mut self) -> Result<Requirement, LabelSelectorError> {
        if self.take("!") {
            return Ok(Requirement { key: self.key()?, op: Op::Absent });
        }
        let key = self.key()?;
        let op = if self.rest.is_empty() || self.rest.starts_with(',') {
            Op::Exists
        } else if self.take("==") || self.take("=") {
            Op::In(BTreeSet::from([self.value()?]))
        } else if self.take("!=") {
            Op::NotIn(BTreeSet::from([self.value()?]))
        } else if self.take(">") {
            Op::Greater(self.number()?)
        } else if self.take("<") {
            Op::Less(self.number()?)
        } else {
            let rest = self.rest.to_owned();
            match self.word().as_str() {
                "in" => Op::In(self.set()?),
                "notin" => Op::NotIn(self.set()?),
                _ => {
                    return Err(fail(&format!(
                        "found '{rest}', expected: in, notin, =, ==, !=, gt, lt"
                    )));
                }
            }
        };
        Ok(Requirement { key, op })
    }

    fn number(&mut self) -> Result<i64, LabelSelectorError> {
        let word = self.word();
        word.parse().map_err(|_| {
            fail(&format!("values[0]: Invalid value: \"{word}\": for 'Gt', 'Lt' operators, the value must be an integer"))
        })
    }

    fn set(&mut self) -> Result<BTreeSet<String>, LabelSelectorError> {
        if !self.take("(") {
            return Err(fail(&format!("found '{}' expected: '('", self.rest)));
        }
        let mut values = BTreeSet::new();
        loop {
            values.insert(self.value()?);
            if self.take(")") {
                return Ok(values);
            }
            if !self.take(",") {
                return Err(fail(&format!("found '{}', expected: ',' or ')'", self.rest)));
            }
        }
    }
}

fn fail(why: &str) -> LabelSelectorError {
    LabelSelectorError(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_selects_what_it_says() {
        let labels: BTreeMap<String, String> = [("a", "b"), ("n", "5"), ("kruntimes.io/x", "")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        for (selector, expected) in [
            ("", true),
            ("a=b", true),
            ("a == b", true),
            ("a=c", false),
            ("a!=c", true),
            ("zz!=c", true),
            ("a in (x, b)", true),
            ("a notin (x,b)", false),
            ("zz notin (x)", true),
            ("a,!zz", true),
            ("! a", false),
            ("n>4,n<6", true),
            ("n>5", false),
            ("a>1", false),
            ("kruntimes.io/x=", true),
            ("kruntimes.io/x in ()", true),
        ] {
            assert_eq!(
                LabelSelector::parse(selector).unwrap().matches(&labels),
                expected,
                "{selector}"
            );
        }
        for bad in ["a b", "a in b", "a in (b", "=x", "a=b c", "a>x", "a/b/c", "a=-"] {
            assert!(LabelSelector::parse(bad).is_err(), "{bad}");
        }
    }
}
