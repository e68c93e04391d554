//! A wrong command line, said in one line: what is wrong, what was meant, and where the help is.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command};
use std::ffi::OsString;

/// The line for an error of the parser; `None` for what is no error but asks for help or the version.
pub(crate) fn line(error: &Error, root: &Command, args: &[OsString]) -> Option<String> {
    let command = command_of(root, args);
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let lacks_command =
        [ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, ErrorKind::MissingSubcommand];
    if lacks_command.contains(&error.kind()) {
        let commands = find(root, &command).map(subcommands).unwrap_or_default();
        let is_root = command == root.get_name();
        return (!is_root).then(|| format!("{command} needs a command: {}", commands.join(", ")));
    }
    let what = if is_for_run(error, &command) {
        let first = texts(error, ContextKind::InvalidArg).join(" ");
        format!("a command stands behind two dashes: krt run -- {first}")
    } else {
        what(error)
    };
    let suggestion = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
        ContextKind::SuggestedCommand,
    ]
    .into_iter()
    .find_map(|kind| texts(error, kind).into_iter().next());
    let says_enough = error.kind() == ErrorKind::ValueValidation || is_for_run(error, &command);
    Some(match suggestion {
        None if says_enough => what,
        Some(suggestion) => format!("{what}: did you mean {suggestion}?"),
        None => format!("{what}: see {command} --help"),
    })
}

/// The commonest mistake: `krt run ls`.
fn is_for_run(error: &Error, command: &str) -> bool {
    let arg = texts(error, ContextKind::InvalidArg).join(" ");
    error.kind() == ErrorKind::UnknownArgument && !arg.starts_with('-') && command == "krt run"
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the rest is said by the parser, in a line as well"
)]
fn what(error: &Error) -> String {
    let arg = || flags(&texts(error, ContextKind::InvalidArg));
    let value = || texts(error, ContextKind::InvalidValue).join(" ");
    match error.kind() {
        ErrorKind::UnknownArgument if arg().starts_with('-') => {
            format!("there is no flag {}", arg())
        }
        ErrorKind::UnknownArgument => format!("{:?} is one argument too many", arg()),
        ErrorKind::InvalidSubcommand => {
            format!(
                "there is no command {}",
                texts(error, ContextKind::InvalidSubcommand).join(" ")
            )
        }
        ErrorKind::InvalidValue => {
            let allowed = texts(error, ContextKind::ValidValue).join(", ");
            match (value().as_str(), allowed.as_str()) {
                ("", "") => format!("{} needs a value", arg()),
                ("", allowed) => format!("{} needs a value, one of {allowed}", arg()),
                (value, allowed) => format!("{} can't be {value:?}, but one of {allowed}", arg()),
            }
        }
        ErrorKind::ValueValidation => match std::error::Error::source(error) {
            Some(why) => format!("{} can't be {:?}: {why}", arg(), value()),
            None => format!("{} can't be {:?}", arg(), value()),
        },
        ErrorKind::ArgumentConflict => {
            let prior = flags(&texts(error, ContextKind::PriorArg));
            if prior.is_empty() || prior == arg() {
                format!("{} may be given once", arg())
            } else {
                format!("{} and {prior} exclude each other", arg())
            }
        }
        ErrorKind::MissingRequiredArgument => format!("{} is missing", arg()),
        ErrorKind::InvalidUtf8 => "the command line is not UTF-8 text".to_owned(),
        ErrorKind::NoEquals => format!("{} needs its value after an equals sign", arg()),
        ErrorKind::TooManyValues => format!("{} takes no value {:?}", arg(), value()),
        ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("{} has the wrong number of values", arg())
        }
        _ => first_line(error),
    }
}

fn first_line(error: &Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Flags without the names of their values: `--output <OUTPUT>` is `--output`.
fn flags(texts: &[String]) -> String {
    let flag = |text: &String| match text.split_once(" <") {
        Some((flag, _)) if flag.starts_with('-') => flag.to_owned(),
        Some(_) | None => text.clone(),
    };
    texts.iter().map(flag).collect::<Vec<_>>().join(", ")
}

fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    let plain = |styled: &StyledStr| styled.to_string();
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::StyledStr(text)) => vec![plain(text)],
        Some(ContextValue::StyledStrs(list)) => list.iter().map(plain).collect(),
        Some(ContextValue::Number(number)) => vec![number.to_string()],
        Some(_) | None => Vec::new(),
    }
}

/// The command that the arguments name, like `krt runtime list`, as far as they do.
fn command_of(root: &Command, args: &[OsString]) -> String {
    let mut name = root.get_name().to_owned();
    let mut current = root;
    let mut words = args.iter().skip(1).map(|arg| arg.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        if word.starts_with('-') {
            if takes_next(root, current, &word) {
                words.next();
            }
        } else if let Some(found) = current.find_subcommand(word.as_ref()) {
            name = format!("{name} {}", found.get_name());
            current = found;
        } else {
            break;
        }
    }
    name
}

/// Whether the value of a flag is the next word.
fn takes_next(root: &Command, current: &Command, word: &str) -> bool {
    let is = |arg: &&Arg| {
        let long = arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        let short = arg.get_short().is_some_and(|short| word == format!("-{short}"));
        long || short
    };
    let found = root.get_arguments().find(is).or_else(|| current.get_arguments().find(is));
    found.is_some_and(|arg| arg.get_action().takes_values())
}

fn find<'a>(root: &'a Command, name: &str) -> Option<&'a Command> {
    let mut words = name.split(' ').skip(1);
    words.try_fold(root, |command, word| command.find_subcommand(word))
}

fn subcommands(command: &Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| command.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::{CommandFactory, Parser};

    fn said(words: &[&str]) -> Option<String> {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        let error = Cli::try_parse_from(&args).unwrap_err();
        line(&error, &Cli::command(), &args)
    }

    #[test]
    fn help_is_no_error() {
        for words in
            [&["krt", "--help"][..], &["krt", "run", "-h"], &["krt", "--version"], &["krt"]]
        {
            assert_eq!(said(words), None, "{words:?}");
        }
    }

    #[test]
    fn the_command_is_found_behind_flags_with_values() {
        assert_eq!(
            said(&["krt", "-n", "list", "get"]).unwrap(),
            "<NAME> is missing: see krt get --help"
        );
        assert_eq!(
            said(&["krt", "runtime", "get", "a", "b"]).unwrap(),
            "\"b\" is one argument too many: see krt runtime get --help"
        );
    }

    #[test]
    fn a_group_names_its_commands() {
        assert_eq!(
            said(&["krt", "runtime"]).unwrap(),
            "krt runtime needs a command: list, get, conformance"
        );
    }
}
