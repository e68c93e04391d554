//! Matrices: their legs, and what is refused.

use kruntimes_expressions::limits::{AXES, COMPARISONS, LEGS_BYTES, MATRIX_DEPTH};
use kruntimes_expressions::{Leg, Matrix, MatrixError, MatrixProblem};
use serde_json::{Value, json};

const LIMIT: usize = 1_024;

pub(crate) fn expand(source: &Value, context: &Value) -> Result<Vec<Leg>, MatrixError> {
    Matrix::parse(source, LIMIT)?.expand(context, LIMIT)
}

fn values(source: &Value) -> Vec<Value> {
    let legs = expand(source, &json!({})).unwrap_or_else(|error| panic!("{source}: {error}"));
    legs.into_iter().map(|leg| Value::Object(leg.values)).collect()
}

#[test]
fn legs_are_all_combinations_in_order() {
    for (source, expected) in [
        (json!({"os": ["b", "a"]}), json!([{"os": "b"}, {"os": "a"}])),
        (
            json!({"b": [1, 2], "a": ["x", "y"]}),
            json!([{"a": "x", "b": 1}, {"a": "x", "b": 2}, {"a": "y", "b": 1}, {"a": "y", "b": 2}]),
        ),
        (
            json!({"a": [1], "b": [true, null, 1.0, {"k": [2.0]}], "c": ["z"]}),
            json!([{"a": 1, "b": true, "c": "z"}, {"a": 1, "b": null, "c": "z"}, {"a": 1, "b": 1, "c": "z"}, {"a": 1, "b": {"k": [2]}, "c": "z"}]),
        ),
    ] {
        assert_eq!(json!(values(&source)), expected, "{source}");
    }
}

