//! Programs on small values: what compiles, what is refused and why, and what each expression says.
use super::program::MAX_NESTING;
use super::*;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

fn decl() -> Arc<Decl> {
    let text = || Arc::new(Decl::Str);
    let item =
        Decl::Object(BTreeMap::from([("name".to_owned(), text()), ("value".to_owned(), text())]));
    let fields = [
        ("s", Decl::Str),
        ("i", Decl::Int),
        ("n", Decl::Double),
        ("b", Decl::Bool),
        ("q", Decl::Dyn),
        ("at", Decl::DateTime),
        ("raw", Decl::Bytes),
        ("d", Decl::Duration),
        ("args", Decl::List(text(), ListKind::Atomic)),
        ("tags", Decl::List(text(), ListKind::Set)),
        ("env", Decl::List(Arc::new(item), ListKind::Map(vec!["name".to_owned()]))),
        ("labels", Decl::Map(text())),
        ("namespace", Decl::Str),
        ("any", Decl::Opaque),
    ];
    Arc::new(Decl::Object(
        fields.into_iter().map(|(name, decl)| (name.to_owned(), Arc::new(decl))).collect(),
    ))
}

fn run(rule: &str, value: &Json, old: Option<&Json>) -> Result<bool, Failure> {
    let decl = decl();
    let program = Program::compile(rule, &decl, false, Wanted::Bool)
        .unwrap_or_else(|error| panic!("{rule}: {error}"));
    program.holds(Inputs { value, old, optional_old: false, decl: &decl }).0
}

fn sample() -> Json {
    json!({
        "s": "héllo", "i": 7, "n": 2, "b": true, "q": "5", "at": "2026-11-24T05:00:00Z", "raw": "Zm9v", "d": "90s",
        "args": ["a", "bb", "ccc"], "tags": ["x", "y"], "env": [{"name": "A", "value": "1"}, {"name": "B"}],
        "labels": {"k": "v"}, "namespace": "ns", "any": {"deep": [1]}
    })
}

#[test]
fn expressions_that_hold() {
    for rule in [
        "self.s.size() == 5 && size(self.s) == 5",
        "self.i + 1 == 8 && self.i % 2 == 1 && -self.i < 0",
        "self.n * 2.0 == 4.0 && self.n < 3 && self.i > 6.5",
        "has(self.s) && !has(self.labels.zz) && has(self.labels.k)",
        "self.args.all(a, a.size() <= 3) && self.args.exists(a, a == 'bb')",
        "self.args.exists_one(a, a.startsWith('c')) && !self.args.exists_one(a, a != 'a')",
        "self.args.map(a, a.size()).sum() == 6",
        "self.args.map(a, a != 'a', a + '!') == ['bb!', 'ccc!']",
        "self.args.filter(a, a.size() > 1) == ['bb', 'ccc']",
        "self.args[0] == 'a' && self.args.size() == 3 && 'bb' in self.args",
        "self.labels['k'] == 'v' && 'k' in self.labels && !('z' in self.labels)",
        "self.labels.all(k, self.labels[k] == 'v')",
        "self.__namespace__ == 'ns'",
        "self.tags == ['y', 'x'] && !(['y', 'x'] == self.tags)",
        "self.i in [1, 7] && !(self.i in [])",
        "self.b ? self.i == 7 : self.i == 0",
        "type(self.q) == string && int(self.q) == 5",
        "self.at > timestamp('2026-01-01T00:00:00Z') && self.at + duration('1h') > self.at",
        "self.d == duration('1m30s') && self.d.getSeconds() == 90",
        "self.raw == b'foo'",
        "self.s.matches('^h.*o$') && self.s.contains('llo') && self.s.endsWith('o')",
        "self.s.charAt(1) == 'é' && self.s.substring(1, 3) == 'él' && self.s.indexOf('l') == 2",
        "self.s.lastIndexOf('l') == 3 && self.s.lastIndexOf('l', 2) == 2 && self.s.indexOf('l', 3) == 3",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c']",
        "'abc'.split('') == ['a', 'b', 'c'] && 'a'.split(',', 0) == []",
        "'A-b'.lowerAscii() == 'a-b' && 'a'.upperAscii() == 'A' && ' a '.trim() == 'a'",
        "'aaa'.replace('a', 'b') == 'bbb' && 'aaa'.replace('a', 'b', 2) == 'bba'",
        "['a', 'b'].join('-') == 'a-b' && ['a', 'b'].join() == 'ab'",
        "[3, 1, 2].min() == 1 && [3, 1, 2].max() == 3 && [1, 2].isSorted() && ![2, 1].isSorted()",
        "[1, 2] + [3] == [1, 2, 3] && {'a': 1} == {'a': 1} && {'a': 1}.a == 1",
        "string(self.i) == '7' && string(1.5) == '1.5' && double('2') == 2.0 && uint(3) == 3u",
        "[] == [] && [].sum() == 0 && self.args.indexOf('bb') == 1",
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)",
        "[0, 1].exists(x, 1 / x == 1) && ![0, 1].all(x, 1 / x == 2)",
        "self.env.exists(e, e.name == 'A' && has(e.value)) && self.env.exists(e, !has(e.value))",
        "'a'.find('[a-z]') == 'a' && 'x'.matches(self.s) == false",
        "self.i == 7 ? true : self.nothing_here || true".split(" ? ").next().unwrap_or_default(),
    ] {
        assert_eq!(run(rule, &sample(), None), Ok(true), "{rule}");
    }
}

