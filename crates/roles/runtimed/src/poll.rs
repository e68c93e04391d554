//! Status polling of one execution: the way to its end where no events come, and a backstop where they do.

use crate::registry::{Mode, Registry};
use crate::runtime::RuntimeServer;
use kruntimes_proto::executor::v1::{ExecutionState, StatusResponse};
use kruntimes_rules::run::event::Event;
use kruntimes_rules::run::outcome::Exit;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

/// Without events: quick at first, slower for a long Run.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// With events nothing should be found; this often it is looked.
const BACKSTOP: Duration = Duration::from_secs(10);
/// What the stream is given to bring an end that Status shows already, with its output.
const STREAM_GRACE: Duration = Duration::from_millis(250);
/// A server whose answers can't be read for so long never tells an end.
const GARBLED_FOR: Duration = Duration::from_secs(10);
/// While the stream is broken.
const RECONNECTING: Duration = Duration::from_millis(500);

/// Polls until the execution ended. Its end goes through the registry; that it is unknown is the answer here.
/// `at_once` asks for a look now: nobody knows how long the execution has been going on.
pub(crate) async fn until_it_ends(
    server: &RuntimeServer,
    registry: &Registry,
    uid: &str,
    at_once: bool,
) -> Option<Event> {
    let mut mode = registry.mode();
    let mut pause = FIRST_PAUSE;
    let mut suspicious = false;
    let mut garbled = Garbled::default();
    let mut looked = !at_once;
    loop {
        let now = if std::mem::replace(&mut looked, true) {
            wait(&mut mode, &mut pause, suspicious).await
        } else {
            *mode.borrow()
        };
        let answer = match server.status(uid).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(uid, %error, "Status failed");
                if now == Mode::Polling && garbled.is_for_good(&error) {
                    let code = error.code();
                    return Some(Event::Unreadable(format!(
                        "the Runtime Server's Status can't be read: {code:?}: {}",
                        error.message()
                    )));
                }
                continue;
            }
        };
        garbled = Garbled::default();
        // With events an end counts once the stream had its time to bring it.
        let believed = now == Mode::Polling || suspicious;
        let ended = answer.as_ref().is_none_or(has_ended);
        match answer {
            None if believed => return Some(Event::Lost),
            Some(status) if now == Mode::Polling => report(registry, uid, &status),
            Some(status) if ended && believed => {
                registry.ended(uid, exit(&status));
            }
            None | Some(_) => {}
        }
        if ended && believed {
            return None;
        }
        suspicious = ended;
    }
}

/// Since when a server that is there answers what can't be read: output that is no text, or more than a message holds.
#[derive(Debug, Default)]
struct Garbled(Option<Instant>);

impl Garbled {
    fn is_for_good(&mut self, error: &Status) -> bool {
        // A server that does not answer may be back with an answer.
        if matches!(
            error.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unauthenticated
        ) {
            self.0 = None;
            return false;
        }
        self.0.get_or_insert_with(Instant::now).elapsed() >= GARBLED_FOR
    }
}

async fn wait(mode: &mut watch::Receiver<Mode>, pause: &mut Duration, suspicious: bool) -> Mode {
    let now = *mode.borrow_and_update();
    let time = match now {
        Mode::Polling => std::mem::replace(pause, (*pause * 2).min(LONGEST_PAUSE)),
        Mode::Events(_) if suspicious => STREAM_GRACE,
        Mode::Events(_) => BACKSTOP,
        Mode::Disconnected => RECONNECTING,
    };
    tokio::select! {
        () = sleep(time) => {}
        changed = mode.changed() => {
            // After a reconnect each execution is looked at.
            drop(changed);
            sleep(STREAM_GRACE).await;
        }
    }
    *mode.borrow()
}

fn report(registry: &Registry, uid: &str, status: &StatusResponse) {
    let runs = match status.state() {
        ExecutionState::Running | ExecutionState::Succeeded | ExecutionState::Failed => true,
        ExecutionState::Unspecified | ExecutionState::Pending => false,
    };
    if runs {
        registry.running(uid, &status.stdout, &status.stderr);
    }
    if has_ended(status) {
        registry.ended(uid, exit(status));
    }
}

fn has_ended(status: &StatusResponse) -> bool {
    matches!(status.state(), ExecutionState::Succeeded | ExecutionState::Failed)
}

/// Servers differ in how they tell signals: 128 + n, −n, or −1 with a text.
fn exit(status: &StatusResponse) -> Exit {
    if status.state() == ExecutionState::Succeeded {
        return Exit::default();
    }
    let signal = if status.exit_code < -1 { status.exit_code.saturating_neg() } else { 0 };
    let silent = status.exit_code == 0 && status.error_message.is_empty();
    let error_message =
        if silent { "runtime execution failed".to_owned() } else { status.error_message.clone() };
    Exit { exit_code: status.exit_code, signal, error_message, stderr_tail: String::new() }
}
