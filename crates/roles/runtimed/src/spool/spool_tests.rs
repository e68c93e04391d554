//! The spool of output.

use super::*;
use kruntimes_rules::run::outcome::Exit;

fn output(reader: &mut Reader) -> (Vec<u8>, Vec<u8>, Option<u64>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        match reader.try_next().unwrap() {
            Next::Frame(Frame::Output { stream: Stream::Stdout, data, .. }) => stdout.extend(data),
            Next::Frame(Frame::Output { stream: Stream::Stderr, data, .. }) => stderr.extend(data),
            Next::Frame(Frame::Exited { dropped, .. }) => return (stdout, stderr, Some(dropped)),
            Next::Later | Next::End => return (stdout, stderr, None),
        }
    }
}

fn exit(code: i32) -> Exit {
    Exit { exit_code: code, ..Exit::default() }
}

#[test]
fn any_bytes_come_back_as_they_were_and_repeated_pieces_once() {
    let spool = Spool::open(&crate::testing::directory("spool-bytes")).unwrap();
    let log = spool.fresh("u", 1);
    let mut reader = log.reader();
    assert_eq!(reader.try_next().unwrap(), Next::Later);
    assert_eq!(log.append(Stream::Stdout, 0, 7, b"\xff\0a"), b"\xff\0a");
    let Next::Frame(Frame::Output { time, .. }) = log.reader().try_next().unwrap() else {
        panic!()
    };
    assert_eq!(time, 7);
    assert_eq!(log.append(Stream::Stdout, 0, 7, b"\xff\0ab"), b"b");
    assert_eq!(log.append(Stream::Stdout, 1, 7, b"\0a"), b"");
    assert_eq!(log.append(Stream::Stderr, 0, 7, b"oh"), b"oh");
    assert_eq!(output(&mut reader), (b"\xff\0ab".to_vec(), b"oh".to_vec(), None));
    log.exited(&exit(3), 0, 7);
    assert_eq!(log.append(Stream::Stdout, 4, 7, b"late"), b"");
    assert_eq!(output(&mut reader), (vec![], vec![], Some(0)));
    assert_eq!(reader.try_next().unwrap(), Next::End);
    assert_eq!(log.stderr_tail(), "oh");
}

#[test]
fn a_stream_keeps_its_first_mebibyte_and_counts_the_rest() {
    let spool = Spool::open(&crate::testing::directory("spool-limit")).unwrap();
    let log = spool.fresh("u", 1);
    let piece = vec![b'x'; 100_000];
    for index in 0..20 {
        assert_eq!(log.append(Stream::Stdout, index * 100_000, 7, &piece).len(), 100_000);
    }
    log.append(Stream::Stderr, 0, 7, b"still");
    log.exited(&exit(0), 5, 7);
    let (stdout, stderr, dropped) = output(&mut log.reader());
    assert_eq!(stdout.len() as u64, STREAM_BYTES);
    assert_eq!(stderr, b"still");
    assert_eq!(dropped, Some(2_000_000 - STREAM_BYTES + 5));
}

#[test]
fn single_bytes_do_not_grow_the_file_beyond_its_limit() {
    let spool = Spool::open(&crate::testing::directory("spool-small")).unwrap();
    let log = spool.fresh("u", 1);
    for index in 0..400_000 {
        log.append(Stream::Stdout, index, 7, b"x");
    }
    let length = log.rest().0.length;
    assert!(length <= 4 * 1024 * 1024, "{length}");
}

#[test]
fn offsets_of_a_hostile_server_are_survived() {
    let spool = Spool::open(&crate::testing::directory("spool-hostile")).unwrap();
    let log = spool.fresh("u", 1);
    assert_eq!(log.append(Stream::Stdout, u64::MAX, 7, b"far"), b"far");
    assert_eq!(log.append(Stream::Stdout, u64::MAX - 1, 7, b"near"), b"ear");
    assert_eq!(log.append(Stream::Stdout, 0, 7, b""), b"");
    assert_eq!(Stream::from_wire(0), None);
    assert_eq!(Stream::from_wire(3), None);
}

