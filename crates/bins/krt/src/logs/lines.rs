//! Lines of output: cut from pieces as they come, held back for `--tail`, and printed with what is asked of them.
//!
//! No line that a Run writes can pass for another one: in JSON whatever it holds is inside of one string.

use super::args::{LogFormat, LogsArgs};
use crate::output::{Bytes, Sink, thrown_away};
use crate::progress::Progress;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::VecDeque;

/// A longer line is cut into several.
const LINE_BYTES: usize = 1 << 20;
/// Bytes of one stream that `--tail` may hold back.
const TAIL_BYTES: usize = 16 << 20;

/// A line with its line feed, if it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    stream: i32,
    /// When its first byte was written.
    time: Timestamp,
    text: Vec<u8>,
}

/// Which form lines take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Timed,
    Json { attempt: i32 },
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    time: String,
    attempt: i32,
    stream: &'a str,
    message: &'a str,
}

#[derive(Debug, Serialize)]
struct Lost {
    time: String,
    attempt: i32,
    dropped_bytes: i64,
}

/// Takes pieces, prints lines.
#[derive(Debug)]
pub(super) struct Printer {
    sink: Sink,
    form: Form,
    since: Option<Timestamp>,
    /// What each stream has begun.
    begun: [Option<Line>; 2],
    /// The last lines of each stream, until they are let through.
    tail: Option<Tail>,
}

impl Printer {
    /// Of an attempt, as the command line says at `now`.
    pub(super) fn new(args: &LogsArgs, attempt: i32, now: Timestamp) -> Self {
        let form = match args.output {
            LogFormat::Json => Form::Json { attempt },
            LogFormat::Raw if args.timestamps => Form::Timed,
            LogFormat::Raw => Form::Raw,
        };
        let ago = args.since.map(|since| now.checked_sub(since).unwrap_or(Timestamp::MIN));
        Self {
            sink: Sink::new(),
            form,
            since: ago.or(args.since_time),
            begun: [None, None],
            tail: (args.tail > 0).then(|| Tail::new(args.tail)),
        }
    }

    /// Takes what was written.
    pub(super) async fn push(&mut self, bytes: Bytes) {
        if self.since.is_some_and(|since| bytes.time < since) {
            return;
        }
        if self.form == Form::Raw && self.tail.is_none() {
            return self.sink.write(bytes.stream, &bytes.data).await;
        }
        for piece in bytes.data.split_inclusive(|byte| *byte == b'\n') {
            let begun = &mut self.begun[usize::from(bytes.stream != 1)];
            let new = || Line { stream: bytes.stream, time: bytes.time, text: Vec::new() };
            let line = begun.get_or_insert_with(new);
            line.text.extend_from_slice(piece);
            if line.text.ends_with(b"\n") || line.text.len() >= LINE_BYTES {
                let line = begun.take();
                self.take(line).await;
            }
        }
    }

    /// Prints what the tail holds, and lets the rest through.
    pub(super) async fn release(&mut self) {
        let Some(tail) = self.tail.take() else { return };
        for line in tail.into_lines() {
            self.print(&line).await;
        }
        // From here on bytes are printed as they come, and these came before.
        if self.form == Form::Raw {
            self.end_lines().await;
        }
    }

    async fn end_lines(&mut self) {
        for begun in 0..2 {
            let line = self.begun[begun].take();
            self.take(line).await;
        }
    }

    /// No more comes: what has begun is printed, and how much is missing.
    pub(super) async fn finish(&mut self, dropped: i64, now: Timestamp) {
        self.end_lines().await;
        self.release().await;
        if dropped <= 0 {
            return;
        }
        match self.form {
            Form::Json { attempt } => {
                let lost = Lost { time: now.to_string(), attempt, dropped_bytes: dropped };
                self.json(&lost).await;
            }
            Form::Raw | Form::Timed => Progress::new(false).say(&thrown_away(dropped)),
        }
    }

    async fn take(&mut self, line: Option<Line>) {
        let Some(line) = line else { return };
        match &mut self.tail {
            Some(tail) => tail.push(line),
            None => self.print(&line).await,
        }
    }

    async fn print(&mut self, line: &Line) {
        match self.form {
            Form::Raw => self.sink.write(line.stream, &line.text).await,
            Form::Timed => {
                let text = [format!("{:.6} ", line.time).as_bytes(), &line.text].concat();
                self.sink.write(line.stream, &text).await;
            }
            Form::Json { attempt } => {
                let text = String::from_utf8_lossy(&line.text);
                let message = text.strip_suffix('\n').unwrap_or(&text);
                let stream = if line.stream == 1 { "stdout" } else { "stderr" };
                let time = format!("{:.6}", line.time);
                self.json(&Entry { time, attempt, stream, message }).await;
            }
        }
    }

    async fn json(&mut self, entry: &impl Serialize) {
        if let Ok(mut text) = serde_json::to_vec(entry) {
            text.push(b'\n');
            self.sink.write(1, &text).await;
        }
    }
}

/// The last lines of each stream, in the order in which they ended.
#[derive(Debug)]
struct Tail {
    lines: usize,
    held: [VecDeque<(u64, Line)>; 2],
    bytes: [usize; 2],
    count: u64,
}

impl Tail {
    fn new(lines: usize) -> Self {
        Self { lines, held: [VecDeque::new(), VecDeque::new()], bytes: [0; 2], count: 0 }
    }

    fn push(&mut self, line: Line) {
        let stream = usize::from(line.stream != 1);
        self.count += 1;
        self.bytes[stream] += line.text.len();
        let held = &mut self.held[stream];
        held.push_back((self.count, line));
        while held.len() > self.lines || self.bytes[stream] > TAIL_BYTES {
            let Some((_, oldest)) = held.pop_front() else { break };
            self.bytes[stream] -= oldest.text.len();
        }
    }

    fn into_lines(self) -> Vec<Line> {
        let mut lines: Vec<_> = self.held.into_iter().flatten().collect();
        lines.sort_by_key(|(count, _)| *count);
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stream: i32, text: &[u8]) -> Line {
        Line { stream, time: Timestamp::UNIX_EPOCH, text: text.to_vec() }
    }

    fn tail(lines: usize, all: &[(i32, &[u8])]) -> Vec<Line> {
        let mut tail = Tail::new(lines);
        all.iter().for_each(|(stream, text)| tail.push(line(*stream, text)));
        tail.into_lines()
    }

    #[test]
    fn the_last_lines_of_each_stream_stay_in_order() {
        let all: [(i32, &[u8]); 5] =
            [(1, b"a\n"), (2, b"x\n"), (1, b"b\n"), (1, b"c\n"), (2, b"y")];
        assert_eq!(
            tail(2, &all),
            [(2, "x\n"), (1, "b\n"), (1, "c\n"), (2, "y")]
                .map(|(stream, text)| line(stream, text.as_bytes()))
        );
        assert_eq!(tail(1, &all), [line(1, b"c\n"), line(2, b"y")]);
        assert_eq!(tail(9, &all).len(), 5);
    }

    #[test]
    fn a_tail_holds_no_more_than_its_bytes() {
        let long = vec![b'x'; TAIL_BYTES / 2];
        let all: [(i32, &[u8]); 3] = [(1, &long), (1, &long), (1, b"y")];
        assert_eq!(tail(9, &all).len(), 2, "the oldest goes");
        assert_eq!(tail(9, &all[..2]).len(), 2);
    }
}