#[test]
fn include_adds_to_legs_or_makes_new_ones() {
    // The example of GitHub's documentation, its names in alphabetical order.
    let source = json!({
        "fruit": ["apple", "pear"],
        "animal": ["cat", "dog"],
        "include": [
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
    });
    let expected = json!([
        {"animal": "cat", "fruit": "apple", "color": "pink", "shape": "circle"},
        {"animal": "cat", "fruit": "pear", "color": "pink"},
        {"animal": "dog", "fruit": "apple", "color": "green", "shape": "circle"},
        {"animal": "dog", "fruit": "pear", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]);
    assert_eq!(json!(values(&source)), expected);
    for (source, expected) in [
        (json!({"include": [{"a": 1}, {"a": 1, "b": 2}]}), json!([{"a": 1}, {"a": 1, "b": 2}])),
        (json!({"a": [1, 2], "include": [{"a": 2, "b": 3}]}), json!([{"a": 1}, {"a": 2, "b": 3}])),
        (json!({"a": [1], "include": [{"a": 1.0, "b": 3}]}), json!([{"a": 1, "b": 3}])),
        (json!({"a": [1], "include": [{"a": "1"}]}), json!([{"a": 1}, {"a": "1"}])),
        (
            json!({"a": [{"x": 1}], "include": [{"a": {"x": 1}, "b": 2}]}),
            json!([{"a": {"x": 1}, "b": 2}]),
        ),
        (json!({"a": [1], "include": []}), json!([{"a": 1}])),
    ] {
        assert_eq!(json!(values(&source)), expected, "{source}");
    }
}

#[test]
fn exclude_takes_legs_away_before_include_adds_any() {
    for (source, expected) in [
        (
            json!({"a": [1, 2], "b": [1, 2], "exclude": [{"a": 1, "b": 2}]}),
            json!([{"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 2, "b": 2}]),
        ),
        (
            json!({"a": [1, 2], "b": [1, 2], "exclude": [{"a": 1}]}),
            json!([{"a": 2, "b": 1}, {"a": 2, "b": 2}]),
        ),
        (json!({"a": [1, 2], "exclude": [{"a": 3}]}), json!([{"a": 1}, {"a": 2}])),
        (json!({"a": [1, "1"], "exclude": [{"a": 1}]}), json!([{"a": "1"}])),
        (json!({"a": [1, 2], "exclude": [{"a": 1}, {"a": 2}]}), json!([])),
        (json!({"a": [1], "exclude": [{"a": 1}], "include": [{"a": 1}]}), json!([{"a": 1}])),
        (
            json!({"a": [{"x": 1}, {"x": 2}], "exclude": [{"a": {"x": 1}}]}),
            json!([{"a": {"x": 2}}]),
        ),
    ] {
        assert_eq!(json!(values(&source)), expected, "{source}");
    }
}

#[test]
fn lists_come_from_expressions_too() {
    let context = json!({
        "needs": {"plan": {"outputs": {
            "list": "[\"a\", \"b\"]", "none": "[]", "all": "{\"x\": [1, 2], \"include\": [{\"x\": 3}]}", "text": "a",
        }}},
        "inputs": {"os": "linux", "n": 1.0},
    });
    let from = |output: &str| format!("${{{{ fromJSON(needs.plan.outputs.{output}) }}}}");
    for (source, expected) in [
        (json!({"x": from("list")}), json!([{"x": "a"}, {"x": "b"}])),
        (json!(from("all")), json!([{"x": 1}, {"x": 2}, {"x": 3}])),
        (
            json!({"x": ["${{ inputs.os }}", "on ${{ inputs.os }}"]}),
            json!([{"x": "linux"}, {"x": "on linux"}]),
        ),
        (json!({"x": [{"y": "${{ inputs.n }}"}]}), json!([{"x": {"y": 1}}])),
        (json!({"x": from("none")}), json!([])),
        (json!({"x": from("none"), "y": [1]}), json!([])),
        (json!({"x": from("none"), "include": [{"x": 1}]}), json!([{"x": 1}])),
        (json!({"x": [1], "include": from("none"), "exclude": from("none")}), json!([{"x": 1}])),
        (json!({"include": ["${{ fromJSON('{\"x\": 1}') }}"]}), json!([{"x": 1}])),
    ] {
        let legs = expand(&source, &context).unwrap_or_else(|error| panic!("{source}: {error}"));
        let values: Vec<Value> = legs.into_iter().map(|leg| Value::Object(leg.values)).collect();
        assert_eq!(json!(values), expected, "{source}");
    }
    let matrix =
        Matrix::parse(&json!({"a": [from("list"), "${{ inputs.os }}"], "b": from("all")}), LIMIT);
    let read: Vec<String> =
        matrix.unwrap().references().iter().map(|found| found.path.join(".")).collect();
    assert_eq!(read, ["needs.plan.outputs.list", "inputs.os", "needs.plan.outputs.all"]);
    for (source, expected) in [
        (
            json!({"x": from("text")}),
            "matrix.x: line 1, column 5: fromJSON: expected value at line 1 column 1",
        ),
        (
            json!({"x": "${{ needs.plan.outputs.list }}"}),
            "matrix.x: a list is needed here, not a string",
        ),
        (json!({"x": "${{ needs.nobody }}"}), "matrix.x: a list is needed here, not null"),
        (json!("${{ fromJSON('[]') }}"), "matrix: an object is needed here, not a list"),
        (
            json!("${{ fromJSON('{}') }}"),
            "matrix: there is nothing to combine: name a list of values, or include",
        ),
        (
            json!({"include": ["${{ inputs.os }}"]}),
            "matrix.include[0]: an object is needed here, not a string",
        ),
        (
            json!({"x": ["a", {"y": "${{ inputs }} "}]}),
            "matrix.x[1].y: line 1, column 5: an object has no text of its own: use toJSON(…) for all of it, or take a part of it",
        ),
    ] {
        let error = expand(&source, &context).expect_err(expected).to_string();
        assert_eq!(error, expected, "{source}");
    }
}

fn check_refused(rows: &[(Value, &str)]) {
    for (source, expected) in rows {
        let error = expand(source, &json!({})).expect_err(expected).to_string();
        assert_eq!(error, *expected, "{source}");
    }
}

#[test]
fn a_matrix_that_can_be_none_is_refused_as_it_is_written() {
    check_refused(&[
        (json!([1]), "matrix: an object is needed here, not a list"),
        (json!("text"), "matrix: an object is needed here, not a string"),
        (json!({}), "matrix: there is nothing to combine: name a list of values, or include"),
        (
            json!({"exclude": [{"a": 1}]}),
            "matrix: there is nothing to combine: name a list of values, or include",
        ),
        (json!({"a": []}), "matrix.a: the list is empty"),
        (json!({"a": "x"}), "matrix.a: a list is needed here, not a string"),
        (json!({"a": {"b": 1}}), "matrix.a: a list is needed here, not an object"),
        (
            json!({"a b": [1]}),
            "matrix.a b: a name has letters, digits, - and _, and begins with a letter or _",
        ),
        (
            json!({"1": [1]}),
            "matrix.1: a name has letters, digits, - and _, and begins with a letter or _",
        ),
        (
            json!({"": [1]}),
            "matrix.: a name has letters, digits, - and _, and begins with a letter or _",
        ),
    ]);
}

#[test]
fn entries_that_can_be_none_are_refused_as_they_are_written() {
    check_refused(&[
        (
            json!({"a": [1], "include": {"b": 1}}),
            "matrix.include: a list is needed here, not an object",
        ),
        (
            json!({"a": [1], "include": [1]}),
            "matrix.include[0]: an object is needed here, not a number",
        ),
        (
            json!({"a": [1], "include": [{"b": 1}, {}]}),
            "matrix.include[1]: the entry has no values",
        ),
        (
            json!({"include": [{"é": 1}]}),
            "matrix.include[0].é: a name has letters, digits, - and _, and begins with a letter or _",
        ),
        (
            json!({"a": [1], "exclude": [true]}),
            "matrix.exclude[0]: an object is needed here, not a boolean",
        ),
        (json!({"a": [1], "exclude": [{}]}), "matrix.exclude[0]: the entry has no values"),
        (
            json!({"arch": [1], "exclude": [{"arhc": 1}]}),
            "matrix.exclude[0].arhc: no leg has this name: there are arch",
        ),
        (
            json!({"arch": [1], "exclude": [{"arc": 1}]}),
            "matrix.exclude[0].arc: no leg has this name: did you mean arch?",
        ),
        (
            json!({"include": [{"a": 1}], "exclude": [{"a": 1}]}),
            "matrix.exclude[0].a: no leg has this name: only include is there",
        ),
        (
            json!({"a": ["x", "${{ oops }}"]}),
            "matrix.a[1]: line 1, column 5: nothing has the name oops: there are env, inputs, jobs, matrix, needs, steps, strategy, workflow, and strings have single quotes",
        ),
        (json!({"a": [1, 1.0]}), "matrix: two legs are the same: {\"a\":1}"),
        (
            json!({"a": [1], "include": [{"a": 2}, {"a": 2}]}),
            "matrix: two legs are the same: {\"a\":2}",
        ),
    ]);
    for source in [
        json!({"a": "${{ inputs.a }}", "exclude": [{"a": 1}]}),
        json!({"a": [1], "include": "${{ inputs.a }}"}),
    ] {
        assert!(Matrix::parse(&source, LIMIT).is_ok(), "{source}");
    }
}

fn problem(source: &Value) -> Option<MatrixProblem> {
    expand(source, &json!({})).err().map(|error| error.problem)
}

#[test]
fn limits() {
    let list = |count: usize| (0..count).collect::<Vec<_>>();
    assert_eq!(values(&json!({"a": list(LIMIT)})).len(), LIMIT);
    assert_eq!(values(&json!({"a": list(32), "b": list(32)})).len(), LIMIT);
    let too_many = |count| Some(MatrixProblem::TooManyCombinations { count, limit: LIMIT });
    assert_eq!(problem(&json!({"a": list(LIMIT + 1)})), too_many(LIMIT + 1));
    assert_eq!(problem(&json!({"a": list(41), "b": list(25)})), too_many(1_025));
    let huge: serde_json::Map<String, Value> =
        (0..AXES).map(|axis| (format!("a{axis}"), json!(list(100)))).collect();
    assert_eq!(problem(&Value::Object(huge)), too_many(usize::MAX));
    let wide = |count: usize| {
        let axes = (0..count).map(|axis| (format!("a{axis}"), json!([1])));
        Value::Object(axes.collect())
    };
    assert_eq!(values(&wide(AXES)).len(), 1);
    assert_eq!(problem(&wide(AXES + 1)), Some(MatrixProblem::TooManyAxes { count: AXES + 1 }));
    let entries = |count: usize| list(count).iter().map(|n| json!({"b": n})).collect::<Vec<_>>();
    assert_eq!(values(&json!({"include": entries(LIMIT)})).len(), LIMIT);
    let count = LIMIT + 1;
    let too_many = Some(MatrixProblem::TooManyEntries { count, limit: LIMIT });
    assert_eq!(problem(&json!({"include": entries(count)})), too_many);
    assert_eq!(problem(&json!({"b": [1], "exclude": entries(count)})), too_many);
    let with = |count: usize| json!({"a": list(LIMIT - 1), "include": list(count).iter().map(|n| json!({"a": 9_999 + n})).collect::<Vec<_>>()});
    assert_eq!(values(&with(1)).len(), LIMIT);
    assert_eq!(problem(&with(2)), Some(MatrixProblem::TooManyLegs { limit: LIMIT }));
    let others = |count: usize| {
        let entries: Vec<Value> = (1..=count).map(|n| json!({"a": n})).collect();
        json!({"a": [0], "include": entries})
    };
    assert_eq!(values(&others(LIMIT - 1)).len(), LIMIT);
    assert_eq!(problem(&others(LIMIT)), Some(MatrixProblem::TooManyLegs { limit: LIMIT }));
    let computed = json!({"a": "${{ fromJSON(inputs.list) }}"});
    let of = |count: usize| json!({"inputs": {"list": json!(list(count)).to_string()}});
    assert_eq!(expand(&computed, &of(LIMIT)).unwrap().len(), LIMIT);
    let error = expand(&computed, &of(10_000)).unwrap_err().to_string();
    assert_eq!(error, "matrix: the lists have 10000 combinations, the limit is 1024");
}

#[test]
fn the_expressions_of_a_matrix_cost_no_more_than_one() {
    let list = json!({"inputs": {"l": (0..1_000).collect::<Vec<_>>()}});
    let of = |count: usize| {
        let search = |n: usize| format!("${{{{ contains(inputs.l, 'x') || {n} }}}}");
        json!({"a": (0..count).map(search).collect::<Vec<_>>()})
    };
    assert_eq!(expand(&of(99), &list).unwrap().len(), 99);
    let error = expand(&of(100), &list).unwrap_err().to_string();
    assert_eq!(
        error,
        "matrix.a[99]: line 1, column 5: the evaluation takes more than 100000 steps"
    );
    let matrix = Matrix::parse(&of(2), LIMIT).unwrap();
    let sources: Vec<&str> = matrix.expressions().iter().map(|found| found.source()).collect();
    assert_eq!(sources, ["contains(inputs.l, 'x') || 0", "contains(inputs.l, 'x') || 1"]);
}

#[test]
fn entries_are_compared_a_limited_number_of_times() {
    let list = |count: usize| (0..count).collect::<Vec<_>>();
    let entry = |keys: usize| (0..keys).map(|n| (format!("k{n}"), json!(n))).collect::<Value>();
    let most = COMPARISONS / LIMIT;
    for (key, keys) in [("include", most), ("include", most + 1)] {
        let source = json!({"a": list(LIMIT), key: [{"a": "other"}, entry(keys - 1)]});
        let expected = MatrixProblem::TooManyComparisons { count: LIMIT * (most + 1) };
        let is_too_many = problem(&source) == Some(expected);
        assert_eq!(is_too_many, keys > most, "{keys}");
    }
    let axes = |keys: usize| {
        let mut source = entry(keys);
        for values in source.as_object_mut().unwrap().values_mut() {
            *values = json!([0]);
        }
        source["a"] = json!(list(LIMIT));
        source["exclude"] = json!(vec![entry(keys); LIMIT]);
        source
    };
    assert_eq!(problem(&axes(4)), None);
    assert_eq!(
        problem(&axes(5)),
        Some(MatrixProblem::TooManyComparisons { count: LIMIT * LIMIT * 5 })
    );
}

#[test]
fn values_have_a_limit_together_and_in_depth() {
    let of = |chars: usize| json!({"a": ["x".repeat(chars)]});
    let room = LEGS_BYTES - 1 - 3;
    assert_eq!(values(&of(room - 10)).len(), 1);
    assert_eq!(problem(&of(room + 1)), Some(MatrixProblem::TooLarge));
    let object = |chars: usize| json!({"a": [{"k": "x".repeat(chars), "l": [1]}]});
    let around = 1 + (2 * (1 + 4) + 3) + 3 + (3 + 8);
    assert_eq!(values(&object(LEGS_BYTES - around)).len(), 1);
    assert_eq!(problem(&object(LEGS_BYTES - around + 1)), Some(MatrixProblem::TooLarge));
    let text = "x".repeat(LEGS_BYTES / 100);
    let product = |count: usize| json!({"a": [text], "b": (0..count).collect::<Vec<_>>()});
    assert_eq!(values(&product(99)).len(), 99);
    assert_eq!(problem(&product(100)), Some(MatrixProblem::TooLarge));
    let added = json!({"a": (0..101).collect::<Vec<_>>(), "include": [{"t": text}]});
    assert_eq!(problem(&added), Some(MatrixProblem::TooLarge));
    let alone =
        json!({"include": (0..101).map(|n| json!({"n": n, "t": text})).collect::<Vec<_>>()});
    assert_eq!(problem(&alone), Some(MatrixProblem::TooLarge));
    let deep = |count: usize| (0..count).fold(json!(1), |value, _| json!([value]));
    let deep_object = |count: usize| (0..count).fold(json!(1), |value, _| json!({"k": value}));
    assert_eq!(values(&json!({"a": deep(MATRIX_DEPTH - 1)})).len(), 1);
    assert_eq!(problem(&json!({"a": deep(MATRIX_DEPTH)})), Some(MatrixProblem::TooDeep));
    let computed = json!({"a": ["${{ fromJSON(inputs.x) }}"]});
    for (count, is_fine) in [(MATRIX_DEPTH, true), (MATRIX_DEPTH + 1, false), (120, false)] {
        for value in [deep(count), deep_object(count)] {
            let context = json!({"inputs": {"x": value.to_string()}});
            assert_eq!(expand(&computed, &context).is_ok(), is_fine, "{value}");
        }
    }
}