#[test]
fn a_log_is_there_after_a_restart_and_a_torn_frame_is_not() {
    let control = crate::testing::directory("spool-restart");
    let spool = Spool::open(&control).unwrap();
    let ended = spool.fresh("ended", 1);
    ended.append(Stream::Stdout, 0, 7, b"all");
    ended.exited(&exit(3), 0, 7);
    let cut = spool.fresh("cut", 1);
    cut.append(Stream::Stdout, 0, 7, b"first");
    let path = control.join("logs/cut.1");
    let mut content = fs::read(&path).unwrap();
    content.extend([1, 5, 0, 0]);
    fs::write(&path, content).unwrap();
    let again = Spool::open(&control).unwrap();
    let log = again.find("ended").unwrap();
    assert_eq!(output(&mut log.reader()), (b"all".to_vec(), vec![], Some(0)));
    assert_eq!(log.exit().unwrap().exit_code, 3);
    let resumed = again.resume("cut", 1);
    assert_eq!(resumed.stage(), Stage::Started);
    assert_eq!(resumed.append(Stream::Stdout, 0, 7, b"first and more"), b" and more");
    assert_eq!(output(&mut resumed.reader()).0, b"first and more");
}

#[test]
fn the_newest_attempt_replaces_the_former_and_the_oldest_run_makes_room() {
    let spool = Spool::open(&crate::testing::directory("spool-room")).unwrap();
    let first = spool.fresh("u", 1);
    first.append(Stream::Stdout, 0, 7, b"one");
    let mut reads = first.reader();
    reads.try_next().unwrap();
    let second = spool.fresh("u", 2);
    assert!(first.is_before(2) && !first.is_before(1) && !second.is_before(2));
    second.append(Stream::Stdout, 0, 7, b"two");
    spool.retire(&first);
    assert_eq!(output(&mut spool.find("u").unwrap().reader()).0, b"two");
    assert_eq!(reads.try_next().unwrap(), Next::End, "who reads already reads on");
    assert_eq!(output(&mut first.reader()).0, b"", "the file is the second's");
    spool.retire(&second);
    let running = spool.fresh("running", 1);
    for index in 0..=ENDED_RUNS {
        let log = spool.fresh(&format!("r{index}"), 1);
        spool.retire(&log);
    }
    assert!(spool.find("u").is_none());
    assert!(spool.find("running").is_some());
    assert!(spool.find(&format!("r{ENDED_RUNS}")).is_some());
    assert_eq!(running.stage(), Stage::Waiting);
}

fn descriptors_of(directory: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let targets = links.filter_map(|link| fs::read_link(link.path()).ok());
    targets.filter(|target| target.starts_with(directory)).count()
}

#[test]
fn an_ended_log_holds_no_descriptor_and_is_read_all_the_same() {
    let control = crate::testing::directory("spool-descriptors");
    let spool = Spool::open(&control).unwrap();
    let (ended, killed) = (spool.fresh("ended", 1), spool.fresh("killed", 1));
    for log in [&ended, &killed] {
        log.append(Stream::Stdout, 0, 7, b"all");
    }
    assert_eq!(descriptors_of(&control), 2);
    ended.exited(&exit(0), 0, 7);
    spool.retire(&killed);
    assert_eq!(descriptors_of(&control), 0);
    let mut reader = ended.reader();
    assert_eq!(output(&mut reader), (b"all".to_vec(), vec![], Some(0)));
    assert_eq!(output(&mut killed.reader()).0, b"all");
    let again = Spool::open(&control).unwrap();
    assert_eq!(descriptors_of(&control), 1, "the reader's");
    assert_eq!(output(&mut again.find("ended").unwrap().reader()).0, b"all");
}

#[test]
fn a_log_goes_with_its_run() {
    let control = crate::testing::directory("spool-forget");
    let spool = Spool::open(&control).unwrap();
    for uid in ["a", "b", "c"] {
        let log = spool.fresh(uid, 1);
        log.append(Stream::Stdout, 0, 7, b"x");
        if uid != "c" {
            log.exited(&exit(0), 0, 7);
            spool.retire(&log);
        }
    }
    spool.forget("a");
    assert!(spool.find("a").is_none() && !control.join("logs/a.1").exists());
    spool.keep_only(&BTreeSet::new());
    assert!(spool.find("b").is_none() && !control.join("logs/b.1").exists());
    assert!(spool.find("c").is_some() && control.join("logs/c.1").exists(), "it has not ended");
}
