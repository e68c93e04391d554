//! Scripts: where a value may stand, and what bash makes of a value that wants to be code.

use kruntimes_expressions::{Interpreter, Place, Problem, Script, Template};
use std::process::{Command, Stdio};

pub(crate) const PREFIX: &str = "KRUNTIMES_EXPR_";

pub(crate) fn script(text: &str) -> Result<Script, Problem> {
    let template = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    template.to_script(Interpreter::Bash, PREFIX).map_err(|error| error.problem)
}

/// `@` stands for an expression.
pub(crate) fn with_expression(text: &str) -> String {
    text.replace('@', "${{ steps.a.outputs.x }}")
}

/// What bash prints of a script whose variables all have the value, in an empty directory.
pub(crate) fn run(script: &Script, value: &str) -> (String, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let variables = script.variables.iter().map(|(name, _)| (name, value));
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", &script.text])
        .stdin(Stdio::null())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(variables)
        .current_dir(directory.path())
        .output()
        .unwrap();
    let entries = std::fs::read_dir(directory.path()).unwrap();
    let files = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    (String::from_utf8_lossy(&output.stdout).into_owned(), files)
}

/// Each makes a file named `pwned` where it is taken for code.
const HOSTILE: [&str; 12] = [
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "x\ntouch pwned\n",
    "'; touch pwned; '",
    "\"; touch pwned; \"",
    "a[$(touch pwned)]",
    "${x:=$(touch pwned)}",
    "EOF\ntouch pwned\n",
    ")) ; touch pwned ; ((",
    "x=$(touch pwned)",
    "&& touch pwned #",
];

