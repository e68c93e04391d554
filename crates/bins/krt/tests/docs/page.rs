//! The fenced blocks of a Markdown page as steps.
//!
//! | label | meaning |
//! |---|---|
//! | `sh` | commands, run in order in one bash; `exit=N` expects that code, `kubectl` needs kubectl, `no-home` runs them where no home is, `ci` is a stage of `cargo xtask ci`, `cluster` needs a cluster: `cargo xtask e2e test`, `kits` needs PyPI, npm and a checkout: `cargo xtask e2e kits` |
//! | `text` | what the `sh` block before it prints; `…` stands for anything in a line, alone for any lines |
//! | `yaml file=NAME`, `bash file=NAME` | a file that later blocks read |

/// What one block asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// File and line, for people.
    pub(crate) place: String,
    pub(crate) action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Write { name: String, text: String },
    Run(Commands),
}

/// Commands and what they must give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Commands {
    pub(crate) text: String,
    pub(crate) exit: i32,
    pub(crate) kubectl: bool,
    /// Run where there is no home.
    pub(crate) no_home: bool,
    /// A stage of `cargo xtask ci` instead of a command for this test.
    pub(crate) ci: bool,
    /// Needs a cluster, and what a cluster's admin has: helm, kubectl and the charts.
    pub(crate) cluster: bool,
    /// Needs package registries and a checkout: `cargo xtask e2e kits` runs it.
    pub(crate) kits: bool,
    /// What is printed, stdout and stderr together.
    pub(crate) output: Option<String>,
}

const LABELS: &str = "label it `sh` with `exit=N`, `kubectl`, `no-home`, `ci`, `cluster` or `kits` where they apply, `text`, `yaml file=NAME`, `bash file=NAME` or `python file=NAME`";

/// The steps of a page, in order.
pub(crate) fn parse(name: &str, page: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(label) = line.trim_start().strip_prefix("```") else { continue };
        let place = format!("{name}:{}", at + 1);
        let mut text = String::new();
        loop {
            let (_, line) = lines.next().ok_or_else(|| format!("{place}: the block has no end"))?;
            if line.trim() == "```" {
                break;
            }
            text.push_str(line);
            text.push('\n');
        }
        block(&place, label.trim(), text, &mut steps)?;
    }
    Ok(steps)
}

fn block(place: &str, label: &str, text: String, steps: &mut Vec<Step>) -> Result<(), String> {
    let mut words = label.split_whitespace();
    let kind = words.next();
    let rest: Vec<&str> = words.collect();
    let action = match (kind, rest.as_slice()) {
        (Some("sh"), options) => Action::Run(commands(place, options, text)?),
        (Some("text"), []) => {
            return match steps.last_mut().map(|step| &mut step.action) {
                Some(Action::Run(commands)) if commands.output.is_none() => {
                    commands.output = Some(text);
                    Ok(())
                }
                Some(Action::Run(_) | Action::Write { .. }) | None => {
                    Err(format!("{place}: a text block is the output of the sh block before it"))
                }
            };
        }
        (Some("yaml" | "bash" | "python"), [file]) if file.starts_with("file=") => {
            Action::Write { name: file["file=".len()..].to_owned(), text }
        }
        _ => return Err(format!("{place}: the block's label is `{label}`: {LABELS}")),
    };
    steps.push(Step { place: place.to_owned(), action });
    Ok(())
}

fn commands(place: &str, options: &[&str], text: String) -> Result<Commands, String> {
    let mut commands = Commands { text, ..Commands::default() };
    for option in options {
        match (*option, option.strip_prefix("exit=").map(str::parse)) {
            ("kubectl", _) => commands.kubectl = true,
            ("no-home", _) => commands.no_home = true,
            ("ci", _) => commands.ci = true,
            ("cluster", _) => commands.cluster = true,
            ("kits", _) => commands.kits = true,
            (_, Some(Ok(code))) => commands.exit = code,
            _ => return Err(format!("{place}: `{option}` is no option of sh: {LABELS}")),
        }
    }
    let calls = |line: &str| line.split_whitespace().any(|word| word.ends_with("kubectl"));
    let elsewhere = commands.cluster || commands.kits;
    if !commands.kubectl && !elsewhere && commands.text.lines().any(calls) {
        return Err(format!("{place}: the block calls kubectl: label it `sh kubectl`"));
    }
    Ok(commands)
}

#[test]
fn blocks_become_steps() {
    let page =
        "a\n```sh exit=7\nfalse\n```\nprints\n```text\nx\n```\n```bash file=a.sh\necho\n```\n";
    let steps = parse("p.md", page).unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].place, "p.md:2");
    let expected = Commands {
        text: "false\n".to_owned(),
        exit: 7,
        output: Some("x\n".to_owned()),
        ..Commands::default()
    };
    assert_eq!(steps[0].action, Action::Run(expected));
    assert!(matches!(&steps[1].action, Action::Write { name, .. } if name == "a.sh"));
    let steps = parse("p.md", "```sh cluster\nkubectl get runs\n```\n").unwrap();
    assert!(matches!(&steps[0].action, Action::Run(commands) if commands.cluster));
}

#[test]
fn a_block_that_nothing_would_check_is_refused() {
    for page in [
        "```\nls\n```\n",
        "```console\n$ ls\n```\n",
        "```shell\nls\n```\n",
        "```yaml\na: b\n```\n",
        "```text\nx\n```\n",
        "```sh\nls\n```\n```text\nx\n```\n```text\ny\n```\n",
        "```sh skip\nls\n```\n",
        "```sh exit=x\nls\n```\n",
        "```sh\nkubectl get runs\n```\n",
        "```sh\nls\n",
    ] {
        assert!(parse("p.md", page).is_err(), "{page}");
    }
}
