//! A step's script: its expressions become variables, so that no value can become a command.

use crate::plan::{Invalid, no_functions_of_conditions};
use kruntimes_api::Step;
use kruntimes_expressions::{Interpreter, Script, Template};

/// What the variables' names begin with.
const PREFIX: &str = "KRUNTIMES_EXPR_";

/// Parts of names of Runtimes that execute no shell. What is missing here is safe all the same: a variable of bash is
/// an error in any other language, never a value.
const NO_SHELLS: [&str; 2] = ["python", "node"];

/// Reads the text of `run`.
pub(crate) fn of(path: &str, runs_on: &str, step: &Step, wrong: &mut Vec<Invalid>) -> Script {
    let text = step.run.as_deref().unwrap_or_default();
    let is_shell = !NO_SHELLS.iter().any(|name| runs_on.contains(name));
    let interpreter = if is_shell { Interpreter::Bash } else { Interpreter::Other(runs_on) };
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