/// Where a value may stand, and what is printed of it; `@` in the second is the value.
const ALLOWED: [(&str, Option<&str>); 64] = [
    ("printf %s \"@\"", Some("@")),
    ("printf %s \"a @ b\"", Some("a @ b")),
    ("printf '%s' \"it's @\"", Some("it's @")),
    ("printf %s @", None),
    ("printf %s pre@post", None),
    ("x=@; printf %s \"$x\"", Some("@")),
    ("x=\"@\"; printf %s \"${x}\"", Some("@")),
    ("export X=@\nprintf %s \"$X\"", Some("@")),
    ("export X=\"@\" Y=\"b\"; printf %s \"$X$Y\"", Some("@b")),
    ("export \"X=@\"; printf %s \"$X\"", Some("@")),
    ("f() { local x=@; printf %s \"$x\"; }; f", Some("@")),
    ("readonly x+=@; printf %s \"$x\"", Some("@")),
    ("declare -r x=\"@\"; printf %s \"$x\"", Some("@")),
    ("A=\"@\" printenv A", Some("@\n")),
    ("a=(\"@\" b); printf %s \"${a[0]}\"", Some("@")),
    ("# it's a comment @\nprintf %s \"@\"", Some("@")),
    ("printf %s \"@\" # isn't @ this", Some("@")),
    ("printf '%s#%s' \"a#\" \"@\" # 'x", Some("a##@")),
    ("printf %s \"$(printf %s \"@\")\" | cat", None),
    ("printf %s \"$(printf %s \"(\" \"@\")\"", None),
    ("x=$(case a in b) echo ;; (a) printf %s \"@\";; esac); printf %s. \"$x\"", None),
    ("case \"@\" in x) echo x;; *) printf %s \"@\";; esac", Some("@")),
    ("if [ \"@\" = y ]; then echo yes; else printf %s \"@\"; fi", Some("@")),
    ("if [[ \"@\" == \"y\" && -n \"@\" ]]; then echo yes; else printf %s \"@\"; fi", Some("@")),
    ("if [[ \"@\" =~ ^(a|b)+$ ]]; then echo yes; fi\nprintf %s \"@\"", Some("@")),
    ("if [ \"@\" -gt 3 ]; then echo more; fi; printf %s \"@\"", Some("@")),
    ("[[ 1 -eq 1 ]] && printf %s \"@\"", Some("@")),
    ("(( 1 < 2 )) && printf %s \"@\"", Some("@")),
    ("printf '%s%s' \"$((1 + 2))\" \"@\"", Some("3@")),
    ("printf '%s%s' \"$((1 + (2 * 3)))\" \"@\"", Some("7@")),
    ("x=abc; printf '%s%s' \"${x:1:1}\" \"@\"", Some("b@")),
    ("x=\"it's\"; printf '%s%s' \"${x%'}'}\" \"@\"", Some("it's@")),
    ("printf '%s%s' \"${x:-'}'}\" \"@\"", Some("'}'@")),
    ("( [ \"@\" = x ] || printf %s \"@\" )", Some("@")),
    ("a=(1 [2]=\"@\"); printf %s \"${a[2]}\"", Some("@")),
    ("a[1]=\"@\"; printf %s \"${a[1]}\"", Some("@")),
    ("cat <<A\n@\n", Some("@\n")),
    ("grep -c \"@\" < /dev/null", None),
    ("echo a[@] > /dev/null; printf %s \"@\"", Some("@")),
    ("a[1 + 1]=3; [ 1 = 1 ] && echo a[ > /dev/null; printf '%s' \"@\"", Some("@")),
    ("x=([1 + 1]=5 [ 3 ]=6); printf '%s' \"@\"", Some("@")),
    ("printf '%s' $'a\\'b' \"@\"", Some("a'b@")),
    ("printf '%s' 'a\\' \"@\"", Some("a\\@")),
    ("printf '%s' it\\'s \"@\"", Some("it's@")),
    ("printf '%s' \"\\\"\" \"@\"", Some("\"@")),
    ("printf '%s' \"[@]\"", Some("[@]")),
    ("printf '%s' `echo \"'\"` \"@\"", Some("'@")),
    ("cat <<EOF\n\"it's\" @\nEOF\nprintf %s \"@\"", Some("\"it's\" @\n@")),
    ("cat <<-END | cat\n\t@\n\tEND\nprintf %s \"@\"", Some("@\n@")),
    ("cat <<'A' <<B\n$x'\nA\n@\nB", Some("@\n")),
    ("cat <<A; cat <<'B'; printf %s \"@\"\n@\nA\n$(x) `\nB", Some("@\n$(x) `\n@")),
    ("cat <<\\EOF\n'$x\nEOF\nprintf %s \"@\"", Some("'$x\n@")),
    ("cat <<EOF\n$(printf %s \"@\")\nEOF", None),
    ("cat <<< \"@\"", Some("@\n")),
    ("read -r x <<< \"@\"; printf %s \"@\"", Some("@")),
    ("printf %s \"@\" > out 2>&1; cat out; rm out", Some("@")),
    ("cat < <(printf %s \"@\")", Some("@")),
    ("printf %s \"@\" &> out; cat out; rm out", Some("@")),
    ("bash -c 'printf %s \"$1\"' _ \"@\"", Some("@")),
    ("for x in \"@\" b; do printf %s. \"$x\"; done", Some("@.b.")),
    ("printf %s \"$$@\" | sed 's/^[0-9]*//'", None),
    ("printf '%s' \"\\\\@\"", Some("\\@")),
    ("echo $# $? > /dev/null; printf %s \"@\"", Some("@")),
    ("declare -A m; x=(1 2); unset m x\nprintf %s \"@\"", Some("@")),
];

#[test]
fn a_script_that_is_allowed_reads_a_variable() {
    for (text, _) in ALLOWED {
        let script =
            script(&with_expression(text)).unwrap_or_else(|place| panic!("{text}: {place}"));
        assert_eq!(script.text, text.replace('@', "${KRUNTIMES_EXPR_0}"), "{text}");
        assert_eq!(script.variables.len(), 1, "{text}");
    }
}

#[test]
fn a_value_is_what_it_is_and_never_code() {
    for (text, expected) in ALLOWED {
        let script = script(&with_expression(text)).unwrap();
        for value in HOSTILE.iter().chain(&["plain", "", "two words", "*", "é\\n"]) {
            let (printed, files) = run(&script, value);
            assert_eq!(files, Vec::<String>::new(), "{text} with {value}");
            if let Some(expected) = expected {
                assert_eq!(printed, expected.replace('@', value), "{text} with {value}");
            }
        }
    }
}

fn check_refused(rows: &[(&str, Place)]) {
    for (text, expected) in rows {
        let script = script(&with_expression(text));
        assert_eq!(script, Err(Problem::Script(expected.clone())), "{text}");
    }
}

