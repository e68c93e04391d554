//! The conformance kit: every rule of `docs/custom-runtime.md`, tried on a Runtime Server over gRPC.
//!
//! A rule is data: an id, its sentence in the guide, and a check. Invariants: every wait has a limit, so a run ends
//! whatever the server does; a rule leaves no execution behind for the next one; what can't be tried is skipped with the
//! reason, never passed.

mod alive;
mod rules;
mod server;
mod subject;
mod works;

pub use rules::{Rule, rules};
pub use server::StartError;
pub use works::{Work, Works, WorksError};

use rules::Stop;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use subject::Subject;
use tokio::time::timeout;

/// No rule takes longer: then it has failed.
const RULE_LIMIT: Duration = Duration::from_secs(60);

/// Which server is tried, and what is known of it.
#[derive(Debug)]
pub struct Settings {
    /// `HOST:PORT`; with a command it may be left out.
    pub endpoint: Option<String>,
    /// The shell command that starts the server; `--port` and `--work-dir` are put behind it.
    pub command: Option<String>,
    /// The control token of a server that was started by somebody else.
    pub token: Option<String>,
    /// The directory in which this process and the server both see the working directories.
    pub work_dir: Option<PathBuf>,
    /// What to ask of the server so that it does what a rule needs.
    pub works: Works,
    /// How long a short work may take on a loaded machine; more is a failure.
    pub patience: Duration,
    /// Only the rules whose id begins so; all when it is empty.
    pub only: String,
}

/// The patience for a server on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The server does as it says.
    Pass,
    /// The server does otherwise.
    Fail,
    /// It could not be tried.
    Skipped,
}

/// One rule of the report.
#[derive(Debug, Serialize)]
pub struct Line {
    /// Its id.
    pub rule: &'static str,
    /// What became of it.
    pub result: Verdict,
    /// What it says.
    pub says: &'static str,
    /// What was seen instead, or why it was not tried.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// Tries the rules one after the other.
pub async fn check(settings: Settings) -> Result<Vec<Line>, StartError> {
    let only = settings.only.clone();
    let mut subject = Subject::new(settings).await?;
    let mut lines = Vec::new();
    for rule in rules().iter().filter(|rule| rule.id.starts_with(&only)) {
        lines.push(try_rule(rule, &mut subject).await);
    }
    subject.close().await;
    Ok(lines)
}

async fn try_rule(rule: &'static Rule, subject: &mut Subject) -> Line {
    let started = Instant::now();
    let end = timeout(RULE_LIMIT, (rule.check)(subject)).await;
    let (result, why) = match end {
        Ok(Ok(())) => (Verdict::Pass, String::new()),
        Ok(Err(Stop::Fail(why))) => (Verdict::Fail, why),
        Ok(Err(Stop::Skip(why))) => (Verdict::Skipped, why),
        Err(_) => (Verdict::Fail, format!("no end within {RULE_LIMIT:?}")),
    };
    subject.clean_up().await;
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Line { rule: rule.id, result, says: rule.sentence, why, milliseconds }
}
