//! `krt explain`: what a reason means, or where the time of a Run went and what it waits for.

mod reason;
mod run;
mod story;

use crate::failure::Failure;
use crate::home::Home;
use crate::{names, table};

/// What is to be explained.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A reason, or all of them: no API server is asked.
    Reason(Option<String>),
    /// The Run with this name.
    Run(String),
}

impl Subject {
    /// A word is a Run's name if it can be one and no reason is spelled so: reasons have capital letters.
    pub(crate) fn of(word: Option<&str>) -> Self {
        let Some(word) = word else { return Self::Reason(None) };
        match names::object(word) {
            Ok(name) if !reason::is_known(word) => Self::Run(name),
            Ok(_) | Err(_) => Self::Reason(Some(word.to_owned())),
        }
    }
}

/// Prints what is known of a reason.
pub(crate) fn reasons(reason: Option<&str>) -> Result<(), Failure> {
    table::print(&reason::explain(reason)?)
}

/// Prints what is known of a Run.
pub(crate) async fn run(home: &Home, name: &str) -> Result<(), Failure> {
    let facts = run::gather(home, name).await?;
    table::print(&story::tell(&facts, jiff::Timestamp::now()))
}

#[cfg(test)]
mod tests {
    use super::Subject;

    #[test]
    fn a_word_is_a_reason_or_a_name() {
        let reason = |word: &str| Subject::Reason(Some(word.to_owned()));
        let run = |word: &str| Subject::Run(word.to_owned());
        for (word, subject) in [
            ("Timeout", reason("Timeout")),
            ("timeout", reason("timeout")),
            ("Timeot", reason("Timeot")),
            ("run/timeout", run("timeout")),
            ("hello", run("hello")),
            ("runs.kruntimes.io/hello", run("hello")),
        ] {
            assert_eq!(Subject::of(Some(word)), subject, "{word}");
        }
        assert_eq!(Subject::of(None), Subject::Reason(None));
    }
}
