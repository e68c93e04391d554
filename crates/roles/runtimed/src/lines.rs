//! Output of Runs as JSON lines on runtimed's own stdout, while they run.
//!
//! A thread writes: a reader of stdout that does not read delays nothing. What does not fit in its queue is dropped,
//! and counted in the log.

use crate::spool::Stream;
use serde::Serialize;
use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Lines that wait for stdout.
const QUEUE_LINES: usize = 1024;
/// A longer line is cut into several.
const LINE_BYTES: usize = 16 * 1024;

#[derive(Debug, Serialize)]
struct Line<'a> {
    run_uid: &'a str,
    run_name: &'a str,
    namespace: &'a str,
    runtime: &'a str,
    pod: &'a str,
    stream: &'a str,
    message: &'a str,
}

/// Where the lines go.
#[derive(Debug, Clone)]
pub(crate) struct LineSink {
    sender: SyncSender<String>,
    namespace: Arc<str>,
    runtime: Arc<str>,
    pod: Arc<str>,
}

impl LineSink {
    /// Starts the writing thread. It ends with the last sink.
    pub(crate) fn start(
        namespace: &str,
        runtime: &str,
        pod: &str,
        writer: impl Write + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE_LINES);
        std::thread::Builder::new()
            .name("log-lines".to_owned())
            .spawn(move || write_all(&receiver, writer))?;
        Ok(Self { sender, namespace: namespace.into(), runtime: runtime.into(), pod: pod.into() })
    }

    /// The lines of one attempt.
    pub(crate) fn lines(&self, run_uid: &str, run_name: &str) -> Lines {
        Lines {
            sink: self.clone(),
            run_uid: run_uid.to_owned(),
            run_name: run_name.to_owned(),
            partial: [Vec::new(), Vec::new()],
        }
    }
}

fn write_all(receiver: &Receiver<String>, mut writer: impl Write) {
    while let Ok(line) = receiver.recv() {
        if writer.write_all(line.as_bytes()).and_then(|()| writer.flush()).is_err() {
            return;
        }
    }
}

/// Cuts the output of one attempt into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    sink: LineSink,
    run_uid: String,
    run_name: String,
    partial: [Vec<u8>; 2],
}

impl Lines {
    /// Takes the next bytes of a stream.
    pub(crate) fn push(&mut self, stream: Stream, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let index = usize::from(stream == Stream::Stderr);
            for part in piece.chunks(LINE_BYTES) {
                self.partial[index].extend(part);
                if part.ends_with(b"\n") || self.partial[index].len() >= LINE_BYTES {
                    self.emit(stream);
                }
            }
        }
    }

    /// The last lines, which end without a line feed.
    pub(crate) fn finish(&mut self) {
        self.emit(Stream::Stdout);
        self.emit(Stream::Stderr);
    }

    fn emit(&mut self, stream: Stream) {
        let bytes = std::mem::take(&mut self.partial[usize::from(stream == Stream::Stderr)]);
        let text = String::from_utf8_lossy(&bytes);
        let message = text.strip_suffix('\n').unwrap_or(&text);
        if message.is_empty() {
            return;
        }
        let line = Line {
            run_uid: &self.run_uid,
            run_name: &self.run_name,
            namespace: &self.sink.namespace,
            runtime: &self.sink.runtime,
            pod: &self.sink.pod,
            stream: stream.name(),
            message,
        };
        if let Ok(mut json) = serde_json::to_string(&line) {
            json.push('\n');
            if self.sink.sender.try_send(json).is_err() {
                tracing::warn!(run = self.run_name, "stdout does not keep up: a line is dropped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    struct Collect(Sender<String>);

    impl Write for Collect {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            self.0.send(text).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_json_with_their_keys_in_order_while_the_run_goes_on() {
        let (sender, receiver) = channel();
        let sink = LineSink::start("ns", "bash", "pod-1", Collect(sender)).unwrap();
        let mut lines = sink.lines("uid-1", "hello");
        lines.push(Stream::Stdout, b"a\n\nb");
        assert_eq!(
            receiver.recv().unwrap(),
            "{\"run_uid\":\"uid-1\",\"run_name\":\"hello\",\"namespace\":\"ns\",\
             \"runtime\":\"bash\",\"pod\":\"pod-1\",\"stream\":\"stdout\",\"message\":\"a\"}\n"
        );
        lines.push(Stream::Stderr, b"\xff!\n");
        assert!(receiver.recv().unwrap().ends_with("\"stderr\",\"message\":\"\u{fffd}!\"}\n"));
        lines.push(Stream::Stdout, &vec![b'x'; LINE_BYTES]);
        lines.push(Stream::Stdout, b"y");
        assert!(receiver.recv().unwrap().contains("\"message\":\"bxxx"));
        lines.finish();
        let rest = receiver.recv().unwrap();
        assert!(rest.ends_with("y\"}\n") && rest.len() < 200, "{rest}");
        drop((lines, sink));
        assert!(receiver.recv().is_err(), "an empty line is no line");
    }
}
