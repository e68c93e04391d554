//! Scripts that nobody would write, in bash: no value that is let in becomes code.

use crate::random::Random;
use crate::script::{PREFIX, run, with_expression};
use kruntimes_expressions::{Interpreter, Script, Template};

/// What a script is made of, most of it where it does not belong.
const PIECES: [&str; 52] = [
    "@",
    "@",
    "@",
    "@",
    "\"@\"",
    "'",
    "\"",
    "\\",
    "$",
    "`",
    "(",
    ")",
    "((",
    "))",
    "$(",
    "$((",
    "${",
    "}",
    "${x:-",
    "{ ",
    "[",
    "]",
    "[[ ",
    " ]]",
    " -eq ",
    " == ",
    "=",
    "x=",
    "a[",
    "]=1",
    "\n",
    ";",
    " ",
    " ",
    " && ",
    "|",
    "#",
    " # ",
    "echo ",
    "eval ",
    "let ",
    "declare ",
    "-i ",
    "export ",
    "case a in ",
    " a) ",
    ";; esac",
    "<<A\n",
    "<<'A'\n",
    "\nA\n",
    "<<< ",
    "$'",
];

const SEEDS: std::ops::Range<u64> = 1..2_000;

/// Scripts of any pieces: those that are not refused never make code of a value.
#[test]
fn what_is_not_refused_is_safe_in_bash() {
    let mut run_in_bash = 0;
    for seed in SEEDS {
        let mut random = Random(seed);
        let count = random.below(12) + 2;
        let text: String = (0..count).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let Ok(template) = Template::parse(&with_expression(&text)) else { continue };
        let Ok(script) = template.to_script(Interpreter::Bash, PREFIX) else { continue };
        if script.variables.is_empty() {
            continue;
        }
        run_in_bash += 1;
        for value in ["a[$(touch pwned)]", "x; touch pwned"] {
            let (_, files) = run(&script, value);
            let is_pwned = files.iter().any(|file| file.starts_with("pwned"));
            assert!(!is_pwned, "seed {seed}: {text} with {value}");
        }
    }
    assert!(run_in_bash > 50, "{run_in_bash}");
}

/// A script that hashes the files that it makes first, for each of these patterns; the first line of the answer is the hash.
fn hashed(patterns: &str) -> (String, Vec<String>) {
    let make = "mkdir -p a/.b && printf one >a/x.lock && printf two >a/.b/y.lock && ln -s x.lock a/link.lock && : >'$(touch pwned)'";
    let text = "echo \"${{ hashFiles('any') }}\"; echo \"$LINENO\"";
    let script = Template::parse(text).unwrap().to_script(Interpreter::Bash, PREFIX).unwrap();
    assert!(script.variables[0].1.is_hash_of_files());
    let text = format!("{make} && {}", script.text);
    run(&Script { text, ..script }, patterns)
}

#[test]
fn a_hash_of_files_is_made_where_they_are() {
    // As `printf one | sha256sum`, behind the 32 bytes of `two`, hashed again.
    let both = "0c7c01f86ff8722e93c1b9e7437ec11de17d63304f8bb22eec9e50b077f4754c\n1\n";
    assert_eq!(hashed("**/*.lock").0, both);
    assert_eq!(hashed("a/.b/*\na/x.lock").0, both);
    assert_ne!(hashed("a/x.lock\na/.b/*").0, both, "the order counts");
    assert_eq!(hashed("none\n**/*.none").0, "\n1\n");
    for hostile in ["$(touch pwned)", "`touch pwned`", "*; touch pwned", "**", "-n"] {
        let (out, files) = hashed(hostile);
        assert!(!files.contains(&"pwned".to_owned()), "{hostile}: {out}");
    }
}
