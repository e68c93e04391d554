//! Output of Runs as JSON lines on runtimed's own stdout, while they run.
//!
//! A thread writes: a reader of stdout that does not read delays nothing. What does not fit in its queue is dropped, and
//! the next line of the same attempt says how many lines are missing before it.

use crate::registry::{nanoseconds, timestamp};
use crate::spool::Stream;
use jiff::Timestamp;
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
    attempt: i32,
    /// When the first byte of the line was read, RFC 3339.
    time: String,
    /// Lines of this attempt that are missing before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropped_lines: Option<u64>,
}

/// A line that has not ended yet.
#[derive(Debug, Default)]
struct Partial {
    /// Nanoseconds since 1970 of its first byte.
    time: i64,
    bytes: Vec<u8>,
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
    pub(crate) fn lines(&self, run_uid: &str, run_name: &str, attempt: i32) -> Lines {
        Lines {
            sink: self.clone(),
            run_uid: run_uid.to_owned(),
            run_name: run_name.to_owned(),
            attempt,
            partial: <[Partial; 2]>::default(),
            dropped: 0,
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
    attempt: i32,
    partial: [Partial; 2],
    dropped: u64,
}

impl Lines {
    /// Takes the next bytes of a stream, read at `time` in nanoseconds since 1970.
    pub(crate) fn push(&mut self, stream: Stream, time: i64, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            for part in piece.chunks(LINE_BYTES) {
                let partial = &mut self.partial[index(stream)];
                if partial.bytes.is_empty() {
                    partial.time = time;
                }
                partial.bytes.extend(part);
                if part.ends_with(b"\n") || partial.bytes.len() >= LINE_BYTES {
                    self.emit(stream);
                }
            }
        }
    }

    /// The last lines, which end without a line feed, and what is missing at the end.
    pub(crate) fn finish(&mut self) {
        self.emit(Stream::Stdout);
        self.emit(Stream::Stderr);
        if self.dropped > 0 {
            self.send(Stream::Stdout, nanoseconds(Timestamp::now()), "");
        }
    }

    fn emit(&mut self, stream: Stream) {
        let Partial { time, bytes } = std::mem::take(&mut self.partial[index(stream)]);
        let text = String::from_utf8_lossy(&bytes);
        let message = text.strip_suffix('\n').unwrap_or(&text);
        if !message.is_empty() {
            self.send(stream, time, message);
        }
    }

    fn send(&mut self, stream: Stream, time: i64, message: &str) {
        let line = Line {
            run_uid: &self.run_uid,
            run_name: &self.run_name,
            namespace: &self.sink.namespace,
            runtime: &self.sink.runtime,
            pod: &self.sink.pod,
            stream: stream.name(),
            message,
            attempt: self.attempt,
            time: format!("{:.6}", timestamp(time)),
            dropped_lines: (self.dropped > 0).then_some(self.dropped),
        };
        let Ok(mut json) = serde_json::to_string(&line) else { return };
        json.push('\n');
        if self.sink.sender.try_send(json).is_ok() {
            self.dropped = 0;
        } else {
            self.dropped += u64::from(!message.is_empty());
        }
    }
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
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
        let mut lines = sink.lines("uid-1", "hello", 2);
        lines.push(Stream::Stdout, 1_500_000_000, b"a\n\nb");
        assert_eq!(
            receiver.recv().unwrap(),
            "{\"run_uid\":\"uid-1\",\"run_name\":\"hello\",\"namespace\":\"ns\",\
             \"runtime\":\"bash\",\"pod\":\"pod-1\",\"stream\":\"stdout\",\"message\":\"a\",\
             \"attempt\":2,\"time\":\"1970-01-01T00:00:01.500000Z\"}\n"
        );
        lines.push(Stream::Stderr, 0, b"\xff!\n");
        assert!(receiver.recv().unwrap().contains("\"stderr\",\"message\":\"\u{fffd}!\""));
        lines.push(Stream::Stdout, 3_000_000_000, &vec![b'x'; LINE_BYTES]);
        lines.push(Stream::Stdout, 4_000_000_000, b"y");
        let long = receiver.recv().unwrap();
        assert!(long.contains("\"message\":\"bxxx") && long.contains(":01.500000Z"), "{long}");
        lines.finish();
        let rest = receiver.recv().unwrap();
        assert!(rest.contains("y\"") && rest.len() < 250 && rest.contains(":04.000000Z"), "{rest}");
        drop((lines, sink));
        assert!(receiver.recv().is_err(), "an empty line is no line");
    }

    #[test]
    fn output_can_forge_no_line() {
        let (sender, receiver) = channel();
        let sink = LineSink::start("ns", "bash", "pod-1", Collect(sender)).unwrap();
        let mut lines = sink.lines("uid-1", "hello", 1);
        let hostile = "{\"run_uid\":\"other\"}\u{1b}[2K\r\0\u{2028}\u{85}";
        lines.push(Stream::Stdout, 0, format!("{hostile}\n").as_bytes());
        let line = receiver.recv().unwrap();
        let control = |letter: char| letter.is_ascii_control() && letter != '\n';
        assert!(!line.contains(control) && line.matches('\n').count() == 1, "{line:?}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&read["run_uid"], &read["message"]), (&"uid-1".into(), &hostile.into()));
    }

    /// Writes one line each time it is told to.
    struct Slow(Receiver<()>, Sender<String>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            self.1
                .send(String::from_utf8(bytes.to_vec()).unwrap())
                .map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_stdout_does_not_take_is_counted_in_the_next_line() {
        let ((go, gate), (sender, receiver)) = (channel(), channel());
        let sink = LineSink::start("ns", "bash", "pod-1", Slow(gate, sender)).unwrap();
        let mut lines = sink.lines("uid-1", "hello", 1);
        // One is in the writer's hand or in the queue, and the queue is full.
        lines.push(Stream::Stdout, 0, "a\n".repeat(QUEUE_LINES + 11).as_bytes());
        assert!((10..=11).contains(&lines.dropped), "{}", lines.dropped);
        let dropped = lines.dropped;
        go.send(()).unwrap();
        assert!(!receiver.recv().unwrap().contains("dropped_lines"));
        drop(go);
        (1..QUEUE_LINES + 11 - usize::try_from(dropped).unwrap())
            .for_each(|_| drop(receiver.recv().unwrap()));
        lines.finish();
        let last = receiver.recv().unwrap();
        assert!(last.contains(&format!("\"dropped_lines\":{dropped}")), "{last}");
    }
}
