//! The files of `examples/`: each says in its first comment what to type and what that prints.
//!
//! `# $ COMMAND`, then its output as comment lines up to an empty one; `# (exit code N)` ends an output where N is
//! not 0. KUBECONFIG is set. Wildcards are those of the pages. A command with `--dry-run` checks the example without running it.

use crate::page::{Action, Commands, Step};
use crate::user::Reader;
use crate::{none, root, session, with_kubectl};

/// The longest example, in lines.
const MAX_LINES: usize = 25;
/// Examples that are only checked: they need the internet.
const DRY_RUN: [&str; 1] = ["git.yaml"];
/// The folder of Runtime Servers: `cargo xtask e2e kits` starts them.
const SERVERS: &str = "custom";

/// The steps of one example.
fn steps(name: &str, text: &str) -> Result<Vec<Step>, String> {
    let lines = text.lines().count();
    if lines > MAX_LINES {
        return Err(format!("{name} has {lines} lines, the limit is {MAX_LINES}"));
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut current: Option<Commands> = None;
    let mut finish = |commands: Option<Commands>, at: usize| {
        if let Some(commands) = commands {
            steps.push(Step { place: format!("{name}:{at}"), action: Action::Run(commands) });
        }
    };
    let comment = text.lines().enumerate().take_while(|(_, line)| line.starts_with('#'));
    for (at, line) in comment.chain([(lines, "#")]) {
        let line = line.strip_prefix('#').unwrap_or_default();
        let line = line.strip_prefix(' ').unwrap_or(line);
        if line.is_empty() {
            finish(current.take(), at);
        } else if let Some(command) = line.strip_prefix("$ ") {
            finish(current.take(), at);
            current = Some(Commands {
                text: format!("{command}\n"),
                kubectl: command.contains("kubectl"),
                output: Some(String::new()),
                ..Commands::default()
            });
        } else if let Some(commands) = &mut current {
            match line.strip_prefix("(exit code ").and_then(|rest| rest.strip_suffix(')')) {
                Some(code) => {
                    commands.exit = code.parse().map_err(|_| format!("{name}: {line}"))?;
                }
                None => {
                    let output = commands.output.get_or_insert_default();
                    output.push_str(line);
                    output.push('\n');
                }
            }
        }
    }
    let own =
        |step: &Step| matches!(&step.action, Action::Run(commands) if commands.text.contains(name));
    if !steps.iter().any(own) {
        return Err(format!("{name} has no `# $ COMMAND` with its name in its first comment"));
    }
    Ok(steps)
}

fn needs_kubectl(step: &Step) -> bool {
    matches!(&step.action, Action::Run(commands) if commands.kubectl)
}

fn is_dry(step: &Step) -> bool {
    matches!(&step.action, Action::Run(commands) if commands.text.contains("--dry-run"))
}

#[test]
fn every_example_prints_what_it_says() {
    let reader = Reader::with_kubeconfig();
    let mut names: Vec<String> = std::fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| name != SERVERS);
    names.sort();
    let (mut findings, mut ran, mut dry) = (Vec::new(), 0, Vec::new());
    for name in &names {
        let path = format!("examples/{name}");
        let text = std::fs::read_to_string(root().join(&path)).unwrap();
        match steps(&path, &text) {
            Ok(steps) => {
                if steps.iter().any(is_dry) {
                    dry.push(name.as_str());
                }
                if with_kubectl() || !steps.iter().any(needs_kubectl) {
                    ran += 1;
                    findings.extend(session::run(&reader, &steps));
                }
            }
            Err(error) => findings.push(error),
        }
    }
    none(&findings);
    assert!(ran >= 10, "only {ran} examples ran");
    assert_eq!(ran == names.len(), with_kubectl(), "{ran} of {} examples ran", names.len());
    assert_eq!(dry, DRY_RUN, "an example that does not run must be listed");
}

#[test]
fn an_example_without_a_command_or_too_long_is_refused() {
    assert!(
        steps("examples/a.yaml", "# $ krt run -f examples/a.yaml\n# hi\n#\nkind: Run\n").is_ok()
    );
    for (text, why) in [
        ("# Nothing to type.\nkind: Run\n".to_owned(), "no `# $ COMMAND`"),
        ("# $ krt run -f examples/b.yaml\n".to_owned(), "no `# $ COMMAND`"),
        (format!("# $ krt run -f examples/a.yaml\n{}", "x\n".repeat(25)), "26 lines"),
    ] {
        let error = steps("examples/a.yaml", &text).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
