//! `krt doctor`: what krt needs of this machine and of the kubeconfig, each ok, degraded or missing, with the remedy.
//!
//! Everything is tried, not guessed: namespaces are made, ports are bound, the API server is asked.

mod connection;
mod directory;
mod machine;

use crate::cli::{Connection, DataDir, Report};
use crate::client::on_one_thread;
use crate::failure::{Failure, NO};
use crate::local::data_dir;
use crate::table;
use serde::Serialize;

/// How well a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// krt works; what the remedy names does not, or less well.
    Degraded,
    /// krt needs it.
    Missing,
}

/// One line of the report.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    state: State,
    /// What was found.
    found: String,
    /// What to do; absent when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, state: State::Ok, found: found.into(), remedy: None }
    }

    fn degraded(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Degraded, found: found.into(), remedy: Some(remedy.into()) }
    }

    fn missing(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, state: State::Missing, found: found.into(), remedy: Some(remedy.into()) }
    }
}

#[derive(Debug, Serialize)]
struct Examination {
    /// Whether nothing is missing.
    ok: bool,
    checks: Vec<Check>,
}

/// Examines all; the exit code is 0 unless something needed is missing.
pub(crate) fn doctor(flags: &Connection, dir: &DataDir, output: Report) -> Result<u8, Failure> {
    let dir = data_dir::chosen(dir)?;
    // First, for one of them forks this process while it has one thread.
    let mut checks = machine::checks();
    checks.extend(directory::checks(&dir));
    on_one_thread(async {
        checks.extend(connection::checks(flags, &dir).await);
        Ok(())
    })?;
    let ok = checks.iter().all(|check| check.state != State::Missing);
    let examination = Examination { ok, checks };
    let text = table::report(&examination, output)?;
    table::print(&text.unwrap_or_else(|| lines(&examination.checks)))?;
    Ok(if ok { 0 } else { NO })
}

fn lines(checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let line = |check: &Check| {
        let state = match check.state {
            State::Ok => "ok",
            State::Degraded => "degraded",
            State::Missing => "missing",
        };
        let remedy = check.remedy.as_ref().map(|remedy| format!(": {remedy}")).unwrap_or_default();
        format!("{state:<8}  {:<width$}  {}{remedy}\n", check.name, check.found)
    };
    checks.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_state_name_what_was_found_and_the_remedy() {
        let checks = [
            Check::ok("kernel", "Linux 6.1"),
            Check::degraded("git", "not found", "install it"),
            Check::missing("bash", "not found", "install it"),
        ];
        assert_eq!(
            lines(&checks),
            "ok        kernel  Linux 6.1\n\
             degraded  git     not found: install it\n\
             missing   bash    not found: install it\n"
        );
    }
}
