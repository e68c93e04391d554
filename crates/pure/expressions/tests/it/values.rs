//! What expressions are worth: a row for each rule.

use crate::{evaluate, world};
use kruntimes_expressions::Template;
use serde_json::{Value, json};

fn check(rows: &[(&str, Value)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|(expression, expected)| match evaluate(expression) {
            Ok(value) if value == *expected => None,
            Ok(value) => Some(format!("{expression} is {value}, not {expected}")),
            Err(error) => Some(format!("{expression}: {error}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn literals() {
    check(&[
        ("null", json!(null)),
        ("true", json!(true)),
        ("false", json!(false)),
        ("711", json!(711)),
        ("-9.2", json!(-9.2)),
        ("0xff", json!(255)),
        ("0o17", json!(15)),
        ("-2.99e-2", json!(-0.0299)),
        ("1.0", json!(1)),
        ("'Mona'", json!("Mona")),
        ("'It''s open source!'", json!("It's open source!")),
        ("''", json!("")),
        ("''''", json!("'")),
        ("'}} ${{ \"'", json!("}} ${{ \"")),
        ("'é😀'", json!("é😀")),
        ("  \n 1 \t", json!(1)),
    ]);
}

#[test]
fn paths() {
    check(&[
        ("inputs.n", json!(3)),
        ("inputs . n", json!(3)),
        ("inputs['n']", json!(3)),
        ("inputs[ 'n' ]", json!(3)),
        ("inputs.true", json!("yes")),
        ("matrix.python-version", json!("3.12")),
        ("matrix['python-version']", json!("3.12")),
        ("steps.build.outputs.version", json!("1.2")),
        ("steps.build.outputs.1st", json!("first")),
        ("steps.1st.outputs.ok", json!("yes")),
        ("needs.plan.outputs.a.b", json!("dotted")),
        ("needs.plan.outputs['a.b']", json!("dotted")),
        ("needs.plan.outputs.a.b.c", json!(null)),
        ("matrix.list[0]", json!(1)),
        ("matrix.list[1]", json!(2)),
        ("matrix.list[1.9]", json!(2)),
        ("matrix.list['1']", json!(null)),
        ("matrix.list[format('1', 0)]", json!(null)),
        ("matrix.list[2]", json!(null)),
        ("matrix.list[-1]", json!(null)),
        ("matrix.list['x']", json!(null)),
        ("matrix.list[1e300]", json!(null)),
        ("matrix.list", json!([1, 2])),
        ("inputs.nothing.at.all", json!(null)),
        ("inputs.N", json!(null)),
        ("needs.nobody.outputs.x", json!(null)),
        ("needs[inputs.name].outputs", json!(null)),
        ("needs[format('{0}{1}', 'pl', 'an')].outputs.x", json!("X")),
        ("(needs.plan).outputs.x", json!("X")),
        ("fromJSON(needs.plan.outputs.list)[1]", json!("b")),
        ("fromJSON('{\"a\": {\"b\": 5}}').a.b", json!(5)),
        ("fromJSON('{\"a\": 5}')[3]", json!(null)),
        ("'text'.length", json!(null)),
    ]);
}

#[test]
fn every_value_of_a_list_or_an_object() {
    check(&[
        ("workflow.fruits.*.name", json!(["apple", "pear"])),
        ("workflow.fruits[*].name", json!(["apple", "pear"])),
        ("workflow.boxes.*.name", json!(["l", "r"])),
        ("workflow.fruits.*.tags", json!([["red", "green"], ["green"]])),
        ("workflow.fruits.*.tags.*", json!(["red", "green", "green"])),
        ("workflow.fruits.*.tags[1]", json!(["green"])),
        ("workflow.fruits.*['name']", json!(["apple", "pear"])),
        ("workflow.fruits.*[format('na{0}', 'me')]", json!(["apple", "pear"])),
        ("(workflow.fruits.*.tags).*", json!(["red", "green", "green"])),
        ("matrix.list.*", json!([1, 2])),
        ("inputs.n.*", json!([])),
        ("inputs.nothing.*.x", json!([])),
        ("fromJSON('[{\"a\":1},{\"a\":2}]').*.a", json!([1, 2])),
        ("fromJSON('{\"x\":{\"a\":1}}').*.a", json!([1])),
        ("join(workflow.fruits.*.name, '+')", json!("apple+pear")),
        ("contains(workflow.fruits.*.name, 'PEAR')", json!(true)),
        ("contains(workflow.fruits.*.name, 'plum')", json!(false)),
    ]);
}

#[test]
fn operators_bind_as_documented() {
    check(&[
        ("true || false && false", json!(true)),
        ("(true || false) && false", json!(false)),
        ("1 < 2 == true", json!(true)),
        ("true == 1 < 2", json!(true)),
        ("false == false && true", json!(true)),
        ("1 == 1 != false", json!(true)),
        ("3 > 2 > 1", json!(false)),
        ("!true == false", json!(true)),
        ("!(true == false)", json!(true)),
        ("!!inputs.n", json!(true)),
        ("!inputs.nothing.x", json!(true)),
        ("!false && 'yes'", json!("yes")),
    ]);
}

#[test]
fn and_and_or_give_the_operand_that_decides() {
    check(&[
        ("inputs.name && 'yes' || 'no'", json!("yes")),
        ("inputs.nothing && 'yes' || 'no'", json!("no")),
        ("'' || 0 || null || 'last'", json!("last")),
        ("'' || 0 || null", json!(null)),
        ("1 && 'a' && true", json!(true)),
        ("1 && '' && true", json!("")),
        ("'first' || fromJSON('no JSON')", json!("first")),
        ("0 && fromJSON('no JSON')", json!(0)),
        ("(false || 'a') || 'b'", json!("a")),
        ("false || ('a' || 'b')", json!("a")),
    ]);
}

#[test]
fn strings_without_regard_to_case() {
    check(&[
        ("contains('Hello world', 'LLO')", json!(true)),
        ("contains('Hello world', 'llow')", json!(false)),
        ("contains('abc', '')", json!(true)),
        ("contains(123, 2)", json!(true)),
        ("contains(true, 'RU')", json!(true)),
        ("contains(null, 'n')", json!(false)),
        ("contains(inputs, 'n')", json!(false)),
        ("contains('a', inputs)", json!(false)),
        ("contains(matrix.list, 2)", json!(true)),
        ("contains(matrix.list, '2')", json!(true)),
        ("contains(matrix.list, 3)", json!(false)),
        ("CONTAINS('a', 'A')", json!(true)),
        ("startsWith('Hello world', 'he')", json!(true)),
        ("startsWith('Hello world', 'el')", json!(false)),
        ("endsWith('Hello world', 'LD')", json!(true)),
        ("endsWith('Hello world', 'l')", json!(false)),
        ("endsWith(125, 25)", json!(true)),
        ("contains('École', 'éCO')", json!(true)),
    ]);
}

#[test]
fn format_and_join() {
    check(&[
        ("format('Hello {0} {1} {0}', 'Mona', 'cat')", json!("Hello Mona cat Mona")),
        ("format('{{Hello}} {{{0}}}', 1)", json!("{Hello} {1}")),
        ("format('', 1)", json!("")),
        ("format('{0}{1}{2}', null, true, -0.5)", json!("true-0.5")),
        ("format('{00}', 1)", json!("1")),
        ("format('{10}', 0,1,2,3,4,5,6,7,8,9,'x')", json!("x")),
        ("format('é{0}é', '{1}')", json!("é{1}é")),
        ("join(matrix.list)", json!("1,2")),
        ("join(matrix.list, ' + ')", json!("1 + 2")),
        ("join(matrix.list, '')", json!("12")),
        ("join(matrix.list, null)", json!("12")),
        ("join('text', '+')", json!("text")),
        ("join(fromJSON('[]'))", json!("")),
        ("join(fromJSON('[null, true, 1.0, \"x\"]'), '/')", json!("/true/1/x")),
    ]);
}

#[test]
fn to_and_from_json() {
    check(&[
        ("toJSON(matrix.list)", json!("[\n  1,\n  2\n]")),
        ("toJSON('a\"b')", json!("\"a\\\"b\"")),
        ("toJSON(null)", json!("null")),
        ("toJson(true)", json!("true")),
        ("toJSON(fromJSON('{\"b\":1,\"a\":{}}'))", json!("{\n  \"a\": {},\n  \"b\": 1\n}")),
        ("fromJSON('true')", json!(true)),
        ("fromJSON('\"x\"')", json!("x")),
        ("fromJSON(' [1, \"2\"] ')", json!([1, "2"])),
        ("fromJSON(7)", json!(7)),
        ("fromJSON('\"a,\\\",[{\"')", json!("a,\",[{")),
        ("fromJSON(needs.plan.outputs.list)", json!(["a", "b"])),
    ]);
}

#[test]
fn a_text_around_makes_a_string_and_one_expression_keeps_its_kind() {
    for (text, expected) in [
        ("${{ inputs.n }}", json!(3)),
        (" ${{ inputs.n }}", json!(" 3")),
        ("${{ inputs.n }}${{ inputs.on }}", json!("3true")),
        ("a${{inputs.name}}b${{ null }}c", json!("aAdabc")),
        ("${{ matrix.list }}", json!([1, 2])),
        ("", json!("")),
        ("plain $ {{ }} text }}", json!("plain $ {{ }} text }}")),
        ("${{ '${{' }} and ${{ '}}' }}", json!("${{ and }}")),
        ("${{ 1.0 }}/${{ 1e21 }}/${{ 0.1 }}", json!("1/1e21/0.1")),
        ("a\n${{\n inputs.n\n}}\n", json!("a\n3\n")),
    ] {
        let value = Template::parse(text).and_then(|template| template.evaluate(&world()));
        assert_eq!(value, Ok(expected), "{text}");
    }
    let template = Template::parse("${{ inputs.n }}").unwrap();
    assert_eq!(template.evaluate_text(&world()).as_deref(), Ok("3"));
}
