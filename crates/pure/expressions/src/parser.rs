//! From words to a tree: precedence climbing, with a limit of depth that keeps the stack small.

use crate::error::{Failure, Problem};
use crate::functions::Function;
use crate::lexer::{Token, Word, shortened};
use crate::limits;
use crate::nearest;
use crate::tree::{Access, Comparison, Node, NodeKind};
use serde_json::Value;

/// What an expression may begin a path with.
pub const CONTEXTS: [&str; 8] =
    ["env", "inputs", "jobs", "matrix", "needs", "steps", "strategy", "workflow"];
/// Contexts of GitHub that nothing here fills, and what does their work.
const ELSEWHERE: [(&str, &str); 5] = [
    ("github", "workflow.name, workflow.namespace and inputs say what a Workflow was started with"),
    ("secrets", "a Workflow has no Secrets: a Run gets one by env with valueFrom.secretKeyRef"),
    ("vars", "inputs hold what may be chosen"),
    ("runner", "the Runtime that runs-on names decides what a step runs on"),
    ("job", "success(), failure() and cancelled() say how things went"),
];

/// How tight an operator binds.
type Power = u8;

#[derive(Debug, Clone, Copy)]
enum Operator {
    Any,
    All,
    Compare(Comparison),
}

fn operator(word: &Word) -> Option<(Operator, Power)> {
    let Word::Sign(sign) = word else { return None };
    Some(match *sign {
        "||" => (Operator::Any, 1),
        "&&" => (Operator::All, 2),
        "==" => (Operator::Compare(Comparison::Equal), 3),
        "!=" => (Operator::Compare(Comparison::NotEqual), 3),
        "<" => (Operator::Compare(Comparison::Less), 4),
        "<=" => (Operator::Compare(Comparison::LessOrEqual), 4),
        ">" => (Operator::Compare(Comparison::Greater), 4),
        ">=" => (Operator::Compare(Comparison::GreaterOrEqual), 4),
        _ => return None,
    })
}

