//! The ring of events.

use super::*;

fn started(events: &Events, id: &str) {
    events.started(&Arc::from(id));
}

fn print(events: &Events, execution: &Arc<Execution>, data: &[u8]) {
    if let Some((place, last)) = execution.keep(Stream::Stdout, data) {
        let sequence = events.output(execution, Stream::Stdout, place, last);
        execution.set_last_event(Stream::Stdout, sequence);
    }
}

/// All that is there, in short.
async fn read(events: &Arc<Events>, resume_after: i64) -> Vec<(i64, String)> {
    events.close();
    let mut watcher = events.watch(resume_after);
    let mut all = Vec::new();
    while let Some(event) = watcher.next().await {
        let text = match event.event.unwrap() {
            Event::Started(_) => "started".to_owned(),
            Event::Output(output) => {
                format!(
                    "{}@{}: {}",
                    output.stream,
                    output.offset,
                    String::from_utf8_lossy(&output.data)
                )
            }
            Event::Exited(exited) => format!("exited {}", exited.exit_code),
        };
        all.push((event.sequence, format!("{} {text}", event.id)));
    }
    all
}

fn texts(events: &[(i64, String)]) -> Vec<&str> {
    events.iter().map(|(_, text)| text.as_str()).collect()
}

#[tokio::test]
async fn events_come_in_order_and_unread_output_grows() {
    let events = Events::new();
    let execution = Execution::new("a");
    started(&events, "a");
    print(&events, &execution, b"one");
    started(&events, "b");
    print(&events, &execution, b"two");
    events.exited(execution.id(), &Outcome::failed(3, "exit status 3"), 0);
    let all = read(&events, 0).await;
    assert_eq!(texts(&all), ["a started", "a 1@0: onetwo", "b started", "a exited 3"]);
    assert!(all.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0));
}

#[tokio::test]
async fn a_forgotten_execution_leaves_no_event_and_its_successor_keeps_its_own() {
    let events = Events::new();
    let (first, second) = (Execution::new("a"), Execution::new("a"));
    let other = Execution::new("b");
    for execution in [&first, &other, &second] {
        events.started(execution.id());
        print(&events, execution, b"x");
    }
    events.exited(first.id(), &Outcome::failed(3, "exit status 3"), 0);
    events.forget(&first);
    {
        let ring = events.lock();
        assert_eq!((ring.marks.len(), ring.pieces.len()), (2, 2));
    }
    let all = read(&events, 0).await;
    assert_eq!(texts(&all), ["b started", "b 1@0: x", "a started", "a 1@0: x"]);
}

#[test]
fn of_discarded_executions_only_the_last_ones_leave_events() {
    let events = Events::new();
    for number in 0..DISCARDED_LIMIT + 3 {
        let execution = Execution::new(&format!("run-{number}"));
        events.started(execution.id());
        events.exited(execution.id(), &Outcome::failed(137, "signal: killed"), 0);
        events.discard(&execution);
    }
    let ring = events.lock();
    assert_eq!(ring.marks.len(), 2 * DISCARDED_LIMIT);
    assert_eq!(&*ring.marks[0].id, "run-3");
}

#[tokio::test]
async fn what_was_read_does_not_change() {
    let events = Events::new();
    let execution = Execution::new("a");
    let mut watcher = events.watch(0);
    print(&events, &execution, b"one");
    let first = watcher.next().await.unwrap();
    print(&events, &execution, b"two");
    let after = read(&events, first.sequence).await;
    assert_eq!(texts(&after), ["a 1@3: two"]);
}

#[tokio::test]
async fn a_piece_never_exceeds_its_limit() {
    let events = Events::new();
    let execution = Execution::new("a");
    (0..3).for_each(|_| print(&events, &execution, &[b'x'; PIECE_BYTES - 10]));
    let mut watcher = events.watch(0);
    events.close();
    let mut sizes = Vec::new();
    while let Some(event) = watcher.next().await {
        let Some(Event::Output(output)) = event.event else { panic!("not output") };
        sizes.push(output.data.len());
    }
    assert_eq!(sizes, [PIECE_BYTES - 10; 3]);
}

#[tokio::test]
async fn a_reader_resumes_where_it_was_and_a_stranger_gets_all() {
    let events = Events::new();
    ["a", "b", "c"].iter().for_each(|id| started(&events, id));
    let all = read(&events, 0).await;
    let resumed = read(&events, all[0].0).await;
    assert_eq!(texts(&resumed), ["b started", "c started"]);
    assert_eq!(read(&events, i64::MAX).await, all);
    assert!(read(&events, all[2].0).await.is_empty());
}

#[tokio::test]
async fn output_of_a_forgotten_execution_is_passed_over() {
    let events = Events::new();
    let execution = Execution::new("a");
    print(&events, &execution, b"gone");
    drop(execution);
    started(&events, "b");
    assert_eq!(texts(&read(&events, 0).await), ["b started"]);
}

#[tokio::test]
async fn output_cannot_push_out_an_end() {
    let events = Events::new();
    let [loud, other] = ["loud", "other"].map(Execution::new);
    events.exited(loud.id(), &Outcome::failed(1, "exit status 1"), 0);
    for _ in 0..PIECES_LIMIT {
        // Distinct streams in turn would still join: a reader in between keeps them apart.
        print(&events, &other, b"x");
        let next = events.lock().next;
        events.lock().read = next;
    }
    print(&events, &loud, b"y");
    let all = read(&events, 0).await;
    assert_eq!(all.len(), PIECES_LIMIT + 1);
    assert_eq!(all[0].1, "loud exited 1");
}