#[test]
fn expressions_that_fail_at_run_time() {
    for (rule, text) in [
        ("self.labels.zz == 'v'", "no such key: zz"),
        ("self.labels['zz'] == 'v'", "no such key: zz"),
        ("self.args[9] == 'a'", "index out of bounds: 9"),
        ("self.labels.a.size() == 0 && self.args[9] == 'a'", "no such key: a"),
        ("[0, 'x'].all(x, x == 0 ? 1 / 0 == 1 : self.args[9] == 'a')", "division by zero"),
        ("self.args[-1] == 'a'", "index out of bounds: -1"),
        ("self.i / 0 == 1", "division by zero"),
        ("self.i % 0 == 1", "modulus by zero"),
        ("self.i * 9223372036854775807 > 0", "integer overflow"),
        (
            "duration(self.s) > duration('0s')",
            "type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
        (
            "timestamp(self.s) > timestamp(self.s)",
            "type conversion error from 'string' to 'google.protobuf.Timestamp'",
        ),
        ("int(self.s) > 0", "type conversion error from 'string' to 'int'"),
        ("self.q < 5", "no such overload"),
        ("self.s.charAt(99) == ''", "index out of range: 99"),
        ("self.s.substring(3, 2) == ''", "invalid substring range. start: 3, end: 2"),
        ("[].min() == 1", "min called on empty list"),
        ("[0].all(x, 1 / x == 1)", "division by zero"),
        ("self.s.matches(self.s + '(')", "error parsing regexp"),
    ] {
        let error = run(rule, &sample(), None).expect_err(rule).to_string();
        assert!(error.starts_with(text), "{rule}: {error}");
    }
}

#[test]
fn expressions_that_are_refused() {
    for (rule, text) in [
        ("self.nosuch == 1", "undefined field 'nosuch'"),
        ("self.namespace == 'x'", "undefined field 'namespace'"),
        ("self.any == 1", "undefined field 'any'"),
        ("other == 1", "undeclared reference to 'other' (in container '')"),
        ("self.s == 1", "found no matching overload for '_==_' applied to '(string, int)'"),
        ("self.i == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
        ("self.i + 's' == 1", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("self.s.nosuch()", "undeclared reference to 'nosuch' (in container '')"),
        (
            "self.s.startsWith(1)",
            "found no matching overload for 'startsWith' applied to 'string.(int)'",
        ),
        ("quantity(self.s) == 1", "function 'quantity' is not served by this API server"),
        ("self.s.all(c, true)", "expression of type 'string' cannot be range of a comprehension"),
        ("self.args.all(a, 1)", "expected type 'bool' but found 'int'"),
        ("self.i", "cel expression must evaluate to a bool"),
        ("self.i.x == 1", "type 'int' does not support field selection"),
        ("has(self)", "invalid argument to has() macro"),
        ("self.s.matches('(')", "error parsing regexp"),
        ("self.b && self.i", "found no matching overload for '_&&_' applied to '(bool, int)'"),
        (
            "self.b ? 1 : 's'",
            "found no matching overload for '_?_:_' applied to '(bool, int, string)'",
        ),
        ("self.s ==", "ERROR"),
        ("", "ERROR"),
    ] {
        let error = Program::compile(rule, &decl(), false, Wanted::Bool).expect_err(rule);
        assert!(error.contains(text), "{rule}: {error}");
    }
}

#[test]
fn compile_errors_point_at_their_place() {
    let error = Program::compile("self.i == 1 &&\n  self.nosuch", &decl(), false, Wanted::Bool)
        .unwrap_err();
    assert_eq!(error, "ERROR: <input>:2:7: undefined field 'nosuch'\n |   self.nosuch\n | ......^");
}

#[test]
fn equality_of_lists_and_objects() {
    let with = |key: &str, value: Json| {
        let mut object = sample();
        object[key] = value;
        object
    };
    for (rule, key, old, expected) in [
        ("self.args == oldSelf.args", "args", json!(["a", "bb", "ccc"]), true),
        ("self.args == oldSelf.args", "args", json!(["bb", "a", "ccc"]), false),
        ("self.tags == oldSelf.tags", "tags", json!(["y", "x"]), true),
        ("self.tags == oldSelf.tags", "tags", json!(["y", "z"]), false),
        (
            "self.env == oldSelf.env",
            "env",
            json!([{"name": "B"}, {"name": "A", "value": "1"}]),
            true,
        ),
        (
            "self.env == oldSelf.env",
            "env",
            json!([{"name": "B"}, {"name": "A", "value": "2"}]),
            false,
        ),
        (
            "self.env == oldSelf.env",
            "env",
            json!([{"name": "B"}, {"name": "C", "value": "1"}]),
            false,
        ),
        ("self.labels == oldSelf.labels", "labels", json!({"k": "w"}), false),
        ("self == oldSelf", "any", json!({"deep": [1]}), true),
        ("self == oldSelf", "any", json!({"deep": [2]}), false),
        ("self == oldSelf", "n", json!(2.0), true),
        ("self == oldSelf", "at", json!("2026-11-24T06:00:00+01:00"), true),
    ] {
        let old = with(key, old);
        assert_eq!(run(rule, &sample(), Some(&old)), Ok(expected), "{rule} {key}");
    }
}

#[test]
fn null_properties_are_absent() {
    let value = json!({"s": null, "labels": {}});
    assert_eq!(run("!has(self.s) && !has(self.i)", &value, None), Ok(true));
    assert!(run("self.s == 'x'", &value, None).is_err());
}

#[test]
fn optional_old_self() {
    let decl = Arc::new(Decl::Int);
    let rule = "oldSelf.hasValue() ? self >= oldSelf.value() : self == 1";
    let program = Program::compile(rule, &decl, true, Wanted::Bool).expect("compiles");
    assert!(program.uses_old());
    for (new, old, expected) in
        [(1, None, true), (2, None, false), (3, Some(2), true), (1, Some(2), false)]
    {
        let (value, old) = (json!(new), old.map(|old: i32| json!(old)));
        let inputs = Inputs { value: &value, old: old.as_ref(), optional_old: true, decl: &decl };
        assert_eq!(program.holds(inputs).0, Ok(expected), "{new} {old:?}");
    }
    assert!(Program::compile("oldSelf.orValue(0) <= self", &decl, true, Wanted::Bool).is_ok());
    assert!(
        Program::compile("self.?nosuch.hasValue()", &self::decl(), false, Wanted::Bool).is_err()
    );
    let value = json!({"s": "x"});
    for (rule, expected) in [("self.?s.orValue('y') == 'x'", true), ("self.?i.hasValue()", false)] {
        assert_eq!(run(rule, &value, None), Ok(expected), "{rule}");
    }
}

#[test]
fn cost_is_bounded() {
    let many: Vec<Json> = (0..300).map(|n| json!(n.to_string())).collect();
    let rule = "self.args.all(a, self.args.all(b, self.args.all(c, a != b || b != c || a == c)))";
    assert_eq!(run(rule, &json!({"args": many}), None), Err(Failure::Budget));
    let doubling = "['aaaaaaaa'].map(s, s.replace('a', s)).map(s, s.replace('a', s)).map(s, s.replace('a', s)).map(s, \
                    s.replace('a', s)).all(s, s.size() > 0)";
    assert_eq!(run(doubling, &json!({}), None), Err(Failure::Budget));
}

#[test]
fn hostile_sources_are_refused_not_overflowed() {
    for source in [
        "(".repeat(5_000),
        "!".repeat(300) + "true",
        "1".to_owned() + &"+1".repeat(5_000) + " == 0",
        "[".repeat(200) + &"]".repeat(200),
        "(".repeat(MAX_NESTING) + "1" + &"+1".repeat(350) + &")".repeat(MAX_NESTING) + " == 0",
        "[".repeat(MAX_NESTING) + &"]".repeat(MAX_NESTING) + " == []",
        "true ? ".repeat(MAX_NESTING) + "true" + &" : true".repeat(MAX_NESTING),
        "self".to_owned() + &".s".repeat(390),
        "true ? ".repeat(150),
        "x".repeat(20 << 10),
        "'\u{0}\u{ffff}é".to_owned(),
        "true".to_owned() + &" && true".repeat(150),
    ] {
        let _ = Program::compile(&source, &decl(), false, Wanted::Bool);
    }
}

#[test]
fn data_of_another_shape_is_an_error() {
    for (rule, value) in [
        ("self.i == 1", json!({"i": "x"})),
        ("self.args.size() == 1", json!({"args": {}})),
        ("self.s == 'x'", json!([])),
        ("self.i == 1", json!({"i": 1e300})),
        ("self.at == self.at", json!({"at": "yesterday"})),
    ] {
        assert!(run(rule, &value, None).is_err(), "{rule}");
    }
}
