//! `krt runtime conformance`: tries every rule of the guide on a Runtime Server, and prints what became of each.

use crate::cli::ConformanceArgs;
use crate::client::on_one_thread;
use crate::failure::{Failure, NO, chain, without_number};
use crate::signals::Signals;
use crate::table;
use kruntimes_conformance::{Line, PATIENCE, Settings, StartError, Verdict, Works, check};
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
struct Conformance {
    /// Whether no rule is broken.
    ok: bool,
    rules: Vec<Line>,
}

/// The exit code is 0 unless a rule is broken.
pub(crate) fn start(args: ConformanceArgs) -> Result<u8, Failure> {
    let works = Works::load(&args.works).map_err(|error| Failure::new(chain(&error)))?;
    let token = args.token_file.as_deref().map(token).transpose()?;
    let settings = Settings {
        endpoint: args.endpoint,
        command: args.command,
        token,
        work_dir: args.work_dir,
        works,
        patience: PATIENCE,
        only: args.only.clone(),
    };
    let rules = on_one_thread(async {
        let mut signals = Signals::listen()?;
        // Dropped, the check kills the server that it has started.
        tokio::select! {
            lines = check(settings) => lines.map_err(|error| match error {
                StartError::NoServer | StartError::Endpoint(_) => Failure::usage(chain(&error)),
                StartError::Start(_) | StartError::Ended(_) | StartError::Silent { .. } => {
                    Failure::new(chain(&error))
                }
            }),
            () = signals.next() => Err(Failure::new("interrupted")),
        }
    })?;
    if rules.is_empty() {
        return Err(Failure::usage(format!("--only {:?} begins no rule's id", args.only)));
    }
    let ok = rules.iter().all(|line| line.result != Verdict::Fail);
    let report = Conformance { ok, rules };
    let text = table::report(&report, args.output)?;
    table::print(&text.unwrap_or_else(|| lines(&report.rules)))?;
    Ok(if ok { 0 } else { NO })
}

fn token(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => {
            let why = without_number(&error.to_string());
            Err(Failure::new(format!("can't read {}: {why}", path.display())))
        }
    }
}

/// A table, then for each rule that is not kept what it says.
fn lines(rules: &[Line]) -> String {
    let rows: Vec<Vec<String>> = rules
        .iter()
        .map(|line| vec![word(line.result).to_owned(), line.rule.to_owned(), line.why.clone()])
        .collect();
    let mut text = table::columns(&["RESULT", "RULE", "WHY"], &rows);
    let count = |verdict| rules.iter().filter(|line| line.result == verdict).count();
    for line in rules.iter().filter(|line| line.result == Verdict::Fail) {
        text.push_str(&format!("\n{}: {}\n", line.rule, line.says));
    }
    text.push_str(&format!(
        "\n{} passed, {} failed, {} skipped\n",
        count(Verdict::Pass),
        count(Verdict::Fail),
        count(Verdict::Skipped)
    ));
    text
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Skipped => "skipped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_rule_is_said_under_the_table() {
        let line = |rule, result, why: &str| Line {
            rule,
            result,
            says: "It does.",
            why: why.to_owned(),
            milliseconds: 1,
        };
        let rules = [
            line("a", Verdict::Pass, ""),
            line("b", Verdict::Fail, "it does not"),
            line("c", Verdict::Skipped, "nobody asked"),
        ];
        assert_eq!(
            lines(&rules),
            "RESULT    RULE   WHY\n\
             pass      a\n\
             fail      b      it does not\n\
             skipped   c      nobody asked\n\n\
             b: It does.\n\n\
             1 passed, 1 failed, 1 skipped\n"
        );
    }
}
