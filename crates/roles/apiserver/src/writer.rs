//! The one writer: takes all queued writes, checks them, commits them together, then shows and acknowledges them.
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use jiff::Timestamp;
use kruntimes_daemon::crash;
use kruntimes_objects::state::{Action, Change, Refused, State, Write};
use kruntimes_objects::stored::Stored;
use tokio::sync::{mpsc, oneshot};

use crate::disk::{CommitError, Disk};
use crate::shared::Shared;

/// How many writes may wait.
const QUEUE: usize = 1024;
/// How many writes one commit takes.
const MAX_BATCH: usize = 512;

/// Why a write was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(
        "{0}: nothing is written until there is room; reads go on. Free some space there, then try again"
    )]
    Full(CommitError),
    #[error("the store has failed: {0}")]
    Failed(String),
}

type Reply = oneshot::Sender<Result<Arc<Stored>, WriteError>>;

#[derive(Debug)]
struct Command {
    write: Write,
    reply: Reply,
}

/// The queue to the writer.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<mpsc::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the writer thread.
    pub(crate) fn start(
        state: State,
        mut disk: Option<Disk>,
        shared: Arc<Shared>,
    ) -> std::io::Result<Self> {
        let (queue, commands) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("api-writer".to_owned())
            .spawn(move || run(state, disk.as_mut(), &shared, commands))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Makes a write; the answer is the object as it now stands, or stood last.
    pub(crate) async fn submit(&self, write: Write) -> Result<Arc<Stored>, WriteError> {
        let gone = || WriteError::Failed("the writer has stopped".to_owned());
        let (reply, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(Command { write, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // The thread ends when the queue is closed; a panic in it was already reported.
            drop(thread.join());
        }
    }
}

fn run(
    mut state: State,
    mut disk: Option<&mut Disk>,
    shared: &Shared,
    mut commands: mpsc::Receiver<Command>,
) {
    let mut failure: Option<String> = None;
    let mut full = false;
    while let Some(first) = commands.blocking_recv() {
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH
            && let Ok(next) = commands.try_recv()
        {
            batch.push(next);
        }
        if let Some(why) = &failure {
            refuse(batch.into_iter().map(|c| c.reply), || WriteError::Failed(why.clone()));
            continue;
        }
        let error = match settle(disk.as_deref_mut(), &mut state, shared) {
            Ok(()) => match perform(batch, disk.as_deref_mut(), &mut state, shared) {
                Ok(written) => {
                    if written && std::mem::take(&mut full) {
                        tracing::info!("there is room on the disk again, writes go on");
                    }
                    continue;
                }
                Err(error) => error,
            },
            Err(error) => {
                refuse(batch.into_iter().map(|c| c.reply), || refusal(&error));
                error
            }
        };
        match error {
            CommitError::Full { .. } => {
                if !std::mem::replace(&mut full, true) {
                    tracing::error!("{error}: nothing is written until there is room");
                }
            }
            CommitError::Broken(why) => {
                tracing::error!("the store has failed, nothing is served any more: {why}");
                shared.fail(&why);
                failure = Some(why);
            }
        }
    }
}

fn refusal(error: &CommitError) -> WriteError {
    match error {
        CommitError::Full { .. } => WriteError::Full(error.clone()),
        CommitError::Broken(why) => WriteError::Failed(why.clone()),
    }
}

/// Shows a commit that found no room and yet is on the disk.
fn settle(disk: Option<&mut Disk>, state: &mut State, shared: &Shared) -> Result<(), CommitError> {
    let durable = disk.map_or(Ok(Vec::new()), Disk::settle)?;
    state.redo(&durable);
    publish(state, shared, durable);
    Ok(())
}

/// Makes a batch of writes, or none of it; true if anything changed.
fn perform(
    batch: Vec<Command>,
    disk: Option<&mut Disk>,
    state: &mut State,
    shared: &Shared,
) -> Result<bool, CommitError> {
    let before = state.version();
    let (changes, replies) = apply(state, batch);
    let written = !changes.is_empty();
    crash::point("api-committing");
    if let Err(error) = commit(disk, &changes) {
        state.revert(&changes, before);
        refuse(replies.into_iter().map(|(reply, _)| reply), || refusal(&error));
        return Err(error);
    }
    crash::point("api-committed");
    publish(state, shared, changes);
    crash::point("api-published");
    for (reply, result) in replies {
        // A requester that went away does not want its answer.
        drop(reply.send(result.map_err(WriteError::from)));
    }
    Ok(written)
}

fn publish(state: &mut State, shared: &Shared, changes: Vec<Change>) {
    for resource in shared.publish(changes) {
        shared.replace(state.reselect(&resource.id, &resource.fields));
    }
}

fn commit(disk: Option<&mut Disk>, changes: &[Change]) -> Result<(), CommitError> {
    match disk {
        Some(disk) if !changes.is_empty() => disk.commit(changes),
        Some(_) | None => Ok(()),
    }
}

type Outcome = (Reply, Result<Arc<Stored>, Refused>);

fn apply(state: &mut State, batch: Vec<Command>) -> (Vec<Change>, Vec<Outcome>) {
    let mut all = Vec::new();
    let mut replies = Vec::new();
    for Command { write, reply } in batch {
        let key = write.key.clone();
        let removal = matches!(write.action, Action::Remove);
        let result = state.apply(write, Timestamp::now()).and_then(|changes| {
            let own = changes
                .iter()
                .find(|c| c.key().is_some_and(|k| **k == key) && (c.new.is_none() == removal));
            let stored = own.and_then(|c| c.new.clone().or_else(|| c.old.clone()));
            all.extend(changes);
            stored.ok_or(Refused::Missing)
        });
        replies.push((reply, result));
    }
    (all, replies)
}

fn refuse(replies: impl Iterator<Item = Reply>, why: impl Fn() -> WriteError) {
    for reply in replies {
        drop(reply.send(Err(why())));
    }
}
