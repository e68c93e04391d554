//! What is said of a mistake, and where.

use crate::{evaluate, world};
use kruntimes_expressions::{Expression, Template};

const CONTEXTS: &str = "there are env, inputs, jobs, matrix, needs, steps, strategy, workflow, and strings have single quotes";
const FUNCTIONS: &str = "there are contains, startsWith, endsWith, format, join, toJSON, fromJSON, hashFiles, always, success, failure, cancelled";

#[test]
fn a_mistake_in_a_text_is_found_before_anything_runs() {
    let unknown = |name: &str| format!("nothing has the name {name}: {CONTEXTS}");
    for (text, expected) in [
        ("a ${{ env.A", "1:3: this ${{ has no }}: write ${{ '${{' }} for the characters themselves".to_owned()),
        ("${{ ${{ env.A }} }}", "1:5: '$' is no part of an expression".to_owned()),
        ("a\n b ${{ }}", "2:4: an expression is missing".to_owned()),
        ("${{}}", "1:1: an expression is missing".to_owned()),
        ("${{ 'a }}", "1:5: this string has no closing single quote".to_owned()),
        ("${{ 'a'' }}", "1:5: this string has no closing single quote".to_owned()),
        ("é${{ \"a\" }}", "1:6: strings have single quotes, as 'text'; '' is a single quote within one".to_owned()),
        ("${{ env.A & env.B }}", "1:11: & is no operator: && is".to_owned()),
        ("${{ env.A | env.B }}", "1:11: | is no operator: || is".to_owned()),
        ("${{ env.A = env.B }}", "1:11: = is no operator: == is".to_owned()),
        ("${{ 1 + 1 }}", "1:7: '+' is no part of an expression".to_owned()),
        ("${{ env.é }}", "1:9: 'é' is no part of an expression".to_owned()),
        ("${{ {} }}", "1:5: '{' is no part of an expression".to_owned()),
        ("${{ 1x }}", "1:5: 1x is not a number: 10, -2.5, 1e3, 0xff and 0o17 are".to_owned()),
        ("${{ 1e5e+5 }}", "1:5: 1e5e+5 is not a number: 10, -2.5, 1e3, 0xff and 0o17 are".to_owned()),
        ("${{ 1- }}", "1:6: - is not a number: 10, -2.5, 1e3, 0xff and 0o17 are".to_owned()),
        ("${{ env.A env.B }}", "1:11: env can't stand here: an operator or the end is expected".to_owned()),
        ("${{ env.A 'x''y' }}", "1:11: the string 'x''y' can't stand here: an operator or the end is expected".to_owned()),
        ("${{ env.A ) }}", "1:11: ) can't stand here: an operator or the end is expected".to_owned()),
        ("${{ (env.A }}", "1:12: the end can't stand here: an operator or ) is expected".to_owned()),
        ("${{ && env.A }}", "1:5: && can't stand here: a value, a name, a function, ( or ! is expected".to_owned()),
        ("${{ env.A && }}", "1:14: the end can't stand here: a value, a name, a function, ( or ! is expected".to_owned()),
        ("${{ env. }}", "1:10: the end can't stand here: a name or * is expected".to_owned()),
        ("${{ env.'A' }}", "1:9: the string 'A' can't stand here: a name or * is expected".to_owned()),
        ("${{ env.-1 }}", "1:9: -1 can't stand here: a name or * is expected".to_owned()),
        ("${{ env['A' }}", "1:13: the end can't stand here: an operator or ] is expected".to_owned()),
        ("${{ env[] }}", "1:9: ] can't stand here: a value, a name, a function, ( or ! is expected".to_owned()),
        ("${{ join(env.A env.B) }}", "1:16: env can't stand here: an operator, a comma or ) is expected".to_owned()),
        ("${{ join(env.A,) }}", "1:16: ) can't stand here: a value, a name, a function, ( or ! is expected".to_owned()),
        ("${{ !!nothing }}", format!("1:7: {}", unknown("nothing"))),
        ("${{ step.a.outputs.b }}", "1:5: nothing has the name step: did you mean steps?, and strings have single quotes".to_owned()),
        ("${{ Needs.a }}", "1:5: nothing has the name Needs: did you mean needs?, and strings have single quotes".to_owned()),
        ("${{ github.sha }}", "1:5: nothing has the name github: workflow.name, workflow.namespace and inputs say what a Workflow was started with".to_owned()),
        ("${{ secrets.A }}", "1:5: nothing has the name secrets: a Workflow has no Secrets: a Run gets one by env with valueFrom.secretKeyRef".to_owned()),
        ("${{ success && true }}", "1:5: nothing has the name success: the function is success(…)".to_owned()),
        ("${{ True }}", format!("1:5: {}", unknown("True"))),
        ("${{ contain('a', 'b') }}", "1:5: there is no function contain: did you mean contains?".to_owned()),
        ("${{ eval('a') }}", format!("1:5: there is no function eval: {FUNCTIONS}")),
        ("${{ env('a') }}", format!("1:5: there is no function env: {FUNCTIONS}")),
        ("${{ contains('a') }}", "1:5: contains takes 2 arguments, not 1".to_owned()),
        ("${{ contains('a', 'b', 'c') }}", "1:5: contains takes 2 arguments, not 3".to_owned()),
        ("${{ startsWith() }}", "1:5: startsWith takes 2 arguments, not 0".to_owned()),
        ("${{ endsWith(1) }}", "1:5: endsWith takes 2 arguments, not 1".to_owned()),
        ("${{ format('a') }}", "1:5: format takes 2 arguments or more, not 1".to_owned()),
        ("${{ join() }}", "1:5: join takes 1 or 2 arguments, not 0".to_owned()),
        ("${{ join(1, 2, 3) }}", "1:5: join takes 1 or 2 arguments, not 3".to_owned()),
        ("${{ toJSON() }}", "1:5: toJSON takes 1 argument, not 0".to_owned()),
        ("${{ fromJSON(1, 2) }}", "1:5: fromJSON takes 1 argument, not 2".to_owned()),
        ("${{ hashFiles() }}", "1:5: hashFiles takes 1 argument or more, not 0".to_owned()),
        ("${{ success(1) }}", "1:5: success takes no arguments, not 1".to_owned()),
        ("x\n${{ 'a\nb' ||\n  oops }}", format!("4:3: {}", unknown("oops"))),
    ] {
        let error = Template::parse(text).expect_err(text);
        let (line, rest) = expected.split_once(':').unwrap();
        let (column, problem) = rest.split_once(": ").unwrap();
        assert_eq!(error.to_string(), format!("line {line}, column {column}: {problem}"), "{text}");
    }
}

