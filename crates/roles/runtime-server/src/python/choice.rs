//! What a Run of Python executes, and whether a process of the warm interpreter can do it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What to execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// A process of the warm interpreter: what it does, and its arguments.
    Warm(Kind, Vec<String>),
    /// A new interpreter with these arguments.
    New(Vec<String>),
}

/// What a warm process does with its first argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Executes it as a file.
    File,
    /// Executes it as source.
    Code,
    /// Executes it as a module.
    Module,
    /// Calls it as a function.
    Handler,
}

/// Beginnings of variables that an interpreter reads at its start only.
const EARLY: [&str; 6] = ["PYTHON", "LD_", "LC_", "LANG", "GLIBC_", "MALLOC_"];
/// Signs that no name of a file has, as a rule.
const OF_CODE: [char; 5] = ['(', '=', ';', '\n', ' '];

/// Bytes of the record at the end of a ZIP archive.
const ARCHIVE_END_BYTES: i64 = 22;

impl Kind {
    /// The word for it that `program.py` knows.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Code => "code",
            Self::Module => "module",
            Self::Handler => "handler",
        }
    }
}

/// What a choice depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) handler: &'a str,
    pub(crate) script: Option<&'a Path>,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a BTreeMap<String, String>,
    /// The environment of the warm interpreter.
    pub(crate) warm_env: &'a BTreeMap<String, String>,
    pub(crate) working_dir: &'a Path,
}

/// Chooses by the public rules: a handler, else an existing script with the arguments, else the arguments of `python3`;
/// a single one that is plainly source, and no file of the working directory, is executed as such.
pub(crate) fn choose(request: Request<'_>) -> Option<Choice> {
    let Request { handler, script, args, .. } = request;
    let chosen = if !handler.is_empty() {
        Choice::Warm(Kind::Handler, with(handler, args))
    } else if let Some(script) = script {
        of_file(script, with(&script.to_string_lossy(), args))
    } else {
        of_arguments(args, request.working_dir)?
    };
    Some(match chosen {
        Choice::Warm(kind, args) if early(request.env).ne(early(request.warm_env)) => {
            Choice::New(of_new(kind, args))
        }
        Choice::Warm(..) | Choice::New(_) => chosen,
    })
}

fn of_arguments(args: &[String], working_dir: &Path) -> Option<Choice> {
    let [first, rest @ ..] = args else { return None };
    Some(match (first.as_str(), rest) {
        ("-c", [_, ..]) => Choice::Warm(Kind::Code, rest.to_vec()),
        ("-m", [_, ..]) => Choice::Warm(Kind::Module, rest.to_vec()),
        (option, _) if option.is_empty() || option.starts_with('-') => Choice::New(args.to_vec()),
        (code, []) if code.contains(OF_CODE) && !working_dir.join(code).exists() => {
            Choice::Warm(Kind::Code, args.to_vec())
        }
        (file, _) => of_file(&working_dir.join(file), args.to_vec()),
    })
}

/// Archives, directories with a `__main__` and what is not there are left to a new interpreter.
fn of_file(file: &Path, args: Vec<String>) -> Choice {
    let compiled = file.extension().is_some_and(|ending| ending == "pyc");
    if file.is_file() && !compiled && !is_archive(file) {
        Choice::Warm(Kind::File, args)
    } else {
        Choice::New(args)
    }
}

fn is_archive(file: &Path) -> bool {
    let end = || {
        let mut file = File::open(file)?;
        file.seek(SeekFrom::End(-ARCHIVE_END_BYTES))?;
        let mut magic = [0; 4];
        file.read_exact(&mut magic).map(|()| magic)
    };
    end().is_ok_and(|magic| magic == *b"PK\x05\x06")
}

fn with(first: &str, args: &[String]) -> Vec<String> {
    [first.to_owned()].into_iter().chain(args.iter().cloned()).collect()
}

/// What a warm process would heed too late.
fn early(env: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    env.iter().filter(|(name, _)| EARLY.iter().any(|start| name.starts_with(start)))
}

