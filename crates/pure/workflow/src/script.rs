//! A step's script: its expressions become variables, so that no value can become a command.

use crate::plan::{Invalid, no_functions_of_conditions};
use kruntimes_api::{Step, Workspace};
use kruntimes_expressions::{Interpreter, Script, Template};

/// What the variables' names begin with.
pub(crate) const PREFIX: &str = "KRUNTIMES_EXPR_";

/// Reads the text of `run`.
pub(crate) fn of(
    path: &str,
    (runs_on, workspace): (&str, Workspace),
    step: &Step,
    wrong: &mut Vec<Invalid>,
) -> Script {
    let text = step.run.as_deref().unwrap_or_default();
    let read = Template::parse(text)
        .and_then(|template| template.to_script(Interpreter::of(runs_on), PREFIX));
    match read {
        Ok(script) => {
            let has_files = workspace == Workspace::Shared;
            for (_, expression) in &script.variables {
                if !(has_files && expression.is_hash_of_files()) {
                    no_functions_of_conditions(path, expression, wrong);
                }
            }
            script
        }
        Err(error) => {
            wrong.push(Invalid::new(path, error));
            Script { text: String::new(), variables: Vec::new() }
        }
    }
}