#[test]
fn where_bash_makes_something_else_of_it_the_script_is_refused() {
    check_refused(&[
        ("echo '@'", Place::SingleQuotes),
        ("echo 'a\nb @ c'", Place::SingleQuotes),
        ("echo a#b '@'", Place::SingleQuotes),
        ("echo \"\"# '@'", Place::SingleQuotes),
        ("cat <<-A\n\tx\n\tA\necho '@'", Place::SingleQuotes),
        ("echo $'\\'@'", Place::SingleQuotes),
        ("echo $'\\@'", Place::SingleQuotes),
        ("echo \"$(echo '@')\"", Place::SingleQuotes),
        ("echo \"$(case a in a) echo '@';; esac)\"", Place::SingleQuotes),
        ("cat <<'EOF'\n@\nEOF", Place::HereDocument),
        ("cat <<-\"E F\"\n\tx\n@\n\tE F", Place::HereDocument),
        ("cat <<E\\OF\n@\nEOF", Place::HereDocument),
        ("cat <<A <<'B'\n@\nA\n@\nB", Place::HereDocument),
        ("cat << @\nx\n@", Place::Delimiter),
        ("cat <<A\n`echo @`\nA", Place::Backticks),
    ]);
}

#[test]
fn arithmetic_subscripts_and_open_ends_get_no_value() {
    check_refused(&[
        ("(( @ > 3 ))", Place::Arithmetic),
        ("echo $(( @ + 1 ))", Place::Arithmetic),
        ("echo \"$(( (1) + @ ))\"", Place::Arithmetic),
        ("echo $[ @ + 1 ]", Place::Arithmetic),
        ("echo $(( $(echo @) ))", Place::Arithmetic),
        ("echo $(( \"@\" ))", Place::Arithmetic),
        ("for ((i = 0; i < @; i++)); do :; done", Place::Arithmetic),
        ("cat <<EOF\n$(( @ ))\nEOF", Place::Arithmetic),
        ("[[ @ -eq 1 ]]", Place::Arithmetic),
        ("[[ 1 -lt \"@\" ]]", Place::Arithmetic),
        ("[[ -n @ && 1 -ge 2 ]]", Place::Arithmetic),
        ("[[ -n @ ||\n 1 -ne 2 ]]", Place::Arithmetic),
        ("[[ @ -gt 1", Place::Arithmetic),
        ("[[ $(echo @) -le 1 ]]", Place::Arithmetic),
        ("a[@]=1", Place::Subscript),
        ("a[\"@\"]=1", Place::Subscript),
        ("a[(@)]=1", Place::Subscript),
        ("a[ b[@] ]=1", Place::Subscript),
        ("a[1]=2 b[$(echo @)]=1", Place::Subscript),
        ("a=(1 [2]=@ [ @ ]=1)", Place::Subscript),
        ("a[1 + @]=1", Place::Subscript),
        ("a=([@]=1)", Place::Subscript),
        ("a=([1 + @]=1)", Place::Subscript),
        ("echo ${x:-@}", Place::Parameter),
        ("echo \"${x[@]}\"", Place::Parameter),
        ("echo ${x:@}", Place::Parameter),
        ("echo \"${x:-\"@\"}\"", Place::Parameter),
        ("echo ${x/\\}/@}", Place::Parameter),
        ("echo ${x/'}'/@}", Place::Parameter),
        ("echo `echo @`", Place::Backticks),
        ("echo \"`echo \\`echo @\\``\"", Place::Backticks),
        ("echo \\@", Place::Taken('\\')),
        ("echo \"\\@\"", Place::Taken('\\')),
        ("cat <<A\n\\@\nA", Place::Taken('\\')),
        ("echo $@", Place::Taken('$')),
        ("echo \"$$$@\"", Place::Taken('$')),
        ("declare -i n=@", Place::Integers),
        ("declare -i n; n=@", Place::Integers),
        ("x=@; local -ri n=x", Place::Integers),
        ("declare -n n=@", Place::Integers),
        ("echo \"@", Place::Unfinished),
        ("echo @ 'x", Place::Unfinished),
        ("echo @ $(x", Place::Unfinished),
        ("echo @ ${x", Place::Unfinished),
        ("echo @ `x", Place::Unfinished),
    ]);
}

