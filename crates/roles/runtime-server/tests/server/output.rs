//! What an execution prints: any bytes, bounded, live.

use crate::fixture::{Fixture, Seen, request, until_end};
use kruntimes_proto::executor::v1::{ExecutionState, ListRequest};

const LIMIT: usize = 1024 * 1024;
const MARKER: &str = "\n[output truncated]\n";

pub(crate) async fn any_bytes_are_fine(mut fixture: Fixture) {
    let seen = fixture.run_args("a", &[r"printf 'a\xff\x00b'; printf '\xfe' >&2"]).await;
    assert_eq!((seen.stdout.as_slice(), seen.stderr.as_slice()), (&b"a\xff\0b"[..], &b"\xfe"[..]));
    let status = fixture.status("a").await;
    assert_eq!(status.state(), ExecutionState::Succeeded);
    assert_eq!((status.stdout.as_str(), status.stderr.as_str()), ("a\u{fffd}\0b", "\u{fffd}"));
}

pub(crate) async fn output_is_cut_at_the_limit_and_counted(mut fixture: Fixture) {
    // Invalid in UTF-8 throughout: as text it is three times as large.
    let code = r"head -c 3145728 /dev/zero | tr '\0' '\377'; head -c 1048576 /dev/zero >&2";
    let seen = fixture.run_args("a", &[code]).await;
    assert_eq!(seen.exit(), (0, 0, ""));
    assert!(seen.stdout == vec![0xff; LIMIT], "{} bytes", seen.stdout.len());
    assert!(seen.stderr == vec![0; LIMIT], "{} bytes", seen.stderr.len());
    assert_eq!(seen.exited.unwrap().dropped_bytes, 2 * 1024 * 1024);
    let status = fixture.status("a").await;
    assert!(status.stdout.ends_with(MARKER) && status.stdout.len() <= LIMIT + MARKER.len());
    assert!(!status.stderr.ends_with(MARKER) && status.stderr.len() == LIMIT);
}

pub(crate) async fn output_is_live(mut fixture: Fixture) {
    let mut events = fixture.watch(0).await;
    fixture.write("a", "go", "");
    let code = "rm go; mkfifo go; echo one; read line < go; echo $line; exit 3";
    fixture.execute(request("a", &[code])).await;
    let mut seen = Seen::default();
    while seen.stdout != b"one\n" {
        seen.add(events.message().await.unwrap().unwrap(), "a");
    }
    let status = fixture.status("a").await;
    assert_eq!((status.state(), status.stdout.as_str()), (ExecutionState::Running, "one\n"));
    std::fs::write(fixture.workspace().join("a/go"), "two\n").unwrap();
    while seen.exited.is_none() {
        seen.add(events.message().await.unwrap().unwrap(), "a");
    }
    assert_eq!((seen.stdout().as_str(), seen.exit().0), ("one\ntwo\n", 3));
}

pub(crate) async fn a_reader_resumes_where_it_was(mut fixture: Fixture) {
    fixture.run_args("a", &["echo a"]).await;
    let mut events = fixture.watch(0).await;
    let mut sequences = Vec::new();
    for _ in 0..3 {
        sequences.push(events.message().await.unwrap().unwrap().sequence);
    }
    assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{sequences:?}");
    let mut resumed = fixture.watch(sequences[1]).await;
    assert_eq!(resumed.message().await.unwrap().unwrap().sequence, sequences[2]);
    fixture.execute(request("b", &["echo b"])).await;
    assert_eq!(until_end(&mut resumed, "b").await.stdout(), "b\n");
}

pub(crate) async fn a_list_is_bounded(mut fixture: Fixture) {
    for number in 0..4 {
        let code = "head -c 1048576 /dev/zero | tr '\\0' x; head -c 1048576 /dev/zero >&2";
        fixture.run_args(&format!("run-{number}"), &[code]).await;
    }
    // The client takes 4 MiB; the outputs are 8.
    let entries = fixture.runtime.list(ListRequest {}).await.unwrap().into_inner().entries;
    let ids: Vec<_> = entries.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(ids, ["run-0", "run-1", "run-2", "run-3"]);
    let size: usize = entries.iter().map(|entry| entry.stdout.len() + entry.stderr.len()).sum();
    assert!(size < 3 * 1024 * 1024, "{size}");
    assert!(entries.iter().all(|entry| entry.stdout.ends_with(MARKER)));
}
