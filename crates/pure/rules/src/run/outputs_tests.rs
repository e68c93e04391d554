//! The grammar by tables, its limits from both sides, and laws that hold for whatever a Run writes.

use super::*;
use crate::random::Random;

fn read(text: &str) -> Result<Vec<(String, String)>, OutputsError> {
    parse(text.as_bytes()).map(|outputs| outputs.into_iter().collect())
}

#[test]
fn lines_become_names_and_values() {
    let cases: [(&str, &[(&str, &str)]); 17] = [
        ("", &[]),
        ("a=1", &[("a", "1")]),
        ("a=1\nb=2\n", &[("a", "1"), ("b", "2")]),
        ("  a =  1 2  \n", &[("a", "1 2")]),
        ("a=1\r\n\r\nb=2\r\n", &[("a", "1"), ("b", "2")]),
        ("# a=0\n\n  # b\na=1", &[("a", "1")]),
        ("a=1\na=2", &[("a", "2")]),
        ("a=", &[("a", "")]),
        ("a=b=c", &[("a", "b=c")]),
        ("url=https://x/?q=<<", &[("url", "https://x/?q=<<")]),
        ("a.b-c_D9=#1", &[("a.b-c_D9", "#1")]),
        (
            "a<<EOF\none\n two \n\n# three=3\nEOF\nb=1",
            &[("a", "one\n two \n\n# three=3"), ("b", "1")],
        ),
        ("a << EOF \n EOF\nEOF\n", &[("a", " EOF")]),
        ("a<<EOF\nEOF", &[("a", "")]),
        ("a<<EOF\n\nEOF", &[("a", "")]),
        ("a<<EOF\r\none\r\ntwo\r\nEOF\r\n", &[("a", "one\ntwo")]),
        ("a<<EOF\none\r\ntwo\nEOF\n", &[("a", "one\r\ntwo")]),
    ];
    for (text, want) in cases {
        let want = want.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        assert_eq!(read(text), Ok(want.collect()), "{text:?}");
    }
}

#[test]
fn what_is_no_output_is_named_by_its_line() {
    use OutputsError::{Name, NoValue, NotUtf8, Unclosed};
    let quoted = |text: &str| format!("{text:?}");
    let cases: [(&[u8], OutputsError); 10] = [
        (b"a=1\nhello\n", NoValue { line: 2, shown: quoted("hello") }),
        (b"a<<\n", NoValue { line: 1, shown: quoted("a<<") }),
        (b"=1", Name { line: 1, shown: quoted("") }),
        (b"<<EOF\nx\nEOF", Name { line: 1, shown: quoted("") }),
        (b"-a=1", Name { line: 1, shown: quoted("-a") }),
        (b"a b=1", Name { line: 1, shown: quoted("a b") }),
        ("é=1".as_bytes(), Name { line: 1, shown: quoted("é") }),
        (b"\x1b[31m=1", Name { line: 1, shown: quoted("\u{1b}[31m") }),
        (b"a=1\nb=\xff\n", NotUtf8(2)),
        (b"a=1\nb<<EOF\nx\nEOF2\n", Unclosed { line: 2, shown: quoted("EOF") }),
    ];
    for (text, want) in cases {
        let got = parse(text).unwrap_err();
        assert_eq!(got, want);
        assert_eq!(got.reason(), Reason::OutputsInvalid, "{got}");
        assert!(!got.to_string().contains('\u{1b}'), "{got}");
    }
    let long = parse("x".repeat(5000).as_bytes()).unwrap_err().to_string();
    assert!(long.len() < 150 && long.contains('…'), "{long}");
}

fn check(text: &str, within: bool) {
    match (read(text), within) {
        (Ok(_), true) => {}
        (Err(error), false) => assert_eq!(error.reason(), Reason::OutputsTooLarge, "{error}"),
        (got, _) => panic!("{got:?} of {} bytes", text.len()),
    }
}

#[test]
fn every_limit_holds_on_both_sides() {
    let name = |bytes: usize| format!("{}=1", "n".repeat(bytes));
    let value = |bytes: usize| format!("a={}", "v".repeat(bytes));
    let items = |count: usize| (0..count).map(|at| format!("k{at}=v\n")).collect::<String>();
    // 7 values of 8192 bytes and one that fills up to `bytes`.
    let total = |bytes: usize| {
        let full: String = (0..7).map(|at| format!("k{at}={}\n", "v".repeat(8192))).collect();
        full + &format!("k7={}", "v".repeat(bytes - 7 * 8194 - 2))
    };
    let file = |bytes: usize| format!("a=1\n#{}", "x".repeat(bytes - 5));
    for more in [0, 1] {
        check(&name(limits::OUTPUT_NAME_BYTES + more), more == 0);
        check(&value(limits::OUTPUT_VALUE_BYTES + more), more == 0);
        check(&items(limits::OUTPUTS_ITEMS as usize + more), more == 0);
        check(&total(limits::OUTPUTS_BYTES + more), more == 0);
        check(&file(usize::try_from(limits::OUTPUTS_FILE_BYTES).unwrap() + more), more == 0);
    }
    // What a later line replaces does not count.
    check(&format!("{}\na=1", value(limits::OUTPUT_VALUE_BYTES + 1)), true);
    check(&items(64).repeat(20), true);
}

fn text(random: &mut Random, pieces: &[&str], most: usize) -> String {
    (0..random.below(most)).map(|_| pieces[random.below(pieces.len())]).collect()
}

const PIECES: [&str; 14] =
    ["a", "b=", "=", "<<", "EOF", "\n", "\r", "\r\n", " ", "#", "\t", "é", "\0", "EOF\n"];

/// As a careful program writes a value: between lines that are not in it.
fn written(name: &str, value: &str) -> String {
    format!("{name}<<__end__\n{value}\n__end__\n")
}

#[test]
fn whatever_is_written_between_two_lines_is_read_back() {
    let mut random = Random(7);
    for _ in 0..20_000 {
        let values: Vec<String> =
            (0..random.below(4)).map(|_| text(&mut random, &PIECES, 12)).collect();
        let named = |at: usize| format!("n{at}");
        let file: String =
            values.iter().enumerate().map(|(at, value)| written(&named(at), value)).collect();
        let want: Outputs =
            values.iter().enumerate().map(|(at, value)| (named(at), value.clone())).collect();
        assert_eq!(parse(file.as_bytes()), Ok(want), "{file:?}");
    }
}

#[test]
fn what_is_kept_is_within_the_limits_whatever_is_written() {
    let mut random = Random(11);
    let (mut kept, mut refused) = (0, 0);
    for _ in 0..50_000 {
        let file = text(&mut random, &PIECES, 40);
        match parse(file.as_bytes()) {
            Ok(outputs) => {
                kept += outputs.len();
                assert!(check_limits(&outputs).is_ok(), "{file:?}");
                assert!(outputs.keys().all(|name| check_name(name, 1).is_ok()), "{file:?}");
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().len() < 400, "{error}");
            }
        }
    }
    assert!(kept > 1_000 && refused > 1_000, "{kept} {refused}");
}