#[test]
fn commands_that_run_their_arguments_get_no_value() {
    let evaluated = |name: &str| Place::Evaluated(name.to_owned());
    check_refused(&[
        ("eval \"@\"", evaluated("eval")),
        ("eval \"$(echo @)\"", evaluated("eval")),
        ("if true; then eval x @; fi", evaluated("eval")),
        ("A=1 command eval @", evaluated("eval")),
        ("$nothing eval @", evaluated("eval")),
        ("$(:)eval$nothing @", evaluated("eval")),
        ("$(:) ${nothing} eval @", evaluated("eval")),
        ("let x=@", evaluated("let")),
        ("trap \"echo @\" EXIT", evaluated("trap")),
        ("read @", evaluated("read")),
        ("read x <<< y \"@\"", evaluated("read")),
        ("mapfile -t @", evaluated("mapfile")),
        ("unset @", evaluated("unset")),
        ("printf -v @ x", evaluated("printf")),
        ("test -v @", evaluated("test")),
        ("[ -v @ ]", evaluated("[")),
        ("[[ -v @ ]]", evaluated("[[")),
        ("export @", evaluated("export")),
        ("local x=1 @", evaluated("local")),
        ("declare @=1", evaluated("declare")),
        ("bash -c \"echo @\"", evaluated("the program behind -c")),
        ("sudo /bin/sh -ec \"echo @\"", evaluated("the program behind -ec")),
        ("python3 -c \"print('@')\"", evaluated("the program behind -c")),
        ("perl -ne \"@\"", evaluated("the program behind -ne")),
    ]);
}

#[test]
fn the_text_is_the_same_but_for_the_variables() {
    let text = "a=${{ env.A }}\nb=\"${{ inputs.b }}${{env.A}}\" # ${{ matrix.c }}\n";
    let script = script(text).unwrap();
    let expected = "a=${KRUNTIMES_EXPR_0}\nb=\"${KRUNTIMES_EXPR_1}${KRUNTIMES_EXPR_0}\" # ${KRUNTIMES_EXPR_2}\n";
    assert_eq!(script.text, expected);
    let shown: Vec<String> = script
        .variables
        .iter()
        .map(|(name, expression)| format!("{name}={}", expression.source()))
        .collect();
    let expected =
        ["KRUNTIMES_EXPR_0=env.A", "KRUNTIMES_EXPR_1=inputs.b", "KRUNTIMES_EXPR_2=matrix.c"];
    assert_eq!(shown, expected);
}

#[test]
fn a_script_without_expressions_is_left_alone() {
    for text in ["", "echo 'it is (( open", "print('${{')".replace("${{", "$ {{").as_str()] {
        let template = Template::parse(text).unwrap();
        for interpreter in [Interpreter::Bash, Interpreter::Other("python")] {
            let script = template.to_script(interpreter, PREFIX).unwrap();
            assert_eq!((script.text.as_str(), script.variables.len()), (text, 0));
        }
    }
}

#[test]
fn what_is_refused_says_where_and_what_to_do() {
    let template = Template::parse("import os\nprint(\"${{ env.A }}\")").unwrap();
    let error = template.to_script(Interpreter::Other("python"), PREFIX).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 11: no value can stand here: it can't be put into a script of python safely; or set env: and read the variable"
    );
    for (text, expected) in [
        (
            "echo 'é' '@'",
            "line 1, column 14: no value can stand here: bash leaves the text in single quotes as it is: use double quotes; or set env: and read the variable",
        ),
        (
            "\n\n(( @ ))",
            "line 3, column 7: no value can stand here: arithmetic of bash runs code that a value holds: compare with [ … -gt … ]; or set env: and read the variable",
        ),
        (
            "cat <<'A'\n@\nA",
            "line 2, column 4: no value can stand here: bash leaves this here-document as it is: take the quotes off its delimiter; or set env: and read the variable",
        ),
    ] {
        let template = Template::parse(&with_expression(text)).unwrap();
        let error = template.to_script(Interpreter::Bash, PREFIX).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn a_script_may_be_nested_so_deep() {
    let nested = |count: usize| {
        let text = format!("{}echo @{}", "echo $(".repeat(count), ")".repeat(count));
        script(&with_expression(&text)).map(|script| script.variables.len())
    };
    assert_eq!(nested(99), Ok(1));
    assert_eq!(nested(100), Err(Problem::Script(Place::TooDeep)));
    let bomb = format!("echo ${{{{ env.A }}}} {}", "\"$(".repeat(80_000));
    assert_eq!(script(&bomb), Err(Problem::Script(Place::TooDeep)));
}

#[test]
fn what_a_runtime_executes_is_known_by_the_words_of_its_name() {
    for name in ["python", "python3", "python-3.12", "my-node20", "nodejs"] {
        assert_eq!(Interpreter::of(name), Interpreter::Other(name));
    }
    for name in ["bash", "nodepool-bash", "monty-pythons", "a-1"] {
        assert_eq!(Interpreter::of(name), Interpreter::Bash, "{name}");
    }
}