/// The tree of the words, which end with [`Word::End`].
pub(crate) fn parse(tokens: Vec<Token>) -> Result<Node, Failure> {
    let mut parser = Parser { tokens: tokens.into_iter().peekable(), depth: 0, end: 0 };
    if parser.is_next(&Word::End) {
        return Err(Failure { at: parser.at(), problem: Problem::Empty });
    }
    let node = parser.binary(1)?;
    if parser.is_next(&Word::End) {
        Ok(node)
    } else {
        Err(parser.unexpected("an operator or the end"))
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
    end: usize,
}

impl Parser {
    fn is_next(&mut self, word: &Word) -> bool {
        self.tokens.peek().is_some_and(|token| token.word == *word)
    }

    fn is_sign(&mut self, sign: &'static str) -> bool {
        self.is_next(&Word::Sign(sign))
    }

    /// Takes the sign if it is the next word.
    fn takes(&mut self, sign: &'static str) -> bool {
        let is_next = self.is_sign(sign);
        if is_next {
            self.tokens.next();
        }
        is_next
    }

    fn at(&mut self) -> usize {
        if let Some(token) = self.tokens.peek() {
            self.end = token.at;
        }
        self.end
    }

    fn unexpected(&mut self, expected: &'static str) -> Failure {
        let at = self.at();
        let found =
            self.tokens.peek().map_or_else(|| Word::End.shown(), |token| token.word.shown());
        Failure { at, problem: Problem::Expected { expected, found: shortened(&found) } }
    }

    fn expect(&mut self, sign: &'static str, expected: &'static str) -> Result<(), Failure> {
        if self.takes(sign) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn deeper<T>(
        &mut self,
        at: usize,
        parse: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if self.depth >= limits::DEPTH {
            return Err(Failure { at, problem: Problem::TooDeep });
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn binary(&mut self, least: Power) -> Result<Node, Failure> {
        let mut left = self.unary()?;
        loop {
            let next = self.tokens.peek().and_then(|token| operator(&token.word));
            let Some((operator, power)) = next.filter(|(_, power)| *power >= least) else {
                return Ok(left);
            };
            let at = self.at();
            self.tokens.next();
            let right = self.binary(power + 1)?;
            left = join(operator, at, left, right)?;
        }
    }

    fn unary(&mut self) -> Result<Node, Failure> {
        let at = self.at();
        if self.takes("!") {
            let inner = self.deeper(at, Self::unary)?;
            return node(at, NodeKind::Not(Box::new(inner)));
        }
        let operand = self.operand()?;
        let path = self.path()?;
        attach(operand, path)
    }

    fn operand(&mut self) -> Result<Node, Failure> {
        let at = self.at();
        if self.takes("(") {
            let inner = self.deeper(at, |parser| parser.binary(1))?;
            self.expect(")", "an operator or )")?;
            return Ok(inner);
        }
        let is_operand = |token: &Token| matches!(token.word, Word::Literal(_) | Word::Name(_));
        match self.tokens.next_if(is_operand).map(|token| token.word) {
            Some(Word::Literal(value)) => node(at, NodeKind::Literal(value)),
            Some(Word::Name(name)) if self.is_sign("(") => self.call(at, &name),
            Some(Word::Name(name)) if CONTEXTS.contains(&name.as_str()) => {
                node(at, NodeKind::Reference { names: vec![name], rest: Vec::new() })
            }
            Some(Word::Name(name)) => Err(Failure { at, problem: unknown(&name) }),
            Some(Word::Sign(_) | Word::End) | None => {
                Err(self.unexpected("a value, a name, a function, ( or !"))
            }
        }
    }

    fn call(&mut self, at: usize, name: &str) -> Result<Node, Failure> {
        let Some(function) = Function::named(name) else {
            let problem = Problem::UnknownFunction {
                name: shortened(name),
                hint: nearest::hint(name, &Function::names()),
            };
            return Err(Failure { at, problem });
        };
        self.tokens.next();
        let arguments = self.deeper(at, Self::arguments)?;
        function.check(arguments.len()).map_err(|problem| Failure { at, problem })?;
        node(at, NodeKind::Call { function, arguments })
    }

    fn arguments(&mut self) -> Result<Vec<Node>, Failure> {
        let mut arguments = Vec::new();
        if self.takes(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.binary(1)?);
            if self.takes(")") {
                return Ok(arguments);
            }
            self.expect(",", "an operator, a comma or )")?;
        }
    }

    fn path(&mut self) -> Result<Vec<Access>, Failure> {
        let mut path = Vec::new();
        loop {
            let at = self.at();
            if self.takes(".") {
                path.push(self.member()?);
            } else if self.takes("[") {
                path.push(self.deeper(at, Self::index)?);
            } else {
                return Ok(path);
            }
        }
    }

    fn member(&mut self) -> Result<Access, Failure> {
        if self.takes("*") {
            return Ok(Access::Every);
        }
        let is_name = |token: &Token| matches!(token.word, Word::Name(_));
        match self.tokens.next_if(is_name).map(|token| token.word) {
            Some(Word::Name(name)) => Ok(Access::Name(name)),
            _ => Err(self.unexpected("a name or *")),
        }
    }

    fn index(&mut self) -> Result<Access, Failure> {
        let access = if self.takes("*") {
            Access::Every
        } else {
            let index = self.binary(1)?;
            if let NodeKind::Literal(Value::String(name)) = index.kind {
                Access::Name(name)
            } else {
                Access::Index(index)
            }
        };
        self.expect("]", "an operator or ]")?;
        Ok(access)
    }
}

fn unknown(name: &str) -> Problem {
    let elsewhere = ELSEWHERE.iter().find(|(context, _)| *context == name);
    let hint = match elsewhere {
        Some((_, instead)) => (*instead).to_owned(),
        None if Function::named(name).is_some() => format!("the function is {name}(…)"),
        None => format!("{}, and strings have single quotes", nearest::hint(name, &CONTEXTS)),
    };
    Problem::UnknownName { name: shortened(name), hint }
}

/// A node that is not too deep.
fn node(at: usize, kind: NodeKind) -> Result<Node, Failure> {
    let mut node = Node { at, depth: 0, kind };
    let below = node.children().iter().map(|child| child.depth).max();
    node.depth = below.map_or(0, |depth| depth + 1);
    if node.depth > limits::DEPTH {
        Err(Failure { at, problem: Problem::TooDeep })
    } else {
        Ok(node)
    }
}

/// What stands on both sides of an operator. Chains of `&&` and of `||` are one node.
fn join(operator: Operator, at: usize, left: Node, right: Node) -> Result<Node, Failure> {
    let kind = match (operator, left) {
        (Operator::Any, Node { kind: NodeKind::Any(mut nodes), .. }) => {
            nodes.push(right);
            NodeKind::Any(nodes)
        }
        (Operator::All, Node { kind: NodeKind::All(mut nodes), .. }) => {
            nodes.push(right);
            NodeKind::All(nodes)
        }
        (Operator::Any, left) => NodeKind::Any(vec![left, right]),
        (Operator::All, left) => NodeKind::All(vec![left, right]),
        (Operator::Compare(operator), left) => {
            NodeKind::Compare { operator, left: Box::new(left), right: Box::new(right) }
        }
    };
    node(at, kind)
}

/// The operand with the parts behind it.
fn attach(operand: Node, path: Vec<Access>) -> Result<Node, Failure> {
    if path.is_empty() {
        return Ok(operand);
    }
    let at = operand.at;
    let kind = match operand {
        Node { kind: NodeKind::Reference { mut names, mut rest }, .. } => {
            for access in path {
                match access {
                    Access::Name(name) if rest.is_empty() => names.push(name),
                    Access::Name(_) | Access::Index(_) | Access::Every => rest.push(access),
                }
            }
            NodeKind::Reference { names, rest }
        }
        of => NodeKind::Part { of: Box::new(of), path },
    };
    node(at, kind)
}
