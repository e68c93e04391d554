//! Runs the steps of a page in one bash, so that variables and directories last from block to block.

use crate::expected;
use crate::page::{Action, Commands, Step};
use crate::user::Reader;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// No block takes this long, even on a busy machine. A block for a cluster has waits with limits of their own.
const LIMIT: Duration = Duration::from_secs(90);
const CLUSTER_LIMIT: Duration = Duration::from_secs(600);

/// Runs the steps and says what was not as it must be, first of all the first.
pub(crate) fn run(reader: &Reader, steps: &[Step]) -> Vec<String> {
    let mut bash = Bash::start(reader, &script(reader, steps));
    let mut findings = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Action::Run(commands) = &step.action else { continue };
        let shown = commands.text.trim_end();
        let limit = if commands.cluster { CLUSTER_LIMIT } else { LIMIT };
        let Some(code) = bash.next(limit) else {
            findings.push(format!("{}: does not end, or ends the shell:\n{shown}", step.place));
            return findings;
        };
        let output = std::fs::read(out(reader, index)).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        if let Some(wrong) = check(commands, code, &output) {
            findings.push(format!("{}: {wrong}\n  $ {shown}\n{output}", step.place));
        }
        if code != commands.exit {
            // What follows would fail for this reason alone.
            return findings;
        }
    }
    findings
}

fn check(commands: &Commands, code: i32, output: &str) -> Option<String> {
    if code != commands.exit {
        return Some(format!("exit code {code}, not {}", commands.exit));
    }
    let wanted = commands.output.as_ref()?;
    (!expected::matches(wanted, output)).then(|| format!("must print\n{wanted}but prints"))
}

fn out(reader: &Reader, index: usize) -> std::path::PathBuf {
    reader.path(&format!("blocks/{index}.out"))
}

/// One script for all steps; after each block it writes the block's exit code as a line.
fn script(reader: &Reader, steps: &[Step]) -> String {
    // A shell that ends in the middle of a block has its stdout still redirected.
    let mut script = String::from("set -o pipefail\nexec 3>&1\ntrap 'echo $? >&3' EXIT\n");
    for (index, step) in steps.iter().enumerate() {
        match &step.action {
            Action::Write { name, text } => {
                let path = reader.path(&format!("blocks/{index}.file"));
                std::fs::write(&path, text).unwrap();
                writeln!(script, "cp {} {name}", path.display()).unwrap();
            }
            Action::Run(commands) => {
                let path = reader.path(&format!("blocks/{index}.sh"));
                std::fs::write(&path, &commands.text).unwrap();
                // A command in the middle of a block must not fail unseen; a code that is expected is the last one's.
                let errors = if commands.exit == 0 { "set -e" } else { "set +e" };
                let (path, output) = (path.display(), out(reader, index));
                let run = if commands.no_home {
                    format!("(HOME={}; . {path})", reader.path("nothing").display())
                } else {
                    format!("{{ . {path}; }}")
                };
                writeln!(
                    script,
                    "{errors}\n{run} >{} 2>&1 </dev/null\necho $? >&3",
                    output.display()
                )
                .unwrap();
            }
        }
    }
    script
}

struct Bash {
    child: Child,
    codes: Receiver<i32>,
}

impl Bash {
    fn start(reader: &Reader, script: &str) -> Self {
        let path = reader.path("blocks/page.sh");
        std::fs::write(&path, script).unwrap();
        Self::run(reader, &path)
    }

    fn run(reader: &Reader, script: &Path) -> Self {
        let mut child = reader
            .command("bash")
            .arg(script)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, codes) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                drop(line.parse().map(|code| sender.send(code)));
            }
        });
        Self { child, codes }
    }

    fn next(&mut self, limit: Duration) -> Option<i32> {
        self.codes.recv_timeout(limit).ok()
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
            .unwrap_or_default();
        drop(self.child.wait());
    }
}

#[test]
fn a_block_that_is_not_as_the_page_says_is_found() {
    let reader = Reader::new();
    let page = |text: &str| crate::page::parse("p.md", text).unwrap();
    let good = "```sh\nx=1\ncd ..\n```\n```sh\necho $x; basename $PWD >&2\n```\n```text\n1\n…\n```\n```sh exit=3\n(exit 3)\n```\n```bash file=a\nb\n```\n```sh\ncat a\n```\n```text\nb\n```\n";
    assert_eq!(run(&reader, &page(good)), Vec::<String>::new());
    for (bad, why) in [
        ("```sh\necho b\n```\n```text\na\n```\n", "must print"),
        ("```sh\nfalse\necho a\n```\n", "exit code 1, not 0"),
        ("```sh\nfalse | true\n```\n", "exit code 1, not 0"),
        ("```sh exit=2\ntrue\n```\n", "exit code 0, not 2"),
        ("```sh\nexit 0\n```\n```sh\ntrue\n```\n", "ends the shell"),
    ] {
        let findings = run(&reader, &page(bad));
        assert!(findings.len() == 1 && findings[0].contains(why), "{bad}: {findings:?}");
    }
}