#[test]
fn the_offset_is_in_bytes_and_the_column_in_characters() {
    let error = Template::parse("é\né${{ é }}").unwrap_err();
    let position = error.position;
    assert_eq!((position.offset, position.line, position.column), (9, 2, 6));
}

#[test]
fn a_condition_is_one_expression() {
    let mixed =
        "a condition is one expression: put the whole of it between ${{ and }}, or none of it";
    for (text, expected) in [
        ("", "1:1: an expression is missing".to_owned()),
        (" \n ", "2:2: an expression is missing".to_owned()),
        ("${{ }}", "1:5: an expression is missing".to_owned()),
        ("${{ true }} && false", format!("1:12: {mixed}")),
        ("true && ${{ false }}", format!("1:9: {mixed}")),
        ("${{ true }}${{ true }}", format!("1:12: {mixed}")),
        (
            "${{ true",
            "1:4: this ${{ has no }}: write ${{ '${{' }} for the characters themselves".to_owned(),
        ),
        ("true }}", "1:6: '}' is no part of an expression".to_owned()),
        ("true $", "1:6: '$' is no part of an expression".to_owned()),
    ] {
        let error = Expression::parse(text).expect_err(text).to_string();
        let (line, rest) = expected.split_once(':').unwrap();
        let (column, problem) = rest.split_once(": ").unwrap();
        assert_eq!(error, format!("line {line}, column {column}: {problem}"), "{text}");
    }
}

#[test]
fn what_only_the_values_show_is_said_when_they_are_there() {
    let braces = "format: { and } stand around the number of an argument; {{ and }} are the braces themselves";
    let no_text = "has no text of its own: use toJSON(…) for all of it, or take a part of it";
    for (expression, expected) in [
        (
            "fromJSON('{')",
            "1:5: fromJSON: EOF while parsing an object at line 1 column 1".to_owned(),
        ),
        (
            "true && fromJSON(inputs.name)",
            "1:13: fromJSON: expected value at line 1 column 1".to_owned(),
        ),
        ("fromJSON('')", "1:5: fromJSON: the text is empty".to_owned()),
        ("fromJSON(needs.nobody.outputs.x)", "1:5: fromJSON: the text is empty".to_owned()),
        ("fromJSON(matrix.list)", format!("1:5: a list {no_text}")),
        ("format('{0}', inputs)", format!("1:5: an object {no_text}")),
        (
            "format('{1}', 1)",
            "1:5: format: there is no argument {1}: they are {0} to {0}".to_owned(),
        ),
        (
            "format('{99999999999999999999}', 1, 2)",
            "1:5: format: there is no argument {99999999999999999999}: they are {0} to {1}"
                .to_owned(),
        ),
        ("format('{', 1)", format!("1:5: {braces}")),
        ("format('}', 1)", format!("1:5: {braces}")),
        ("format('{}', 1)", format!("1:5: {braces}")),
        ("format('{x}', 1)", format!("1:5: {braces}")),
        ("format('{0', 1)", format!("1:5: {braces}")),
        ("join(inputs, ',')", "1:5: join needs a list, not an object".to_owned()),
        ("join(workflow.fruits, ',')", format!("1:5: an object {no_text}")),
        ("join(matrix.list, matrix.list)", format!("1:5: a list {no_text}")),
        ("hashFiles(inputs)", format!("1:5: an object {no_text}")),
    ] {
        let error = evaluate(expression).expect_err(expression).to_string();
        let (line, rest) = expected.split_once(':').unwrap();
        let (column, problem) = rest.split_once(": ").unwrap();
        assert_eq!(error, format!("line {line}, column {column}: {problem}"), "{expression}");
    }
    let template = Template::parse("x\n ${{ matrix.os }} ${{ 1 && matrix.list }}").unwrap();
    let error = template.evaluate(&world()).unwrap_err().to_string();
    assert_eq!(error, format!("line 2, column 25: a list {no_text}"));
}
