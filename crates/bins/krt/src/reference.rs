//! `krt reference`: every command, flag and environment variable as Markdown, from the definitions that parse them.
//!
//! `cargo xtask generate` puts it into `docs/configuration.md`.

use clap::{Arg, ArgAction, Command};

/// The reference of a whole command line.
pub(crate) fn markdown(mut root: Command) -> String {
    root.build();
    let mut text = String::new();
    let (global, own): (Vec<&Arg>, Vec<&Arg>) =
        flags(&root).partition(|argument| argument.is_global_set());
    text.push_str("### Flags of every command\n\n");
    list(&mut text, &global);
    list(&mut text, &own);
    for command in root.get_subcommands() {
        section(&mut text, "krt", command);
    }
    text.trim_end().to_owned() + "\n"
}

/// One command with its own flags, then its subcommands.
fn section(text: &mut String, parent: &str, command: &Command) {
    let name = format!("{parent} {}", command.get_name());
    // The janitor is krt's own business; the other roles are for charts.
    if command.is_hide_set() && command.get_name() != "serve" {
        return;
    }
    if command.has_subcommands() {
        for below in command.get_subcommands() {
            section(text, &name, below);
        }
        return;
    }
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    text.push_str(&format!("\n### `{name}`\n\n{}.\n", about.trim_end_matches('.')));
    let own: Vec<&Arg> = flags(command).filter(|argument| !argument.is_global_set()).collect();
    if !own.is_empty() {
        text.push('\n');
    }
    list(text, &own);
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let own = |argument: &&Arg| {
        !matches!(
            argument.get_action(),
            ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
        )
    };
    // Of what is hidden, people set only what has a variable.
    let shown = |argument: &&Arg| !argument.is_hide_set() || argument.get_env().is_some();
    command.get_arguments().filter(own).filter(shown)
}

fn list(text: &mut String, arguments: &[&Arg]) {
    for argument in arguments {
        item(text, argument);
    }
}

/// `- ` with the flag, then its meaning, values, default and environment variable.
fn item(text: &mut String, argument: &Arg) {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let (help, said) = match help.split_once(" [default: ") {
        Some((help, said)) => (help.to_owned(), Some(said.trim_end_matches(']').to_owned())),
        None => (help, None),
    };
    text.push_str(&format!("- {}: {}.", usage(argument), help.trim_end_matches('.')));
    let values: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|_| takes_value(argument))
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        text.push_str(&format!(" One of {}.", values.join(", ")));
    }
    let defaults = argument.get_default_values().iter();
    let defaults: Vec<String> =
        defaults.map(|value| value.to_string_lossy().into_owned()).collect();
    let default = said.or_else(|| {
        Some(defaults.join(" ")).filter(|default| !default.is_empty() && takes_value(argument))
    });
    if let Some(default) = default {
        text.push_str(&format!(" Default: `{default}`."));
    }
    if let Some(variable) = argument.get_env() {
        text.push_str(&format!(" Environment: `{}`.", variable.to_string_lossy()));
    }
    text.push('\n');
}

/// `` `-f`, `--file FILE` ``, or the name of a positional argument.
fn usage(argument: &Arg) -> String {
    let value = argument.get_value_names().and_then(|names| names.first());
    let value = value.map(ToString::to_string).unwrap_or_default();
    let value = if takes_value(argument) { format!(" {value}") } else { String::new() };
    match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("`-{short}`, `--{long}{value}`"),
        (None, Some(long)) => format!("`--{long}{value}`"),
        (Some(short), None) => format!("`-{short}{value}`"),
        (None, None) if argument.is_last_set() => format!("`--{value}...`"),
        (None, None) => format!("`{}`", value.trim_start()),
    }
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

#[cfg(test)]
mod tests {
    use super::markdown;
    use crate::cli::Cli;
    use clap::CommandFactory;

    #[test]
    fn a_flag_is_told_with_its_values_default_and_variable() {
        let text = markdown(Cli::command());
        for part in [
            "### `krt run`\n\nExecute a command, a script or a Run manifest",
            "- `-r`, `--runtime RUNTIME`: Runtime to execute on. Default: `bash`.\n",
            "- `--no-wait`: Create the Run, print its name and leave.\n",
            "One of `table`, `json`, `yaml`, `name`. Default: `table`.\n",
            "Environment: `KRUNTIMES_LOG`.\n",
            "### `krt serve runtimed`\n",
            "- `-- COMMAND...`: ",
            "- `-n`, `--namespace NAMESPACE`: ",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains("--wait`"), "{text}");
        assert!(!text.contains("janitor") && !text.contains("--help"), "{text}");
        // The user's, the scheduler's and the controller's.
        assert_eq!(text.matches("- `--kubeconfig").count(), 3, "{text}");
    }
}
