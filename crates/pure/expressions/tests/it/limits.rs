//! Both sides of each limit, and bombs.

use crate::evaluate;
use kruntimes_expressions::limits::{
    BUILT_BYTES, DEPTH, EXPRESSION_BYTES, EXPRESSIONS, JSON_VALUES, STEPS, TEMPLATE_CHARS,
};
use kruntimes_expressions::{Budget, Expression, Problem, Template};
use serde_json::{Value, json};

fn problem(text: &str) -> Option<Problem> {
    Template::parse(text).err().map(|error| error.problem)
}

fn repeated(start: &str, count: usize, end: &str) -> String {
    format!("{}1{}", start.repeat(count), end.repeat(count))
}

#[test]
fn texts() {
    let text = "é".repeat(TEMPLATE_CHARS);
    assert_eq!(problem(&text), None);
    let chars = TEMPLATE_CHARS + 1;
    assert_eq!(problem(&format!("{text}é")), Some(Problem::TemplateTooLong { chars }));
    assert_eq!(problem(&"${{ env.A }}".repeat(EXPRESSIONS)), None);
    let text = "${{ env.A }}".repeat(EXPRESSIONS + 1);
    let error = Template::parse(&text).unwrap_err();
    assert_eq!(error.problem, Problem::TooManyExpressions);
    assert_eq!(error.position.offset, 12 * EXPRESSIONS);
}

#[test]
fn expressions() {
    let of = |bytes: usize| format!("env{}", " ".repeat(bytes - 3));
    assert_eq!(problem(&format!("${{{{{}}}}}", of(EXPRESSION_BYTES))), None);
    let too_long = Some(Problem::ExpressionTooLong);
    assert_eq!(problem(&format!("${{{{{}}}}}", of(EXPRESSION_BYTES + 1))), too_long);
    assert!(Expression::parse(&of(EXPRESSION_BYTES)).is_ok());
    let error = Expression::parse(&of(EXPRESSION_BYTES + 1)).unwrap_err();
    assert_eq!(error.problem, Problem::ExpressionTooLong);
    let string = format!("${{{{ '{}' }}}}", "x".repeat(EXPRESSION_BYTES));
    assert_eq!(problem(&string), too_long);
    let error = Expression::parse(&"1".repeat(1 << 20)).unwrap_err();
    assert!(matches!(error.problem, Problem::TemplateTooLong { .. }));
}

#[test]
fn depth() {
    let nested = [("(", ")"), ("!", ""), ("toJSON(", ")"), ("env[", "]")];
    for (start, end) in nested {
        let deepest = format!("${{{{ {} }}}}", repeated(start, DEPTH, end));
        assert_eq!(problem(&deepest), None, "{start}");
        for count in [DEPTH + 1, 1_000, 2_000] {
            let text = format!("${{{{ {} }}}}", repeated(start, count, end));
            assert_eq!(problem(&text), Some(Problem::TooDeep), "{start} × {count}");
        }
    }
    let chain = |operator: &str, count: usize| vec!["1"; count].join(operator);
    for (operator, count, expected) in [
        ("==", DEPTH + 1, None),
        ("==", DEPTH + 2, Some(Problem::TooDeep)),
        ("<", DEPTH + 1, None),
        ("<", 5_000, Some(Problem::TooDeep)),
        ("&&", 5_000, None),
        ("||", 5_000, None),
    ] {
        let text = format!("${{{{ {} }}}}", chain(operator, count));
        assert_eq!(problem(&text), expected, "{operator} × {count}");
    }
    let text = format!("${{{{ {} }}}}", repeated("(", 10_000, ")"));
    assert_eq!(problem(&text), Some(Problem::TooDeep));
    assert_eq!(problem(&format!("${{{{ env{} }}}}", ".a".repeat(5_000))), None);
}

#[test]
fn the_deepest_expression_needs_a_small_stack() {
    let of_small_stack = || {
        let level = |start: &str, end: &str| repeated(start, DEPTH / 7, end);
        let text = level("!(env[toJSON(1 || 1 && 1 == 1 < ", ")])");
        let template = Template::parse(&format!("${{{{ {text} }}}}")).unwrap();
        let text = repeated("!(1 || 1 && 1 == 1 < ", 900, ")");
        let refused = Template::parse(&format!("${{{{ {text} }}}}")).unwrap_err();
        (template.evaluate(&json!({"env": {}})).unwrap(), refused.problem)
    };
    let thread = std::thread::Builder::new().stack_size(512 << 10).spawn(of_small_stack).unwrap();
    assert_eq!(thread.join().unwrap(), (json!(true), Problem::TooDeep));
}

fn built(expression: &str, context: &Value) -> Result<Value, Problem> {
    let expression = Expression::parse(expression).unwrap();
    expression.evaluate(context).map_err(|error| error.problem)
}

