//! Logs are read as they were written, whole, from the end and live.

use super::*;
use futures::StreamExt;
use std::io::Write;
use std::os::fd::OwnedFd;
use tokio::net::unix::pipe;

/// A directory that is gone after the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("krt-logs-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn pipe() -> (pipe::Receiver, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().unwrap();
    (pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap(), writer)
}

async fn write(log: &Arc<ContainerLog>, bytes: &[u8]) {
    let (reader, mut writer) = pipe();
    let copy = tokio::spawn(Arc::clone(log).copy(reader));
    for chunk in bytes.chunks(4096) {
        writer.write_all(chunk).unwrap();
    }
    drop(writer);
    copy.await.unwrap();
}

async fn read(logs: &PodLogs, options: LogOptions) -> Vec<u8> {
    let stream = logs.read("ns", "p", "c", options).await.unwrap();
    stream.map(Result::unwrap).concat().await
}

#[test]
fn the_tail_counts_lines() {
    for (text, lines, want) in [
        ("a\nb\nc\n", 1, "c\n"),
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 1, "c"),
        ("a\nb\nc\n", 9, "a\nb\nc\n"),
        ("a\nb\n", 0, ""),
        ("", 3, ""),
        ("\n\n", 1, "\n"),
    ] {
        let start = tail_start(text.as_bytes(), lines);
        assert_eq!(&text[start..], want, "{text:?} {lines}");
    }
}

#[tokio::test]
async fn output_is_read_whole_and_from_the_end() {
    let directory = Directory::new("whole");
    let logs = PodLogs::new();
    let log = logs.add(("ns", "p"), "c", directory.0.clone());
    write(&log, b"one\ntwo\n\xff\n").await;
    assert_eq!(read(&logs, LogOptions::default()).await, b"one\ntwo\n\xff\n");
    let tail = LogOptions { tail_lines: Some(1), ..LogOptions::default() };
    assert_eq!(read(&logs, tail).await, b"\xff\n");
    let limit = LogOptions { limit_bytes: Some(5), ..LogOptions::default() };
    assert_eq!(read(&logs, limit).await, b"one\nt");
    write(&log, b"again\n").await;
    assert_eq!(read(&logs, LogOptions::default()).await, b"again\n");
    let previous = LogOptions { previous: true, ..LogOptions::default() };
    assert_eq!(read(&logs, previous).await, b"one\ntwo\n\xff\n");
    assert!(logs.read("ns", "other", "c", LogOptions::default()).await.is_err());
}

#[tokio::test]
async fn files_stay_bounded_and_keep_the_end() {
    let directory = Directory::new("bounded");
    let log = ContainerLog::new(directory.0.clone(), "c".to_owned(), 10_000);
    let text: Vec<u8> = (0..10_000).flat_map(|line| format!("{line}\n").into_bytes()).collect();
    write(&log, &text).await;
    let mut cursor = Cursor { log: Arc::clone(&log), process: 0, next: 0, left: u64::MAX };
    let kept = cursor.take_written().await.unwrap();
    assert!(text.ends_with(&kept), "the end is not kept");
    assert!((10_000..=20_000).contains(&kept.len()), "{}", kept.len());
    for file in [log.current(), log.rotated()] {
        assert!(std::fs::metadata(file).unwrap().len() <= 10_000);
    }
}

#[tokio::test]
async fn a_follower_sees_what_is_written_until_the_pod_is_gone() {
    let directory = Directory::new("follow");
    let logs = PodLogs::new();
    let log = logs.add(("ns", "p"), "c", directory.0.clone());
    write(&log, b"before\n").await;
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let mut stream = logs.read("ns", "p", "c", follow).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), b"before\n");
    let (reader, mut writer) = pipe();
    let copy = tokio::spawn(Arc::clone(&log).copy(reader));
    writer.write_all(b"live\n").unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap(), b"live\n");
    drop(writer);
    copy.await.unwrap();
    logs.remove(&log);
    assert!(stream.next().await.is_none());
}
