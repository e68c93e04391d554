//! A step's script: its expressions become variables, so that no value can become a command.

use crate::plan::{Invalid, no_functions_of_conditions};
use kruntimes_api::Step;
use kruntimes_expressions::{Interpreter, Script, Template};

/// What the variables' names begin with.
pub(crate) const PREFIX: &str = "KRUNTIMES_EXPR_";

/// Words in names of Runtimes that execute no shell, whatever number is behind them. What is missing here is safe all the
/// same: a variable of bash is an error in any other language, never a value.
const NO_SHELLS: [&str; 3] = ["python", "node", "nodejs"];

/// Reads the text of `run`.
pub(crate) fn of(path: &str, runs_on: &str, step: &Step, wrong: &mut Vec<Invalid>) -> Script {
    let text = step.run.as_deref().unwrap_or_default();
    let interpreter =
        if is_shell(runs_on) { Interpreter::Bash } else { Interpreter::Other(runs_on) };
    let read = Template::parse(text).and_then(|template| template.to_script(interpreter, PREFIX));
    match read {
        Ok(script) => {
            for (_, expression) in &script.variables {
                no_functions_of_conditions(path, expression, wrong);
            }
            script
        }
        Err(error) => {
            wrong.push(Invalid::new(path, error));
            Script { text: String::new(), variables: Vec::new() }
        }
    }
}

fn is_shell(runs_on: &str) -> bool {
    let words = runs_on.split(['-', '.', '_']);
    let mut words = words.map(|word| word.trim_end_matches(|letter: char| letter.is_ascii_digit()));
    !words.any(|word| NO_SHELLS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::is_shell;

    #[test]
    fn a_runtime_is_known_by_the_words_of_its_name() {
        for name in ["python", "python3", "python-3.12", "my-node20", "nodejs"] {
            assert!(!is_shell(name), "{name}");
        }
        for name in ["bash", "nodepool-bash", "monty-pythons", "a-1"] {
            assert!(is_shell(name), "{name}");
        }
    }
}
