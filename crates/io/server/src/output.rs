//! Where an execution's output goes: kept within its limit, and told to watchers at once.

use crate::events::Events;
use crate::execution::Execution;
use crate::kept::Stream;
use std::sync::Arc;

/// Takes the output of one execution. It never waits and never fails: what is beyond the limit is counted, what comes
/// after the end is thrown away.
#[derive(Debug, Clone)]
pub struct Output {
    execution: Arc<Execution>,
    events: Arc<Events>,
}

impl Output {
    pub(crate) fn new(execution: &Arc<Execution>, events: &Arc<Events>) -> Self {
        Self { execution: Arc::clone(execution), events: Arc::clone(events) }
    }

    /// The execution's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.execution.id()
    }

    /// Tells that the work has begun, once. The first output does too.
    pub fn started(&self) {
        self.execution.note_started(&self.events);
    }

    /// Takes any bytes of a stream.
    pub fn write(&self, stream: Stream, data: impl AsRef<[u8]>) {
        self.execution.print(&self.events, stream, data.as_ref());
    }

    /// Takes any bytes of the standard output.
    pub fn stdout(&self, data: impl AsRef<[u8]>) {
        self.write(Stream::Stdout, data);
    }

    /// Takes any bytes of the standard error output.
    pub fn stderr(&self, data: impl AsRef<[u8]>) {
        self.write(Stream::Stderr, data);
    }
}