#[test]
fn what_is_built() {
    let of = |chars: usize| json!({"env": {"A": "x".repeat(chars)}});
    for (expression, uses) in [
        ("format('{0}', env.A) == ''", 1),
        ("join(env.A) == ''", 1),
        ("contains(env.A, '')", 1),
        ("startsWith('', env.A)", 1),
        ("format('{0}{0}{0}{0}', env.A) == ''", 4),
    ] {
        let chars = BUILT_BYTES / uses;
        assert!(built(expression, &of(chars)).is_ok(), "{expression}");
        let expected = Err(Problem::TooManyBytes);
        assert_eq!(built(expression, &of(chars + 1)), expected, "{expression}");
    }
    assert!(built("toJSON(env.A) == ''", &of(BUILT_BYTES - 2)).is_ok());
    assert_eq!(built("toJSON(env.A) == ''", &of(BUILT_BYTES - 1)), Err(Problem::TooManyBytes));
    let copied = |chars: usize| built("env.A", &of(chars)).map(|value| value.to_string().len());
    let room = BUILT_BYTES - size_of::<Value>();
    assert_eq!(copied(room), Ok(room + 2));
    assert_eq!(copied(room + 1), Err(Problem::TooManyBytes));
    let text = Template::parse("${{ env.A }}${{ env.A }}").unwrap();
    assert!(text.evaluate(&of(BUILT_BYTES / 2)).is_ok());
    let error = text.evaluate(&of(BUILT_BYTES / 2 + 1)).unwrap_err();
    assert_eq!((error.problem, error.position.column), (Problem::TooManyBytes, 17));
}

#[test]
fn texts_that_belong_together_may_share_what_there_is() {
    let context = json!({"env": {"A": "x".repeat(BUILT_BYTES / 4)}});
    let text = Template::parse("${{ env.A }}!").unwrap();
    let whole = Template::parse("${{ env.A }}").unwrap();
    let mut budget = Budget::new();
    assert!(text.evaluate_within(&context, &mut budget).is_ok());
    assert!(whole.evaluate_text_within(&context, &mut budget).is_ok());
    let expression = Expression::parse("env.A").unwrap();
    assert!(expression.evaluate_within(&context, &mut budget).is_ok());
    let error = expression.evaluate_text_within(&context, &mut budget).unwrap_err();
    assert_eq!(error.problem, Problem::TooManyBytes);
    assert!(expression.evaluate_text(&context).is_ok());
}

#[test]
fn bombs() {
    let tens = "{0}".repeat(10);
    let mut bomb = "'x'".to_owned();
    for _ in 0..8 {
        bomb = format!("format('{tens}', {bomb})");
    }
    assert_eq!(evaluate(&bomb).map_err(|error| error.problem), Err(Problem::TooManyBytes));
    let mut quoted = "'\"\\'".to_owned();
    for _ in 0..40 {
        quoted = format!("toJSON({quoted})");
    }
    assert_eq!(evaluate(&quoted).map_err(|error| error.problem), Err(Problem::TooManyBytes));
    let list = json!({"env": {"L": vec!["x".repeat(1_000); 1_000], "S": "x".repeat(1_000)}});
    let join = "join(env.L, env.S) == ''";
    assert_eq!(built(join, &list), Err(Problem::TooManyBytes));
    let compare = vec!["env.L == env.L"; 500].join(" && ");
    assert_eq!(built(&compare, &list), Err(Problem::TooManySteps));
    let search = vec!["contains(env.L, 'y')"; 500].join(" || ");
    assert_eq!(built(&search, &list), Err(Problem::TooManySteps));
    let every = vec!["env.L.*.x == 1"; 500].join(" || ");
    assert_eq!(built(&every, &list), Err(Problem::TooManySteps));
}

#[test]
fn steps() {
    let of = |count: usize| json!({"env": {"L": vec![0; count]}});
    let search = "contains(env.L, 1)";
    let nodes = 4;
    assert_eq!(built(search, &of(STEPS - nodes)), Ok(json!(false)));
    assert_eq!(built(search, &of(STEPS - nodes + 1)), Err(Problem::TooManySteps));
}

#[test]
fn json() {
    let list = |count: usize| json!({"env": {"J": format!("[{}]", vec!["1"; count].join(","))}});
    let last = "fromJSON(env.J)[0]";
    assert_eq!(built(last, &list(JSON_VALUES - 1)), Ok(json!(1)));
    let message = format!("the text has more than {JSON_VALUES} values");
    assert_eq!(built(last, &list(JSON_VALUES)), Err(Problem::Json(message)));
    for signs in [",[{", "\",[{", "\\\",[{\\"] {
        let text = json!({"env": {"J": json!(signs.repeat(JSON_VALUES)).to_string()}});
        assert!(built("fromJSON(env.J)", &text).is_ok(), "{signs}");
    }
    let deep = json!({"env": {"J": "[".repeat(10_000)}});
    let Err(Problem::Json(message)) = built(last, &deep) else { panic!("parsed") };
    assert!(message.contains("recursion limit"), "{message}");
    let twice = "fromJSON(env.J)[0] == fromJSON(env.J)[0]";
    assert_eq!(built(twice, &list(JSON_VALUES - 1)), Err(Problem::TooManyBytes));
}
