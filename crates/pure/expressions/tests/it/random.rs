//! Texts that nobody would write: none panics, and what parses is evaluated within its budget.

use crate::world;
use kruntimes_expressions::{Expression, Template};

/// xorshift64*
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % bound
    }
}

const PIECES: [&str; 48] = [
    "${{",
    "}}",
    " ",
    "\n",
    "'",
    "''",
    "\"",
    "é",
    "😀",
    "\u{0}",
    "$",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ".",
    ".*",
    ",",
    "!",
    "<",
    "<=",
    ">",
    ">=",
    "==",
    "!=",
    "&&",
    "||",
    "null",
    "true",
    "1",
    "-1",
    "0x",
    "1e9",
    "0.5",
    "env",
    "inputs",
    ".name",
    "matrix.list",
    "needs.plan",
    "workflow.fruits",
    "format(",
    "join(",
    "toJSON(",
    "fromJSON(",
    "contains(",
    "'{0}'",
];

/// What may follow what, so that much of it parses.
fn expression(random: &mut Random, depth: usize) -> String {
    let inner = |random: &mut Random| expression(random, depth.saturating_sub(1));
    match random.below(if depth == 0 { 5 } else { 16 }) {
        0 => "inputs.n".to_owned(),
        1 => "workflow.fruits".to_owned(),
        2 => ["null", "true", "''", "'1'", "'[1]'", "(0)", "(-2.5)"][random.below(7)].to_owned(),
        3 => "matrix['list']".to_owned(),
        4 => "'{0} {{x}}'".to_owned(),
        5 => format!("({})", inner(random)),
        6 => format!("!{}", inner(random)),
        7 => format!("{}.*", inner(random)),
        8 => format!("{}[{}]", inner(random), inner(random)),
        9 => format!("toJSON({})", inner(random)),
        10 => format!("fromJSON({})", inner(random)),
        11 => format!("join({}, {})", inner(random), inner(random)),
        12 => format!("format({}, {})", inner(random), inner(random)),
        13 => format!("contains({}, {})", inner(random), inner(random)),
        _ => {
            let operator = ["==", "!=", "<", "<=", ">", ">=", "&&", "||"][random.below(8)];
            format!("{} {operator} {}", inner(random), inner(random))
        }
    }
}

#[test]
fn texts_of_any_pieces() {
    let mut parsed = 0;
    for seed in 1..6_000 {
        let mut random = Random(seed);
        let count = random.below(20) + 1;
        let text: String = (0..count).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let _ = Expression::parse(&text);
        for text in [text.clone(), format!("${{{{ {text} }}}}")] {
            if let Ok(template) = Template::parse(&text) {
                parsed += usize::from(!template.is_literal());
                let _ = template.evaluate(&world());
                assert!(template.references().len() < text.len());
            }
        }
    }
    assert!(parsed > 30, "{parsed}");
}

#[test]
fn expressions_of_any_shape() {
    let mut valued = 0;
    for seed in 1..6_000 {
        let text = expression(&mut Random(seed), 5);
        let parsed = Expression::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        valued += usize::from(parsed.evaluate(&world()).is_ok());
        assert_eq!(Expression::parse(parsed.source()).as_ref(), Ok(&parsed), "{text}");
    }
    assert!(valued > 1_500, "{valued}");
}
