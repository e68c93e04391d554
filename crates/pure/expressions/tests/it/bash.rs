//! Scripts that nobody would write, in bash: no value that is let in becomes code.

use crate::random::Random;
use crate::script::{PREFIX, run, with_expression};
use kruntimes_expressions::{Interpreter, Template};

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