fn of_new(kind: Kind, mut args: Vec<String>) -> Vec<String> {
    match kind {
        Kind::File => {}
        Kind::Code => args.insert(0, "-c".to_owned()),
        Kind::Module => args.insert(0, "-m".to_owned()),
        Kind::Handler => drop(args.splice(0..0, ["-c".to_owned(), super::program::handler()])),
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn chosen(handler: &str, script: Option<&Path>, args: &[&str]) -> Option<Choice> {
        let env = env(&[("LANG", "C.UTF-8"), ("A", "1")]);
        let warm_env = self::env(&[("LANG", "C.UTF-8")]);
        let (args, working_dir) = (strings(args), Path::new("/usr"));
        choose(Request {
            handler,
            script,
            args: &args,
            env: &env,
            warm_env: &warm_env,
            working_dir,
        })
    }

    fn warm(kind: Kind, args: &[&str]) -> Option<Choice> {
        Some(Choice::Warm(kind, strings(args)))
    }

    fn new(args: &[&str]) -> Option<Choice> {
        Some(Choice::New(strings(args)))
    }

    #[test]
    fn what_is_executed_follows_the_public_rules() {
        let script = Path::new("/etc/passwd");
        let cases = [
            ("m.f", Some(script), &["a"][..], warm(Kind::Handler, &["m.f", "a"])),
            ("", Some(script), &["-c", "b"], warm(Kind::File, &["/etc/passwd", "-c", "b"])),
            ("", Some(Path::new("/usr/x.pyc")), &[], new(&["/usr/x.pyc"])),
            ("", None, &[], None),
            ("", None, &["-c", "1", "a"], warm(Kind::Code, &["1", "a"])),
            ("", None, &["-m", "json.tool"], warm(Kind::Module, &["json.tool"])),
            ("", None, &["-c"], new(&["-c"])),
            ("", None, &["-O", "x.py"], new(&["-O", "x.py"])),
            ("", None, &["-"], new(&["-"])),
            ("", None, &["print(1)"], warm(Kind::Code, &["print(1)"])),
            ("", None, &["print(1)", "x"], new(&["print(1)", "x"])),
            ("", None, &["missing.py"], new(&["missing.py"])),
            ("", None, &["../etc/passwd", "x"], warm(Kind::File, &["../etc/passwd", "x"])),
            ("", None, &["bin"], new(&["bin"])),
        ];
        for (handler, script, args, expected) in cases {
            assert_eq!(chosen(handler, script, args), expected, "{handler} {script:?} {args:?}");
        }
    }

    #[test]
    fn what_only_a_start_can_heed_gets_a_new_interpreter() {
        let warm_env = env(&[("LANG", "C.UTF-8"), ("PYTHONPATH", "/opt")]);
        let choose = |handler: &str, args: &[&str], own: &[(&str, &str)]| {
            let mut all = warm_env.clone();
            all.extend(env(own));
            let args = strings(args);
            let working_dir = Path::new("/usr");
            choose(Request {
                handler,
                script: None,
                args: &args,
                env: &all,
                warm_env: &warm_env,
                working_dir,
            })
        };
        for own in [("A", "1"), ("LANG", "C.UTF-8"), ("PYTHONPATH", "/opt"), ("TZ", "UTC")] {
            assert_eq!(choose("", &["-c", "1"], &[own]), warm(Kind::Code, &["1"]), "{own:?}");
        }
        for own in [("LANG", "C"), ("LC_ALL", "C"), ("PYTHONPATH", "/o"), ("LD_PRELOAD", "x.so")] {
            assert_eq!(choose("", &["-c", "1"], &[own]), new(&["-c", "1"]), "{own:?}");
            assert_eq!(choose("", &["-m", "m"], &[own]), new(&["-m", "m"]), "{own:?}");
        }
        let Some(Choice::New(args)) = choose("m.f", &["a"], &[("PYTHONHASHSEED", "0")]) else {
            panic!("a new interpreter calls the handler")
        };
        assert_eq!((args[0].as_str(), &args[2..]), ("-c", &strings(&["m.f", "a"])[..]));
    }
}
