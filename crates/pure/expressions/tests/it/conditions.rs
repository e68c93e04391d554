//! What is true, what is equal, and how things went.

use crate::evaluate;
use kruntimes_expressions::{Context, Expression, StatusFunction};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Values of each kind, and as what number they count.
const VALUES: [(&str, f64); 19] = [
    ("null", 0.0),
    ("false", 0.0),
    ("true", 1.0),
    ("0", 0.0),
    ("-0", 0.0),
    ("1", 1.0),
    ("-1", -1.0),
    ("2.5", 2.5),
    ("''", 0.0),
    ("' '", 0.0),
    ("'0'", 0.0),
    ("'1'", 1.0),
    ("' 1.0 '", 1.0),
    ("'0x1'", 1.0),
    ("'2.5'", 2.5),
    ("'true'", f64::NAN),
    ("'x'", f64::NAN),
    ("fromJSON('[]')", f64::NAN),
    ("fromJSON('{}')", f64::NAN),
];

fn is_string(literal: &str) -> bool {
    literal.starts_with('\'')
}

fn is_collection(literal: &str) -> bool {
    literal.starts_with("fromJSON")
}

#[test]
fn values_of_different_kinds_are_compared_as_numbers() {
    for (left, left_number) in VALUES {
        for (right, right_number) in VALUES {
            if is_string(left) && is_string(right) || is_collection(left) && is_collection(right) {
                continue;
            }
            for (operator, expected) in [
                ("==", left_number == right_number),
                ("!=", left_number != right_number),
                ("<", left_number < right_number),
                ("<=", left_number <= right_number),
                (">", left_number > right_number),
                (">=", left_number >= right_number),
            ] {
                let expression = format!("{left} {operator} {right}");
                assert_eq!(evaluate(&expression), Ok(json!(expected)), "{expression}");
            }
        }
    }
}

#[test]
fn values_of_one_kind_are_compared_as_what_they_are() {
    for (expression, expected) in [
        ("'abc' == 'ABC'", true),
        ("'1' == '1.0'", false),
        ("'10' < '9'", true),
        ("fromJSON('10') < fromJSON('9')", false),
        ("'a' < 'B'", true),
        ("'b' <= 'A'", false),
        ("'' < 'a'", true),
        ("'é' == 'É'", true),
        ("false < true", true),
        ("null <= null", true),
        ("null < null", false),
        ("matrix.list == matrix.list", true),
        ("matrix.list == fromJSON('[1.0, 2]')", true),
        ("matrix.list == fromJSON('[1, 2, 3]')", false),
        ("matrix.list == fromJSON('[1]')", false),
        ("matrix.list == fromJSON('[1, 3]')", false),
        ("matrix.list == fromJSON('[\"1\", 2]')", false),
        ("matrix.list != fromJSON('[2, 1]')", true),
        ("matrix.list < matrix.list", false),
        ("matrix.list <= matrix.list", false),
        ("fromJSON('{\"a\": [1]}') == fromJSON('{\"a\": [1]}')", true),
        ("fromJSON('{\"a\": [1]}') == fromJSON('{\"b\": [1]}')", false),
        ("fromJSON('{\"a\": 1}') == fromJSON('{\"a\": 1.0}')", true),
        ("fromJSON('{\"a\": [1]}') == fromJSON('{\"a\": [2]}')", false),
        ("fromJSON('{\"a\": 1}') == fromJSON('{\"a\": 1, \"b\": 1}')", false),
        ("fromJSON('[\"a\"]') == fromJSON('[\"A\"]')", false),
        ("fromJSON('{}') == fromJSON('[]')", false),
        ("contains(fromJSON('[[1],[2]]'), fromJSON('[2]'))", true),
    ] {
        assert_eq!(evaluate(expression), Ok(json!(expected)), "{expression}");
    }
}

#[test]
fn what_is_true() {
    let falsy = ["null", "false", "0", "-0", "0.0", "''"];
    let truthy = ["true", "1", "-1", "0.1", "'0'", "'false'", "' '", "fromJSON('[]')", "inputs"];
    for (literals, expected) in [(falsy.as_slice(), false), (truthy.as_slice(), true)] {
        for literal in literals {
            let condition = Expression::parse(literal).unwrap();
            assert_eq!(condition.is_true(&json!({"inputs": {}})), Ok(expected), "{literal}");
            assert_eq!(evaluate(&format!("!{literal}")), Ok(json!(!expected)), "!{literal}");
        }
    }
}

/// Everything went wrong, and two files are there.
struct Run;

impl Context for Run {
    fn value(&self, path: &[&str]) -> Option<Cow<'_, Value>> {
        (path == ["inputs", "n"]).then_some(Cow::Owned(json!(7)))
    }

    fn status(&self, function: StatusFunction) -> Result<bool, String> {
        match function {
            StatusFunction::Always | StatusFunction::Failure => Ok(true),
            StatusFunction::Success => Ok(false),
            StatusFunction::Cancelled => Err("nobody knows".to_owned()),
        }
    }

    fn hash_files(&self, patterns: &[String]) -> Result<String, String> {
        Ok(patterns.join("|"))
    }
}

#[test]
fn a_condition_asks_how_things_went() {
    for (text, expected, uses_status, uses_files) in [
        ("always()", Ok(true), true, false),
        ("success()", Ok(false), true, false),
        ("Failure() && inputs.n > 6", Ok(true), true, false),
        ("${{ failure() && inputs.n > 7 }}", Ok(false), true, false),
        (" \n${{ inputs.n == 7 }}\n ", Ok(true), false, false),
        ("inputs.n == 7", Ok(true), false, false),
        ("!contains('x', format('{0}', success()))", Ok(true), true, false),
        ("inputs[hashFiles('a', 1)] == null", Ok(true), false, true),
        ("hashFiles('a', 'b') == 'a|b'", Ok(true), false, true),
        ("true && cancelled()", Err("line 1, column 9: nobody knows"), true, false),
    ] {
        let condition = Expression::parse(text).unwrap();
        let value = condition.is_true(&Run).map_err(|error| error.to_string());
        assert_eq!(value, expected.map_err(str::to_owned), "{text}");
        assert_eq!(condition.uses_status(), uses_status, "{text}");
        assert_eq!(condition.uses_files(), uses_files, "{text}");
    }
}

#[test]
fn functions_about_the_run_are_refused_where_there_is_none() {
    for (expression, expected) in [
        ("always()", "line 1, column 5: always() is for conditions"),
        ("success()", "line 1, column 5: success() is for conditions"),
        ("failure()", "line 1, column 5: failure() is for conditions"),
        ("cancelled()", "line 1, column 5: cancelled() is for conditions"),
        ("hashFiles('a', 'b')", "line 1, column 5: hashFiles(a, b) has no files to read here"),
    ] {
        let error = evaluate(expression).unwrap_err().to_string();
        assert_eq!(error, expected, "{expression}");
    }
}
