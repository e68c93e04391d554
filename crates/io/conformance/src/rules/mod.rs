//! The rules as data: id, the guide's sentence, and the check. Those that end the server stand last.

mod calls;
mod cancel;
mod ends;
mod events;
mod input;
mod later;
mod output;
mod places;
mod server;

use crate::subject::{Answer, Subject, said};
use std::future::Future;
use std::pin::Pin;
use tonic::Code;

/// What a Runtime Server must do.
pub struct Rule {
    /// Its id.
    pub id: &'static str,
    /// The sentence of the guide.
    pub sentence: &'static str,
    pub(crate) check: Check,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rule").field("id", &self.id).finish_non_exhaustive()
    }
}

type Check = for<'a> fn(&'a mut Subject) -> Pin<Box<dyn Future<Output = Checked> + Send + 'a>>;

/// What a check comes to.
pub(crate) type Checked = Result<(), Stop>;

/// Why a check ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    Fail(String),
    Skip(String),
}

macro_rules! rules {
    ($($module:ident::$name:ident $id:literal $sentence:literal;)*) => {
        &[$(Rule { id: $id, sentence: $sentence, check: |subject| Box::pin($module::$name(subject)) }),*]
    };
}

static RULES: &[Rule] = rules! {
    calls::health "health" "Health is answered within 2 seconds, also while executions run.";
    calls::answers_at_once "execute/at-once" "Execute starts the work in the background and answers at once with the same id.";
    calls::running "status/running" "While the work goes on, its state is RUNNING, or PENDING before it begins.";
    calls::succeeded "status/succeeded" "Work that succeeds is SUCCEEDED with exit code 0 and no error message.";
    calls::failed "status/failed" "Work that fails is FAILED with its own exit code.";
    calls::unknown "unknown" "Status, Cancel and Forget answer NOT_FOUND for an id that the server does not know.";
    calls::no_twins "execute/no-twins" "An Execute under an id that is known never runs beside the former one: either it ends that first and takes its place, or it is refused as ALREADY_EXISTS.";
    calls::id_again "execute/again" "After Forget or Cancel an id may be used again, as if it had never been there.";
    calls::many "execute/many" "Executions run at once, each with its own output.";
    calls::listed "list" "List has every execution that was not forgotten, running or ended, once each.";
    calls::kept "forget/kept" "What has ended is known until it is forgotten: at least the last 32.";
    calls::forget_running "forget/running" "Forget of a running execution is refused as FAILED_PRECONDITION, and the execution goes on.";
    calls::forgotten "forget/ended" "Forget drops what has ended: Status then answers NOT_FOUND, and List does not have it.";
    cancel::dropped "cancel/dropped" "Cancel ends the execution and drops it: Status then answers NOT_FOUND, and List does not have it.";
    cancel::ended "cancel/ended" "Cancel of what has ended drops it too.";
    cancel::stubborn "cancel/stubborn" "Cancel is answered within 5 seconds, also when the work ignores SIGTERM.";
    cancel::tree "cancel/tree" "When Cancel is answered, every process of the execution is dead, also one in a session of its own.";
    cancel::at_once "cancel/at-once" "A Cancel does not keep the other calls waiting.";
    ends::timeout "timeout" "An execution that goes on for `timeout_seconds` is ended, all processes of it, and is FAILED with exit code -1 and the error message `timeout`, within 5 seconds more.";
    ends::no_timeout "timeout/none" "A `timeout_seconds` of zero or less is no limit.";
    ends::left_behind "end/left-behind" "When the work itself ends, the execution ends within 5 seconds, and what it left running dies.";
    output::streams "output/streams" "Standard output and standard error stand in a field of their own each.";
    output::live "output/live" "Status shows the output so far while the work goes on.";
    output::any_bytes "output/bytes" "Output that is no UTF-8 text does not harm: what is none becomes U+FFFD, and the execution ends as it would.";
    output::bounded "output/bounded" "Of each stream the first bytes are kept, from 64 KiB to 1 MiB, and Status fits in 4 MiB.";
    output::list_bounded "list/bounded" "List fits in 4 MiB, also when many executions have printed all that is kept.";
    places::env "env" "The work has the variables of `env`, which win over those of the server.";
    places::directory "working-dir" "The work is done in `working_dir`.";
    places::files "working-dir/files" "The work sees the files of `working_dir`.";
    places::default_directory "working-dir/default" "Without `working_dir` the work is done in `<work-dir>/<id>`, which the server makes.";
    places::script "entrypoint" "`entrypoint` names a file in the working directory, which is run with `args`.";
    input::ids "input/id" "An id that is empty, longer than 200 bytes, begins with a dot or holds a slash is refused as INVALID_ARGUMENT.";
    input::nul "input/nul" "A NUL character in arguments, environment or entrypoint, and a variable whose name is empty or holds `=`, are refused as INVALID_ARGUMENT.";
    input::entrypoints "input/entrypoint" "An entrypoint that is a directory, a FIFO or a link out of the workspace is refused, or the execution fails with a message; it does not hang.";
    input::working_dirs "input/working-dir" "A `working_dir` that is relative, or not below the server's work directory, is refused as INVALID_ARGUMENT.";
    input::many_arguments "input/many" "10,000 arguments are taken or refused; nothing hangs.";
    input::later_fields "compatible/fields" "Fields that the server does not know are ignored.";
    server::token "token" "A server that guards itself answers UNAUTHENTICATED to every call without the right `kruntimes-token`.";
    events::optional "events/optional" "A server without RuntimeEvents answers UNIMPLEMENTED to Watch and Renew.";
    events::told "events/told" "Watch tells of each execution that it started, what it printed, and once that it ended, in this order, under rising sequence numbers.";
    events::pieces "events/output" "Output events carry any bytes, at most 64 KiB each, every byte once, and `offset` says where in its stream; `dropped_bytes` counts what was not kept.";
    events::resumed "events/resume" "A Watch with `resume_after` brings what came after that number, and nothing before it.";
    events::renewed "events/renew" "When no Renew follows within `ttl_millis`, all executions are ended, and Execute is refused until the next Renew; a `ttl_millis` of zero or less is refused as INVALID_ARGUMENT.";
    server::restarted "restart/forgets" "A server that is started anew after a crash takes the same port and directory and knows none of the former executions.";
    server::terminated "restart/ends" "At SIGTERM the server ends within 5 seconds, and every process of its executions is dead.";
};

/// All rules, in the order in which they are tried.
#[must_use]
pub fn rules() -> &'static [Rule] {
    RULES
}

/// Fails with what was seen, unless it is so.
pub(crate) fn ensure(is_so: bool, seen: impl FnOnce() -> String) -> Checked {
    if is_so { Ok(()) } else { Err(Stop::Fail(seen())) }
}

/// The call must be refused with this code.
pub(crate) fn refused<T>(what: &str, answer: Answer<T>, code: Code) -> Checked {
    match answer? {
        Err(status) if status.code() == code => Ok(()),
        Err(status) => {
            Err(Stop::Fail(format!("{what}: not refused as {code:?}, but {}", said(&status))))
        }
        Ok(_) => Err(Stop::Fail(format!("{what}: not refused as {code:?}, but answered"))),
    }
}

/// The call must succeed.
pub(crate) fn answered<T>(what: &str, answer: Answer<T>) -> Result<T, Stop> {
    match answer? {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(Stop::Fail(format!("{what} answered {}", said(&status)))),
    }
}

#[cfg(test)]
mod tests {
    use super::RULES;

    #[test]
    fn an_id_names_one_rule() {
        let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), RULES.len());
    }
}
