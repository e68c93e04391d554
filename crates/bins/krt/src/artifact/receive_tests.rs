//! Downloads from senders in the test's hand: busy, broken, cut, and lying.

use super::*;
use kruntimes_proto::artifact::v1::ArtifactMetadata;
use kruntimes_rules::artifact::Hash;
use serde_json::json;
use std::cell::RefCell;
use std::fs;

const CONTENT: &[u8] = b"0123456789abcdef";

fn artifact() -> ArtifactRef {
    let mut hash = Hash::new();
    hash.update(CONTENT);
    serde_json::from_value(json!({
        "name": "f", "driver": "filesystem", "type": "file", "location": {}, "digest": hash.finish(),
        "sizeBytes": CONTENT.len(), "createdAt": "2026-01-01T00:00:00Z",
    }))
    .unwrap()
}

/// One who gives out.
#[derive(Clone, Copy)]
enum Sender {
    Busy,
    /// As many bytes as it has until it is cut.
    Cut(usize),
    Whole,
    /// It does not know of offsets.
    Old,
    Other,
    Broken,
    TooMuch,
    Silent,
}

type Frames = tokio_stream::Iter<std::vec::IntoIter<Result<DownloadResponse, Status>>>;

fn frames(sender: Sender, offset: u64) -> Result<Answer<Frames>, Status> {
    let metadata = |name: &str| DownloadResponse {
        metadata: Some(ArtifactMetadata { name: name.to_owned(), ..ArtifactMetadata::default() }),
        data: Vec::new(),
    };
    let data = |data: &[u8]| Ok(DownloadResponse { metadata: None, data: data.to_vec() });
    let from = usize::try_from(offset).unwrap();
    let cut = || Err(Status::unavailable("the connection broke"));
    let (offset, all) = match sender {
        Sender::Busy => return Err(Status::resource_exhausted("16 downloads are under way")),
        Sender::Cut(length) => {
            let end = (from + length).min(CONTENT.len());
            (offset, vec![Ok(metadata("f")), data(&CONTENT[from..end]), cut()])
        }
        Sender::Whole => {
            let middle = from.midpoint(CONTENT.len());
            (
                offset,
                vec![Ok(metadata("f")), data(&CONTENT[from..middle]), data(&CONTENT[middle..])],
            )
        }
        Sender::Old => (0, vec![Ok(metadata("f")), data(CONTENT)]),
        Sender::Other => (offset, vec![Ok(metadata("g")), data(CONTENT)]),
        Sender::Broken => {
            let broken = Err(Status::data_loss("its digest is not what was kept"));
            (0, vec![Ok(metadata("f")), data(b"xxxx"), broken])
        }
        Sender::TooMuch => (0, vec![Ok(metadata("f")), data(CONTENT), data(b"more")]),
        Sender::Silent => (offset, vec![]),
    };
    Ok(Answer { offset, frames: tokio_stream::iter(all) })
}

/// The answer of a download from these, where `there` is left of an earlier one; and the file, the hidden one, and the offsets.
async fn received(
    senders: &[Sender],
    there: Option<&[u8]>,
) -> (Result<(), String>, Option<Vec<u8>>, Vec<Vec<u8>>, Vec<u64>) {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("f");
    let artifact = artifact();
    if let Some(there) = there {
        let mut part = Part::open(&target, &artifact).unwrap();
        part.write(there).unwrap();
        part.keep();
    }
    let offsets = RefCell::new(Vec::new());
    let mut part = Part::open(&target, &artifact).unwrap();
    let progress = Progress::new(false);
    let nobody = "nobody is there".to_owned();
    let receiving = Receiving { artifact: &artifact, target: &target, progress: &progress, nobody };
    let numbers: Vec<usize> = (0..senders.len()).collect();
    let ask = async |number: &usize, offset: u64| {
        offsets.borrow_mut().push(offset);
        frames(senders[*number], offset)
    };
    let got = receiving.take_from_any(&mut part, async || Ok(numbers.clone()), ask).await;
    let got = match got {
        Ok(()) => part.persist(&target).map_err(|failure| failure.lines.concat()),
        Err(failure) => {
            drop(part);
            Err(failure.lines.concat())
        }
    };
    let whole = fs::read(&target).ok();
    let others = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let others = others.filter(|path| *path != target).map(|path| fs::read(path).unwrap());
    (got, whole, others.collect(), offsets.into_inner())
}

#[tokio::test]
async fn who_is_busy_broken_or_cut_is_passed_over_and_the_next_goes_on() {
    use Sender::{Broken, Busy, Cut, Old, Other, Silent, TooMuch, Whole};
    for (senders, there, offsets) in [
        (vec![Whole], None, vec![0]),
        (vec![Busy, Whole], None, vec![0, 0]),
        (vec![Cut(4), Cut(3), Whole], None, vec![0, 4, 7]),
        (vec![Cut(7)], None, vec![0, 7, 14]),
        (vec![Other, Whole], None, vec![0, 0]),
        (vec![Broken, Whole], None, vec![0, 0]),
        (vec![TooMuch, Whole], None, vec![0, 0]),
        (vec![Silent, Whole], None, vec![0, 0]),
        (vec![Cut(4), Old], None, vec![0, 4]),
        (vec![Whole], Some(&CONTENT[..9]), vec![9]),
        (vec![Whole], Some(CONTENT), vec![16]),
        // What an earlier one left is not the beginning of it.
        (vec![Whole, Whole], Some(&b"012345678x"[..]), vec![10, 0]),
        (vec![Whole], Some(&b"0123456789abcdefg"[..]), vec![0]),
    ] {
        let (got, whole, others, asked) = received(&senders, there).await;
        assert_eq!(got, Ok(()), "{offsets:?}");
        assert_eq!((whole.as_deref(), asked), (Some(CONTENT), offsets));
        assert_eq!(others, Vec::<Vec<u8>>::new(), "nothing is left beside it");
    }
}

#[tokio::test]
async fn what_can_not_be_had_says_why_and_leaves_nothing_that_is_wrong() {
    use Sender::{Broken, Busy, Cut, Other, TooMuch};
    for (senders, why, left) in [
        (vec![], "\"f\" can't be downloaded: nobody is there", None),
        (
            vec![Busy, Other],
            "0: 16 downloads are under way; 1: it answers with something else",
            None,
        ),
        (vec![Broken], "0: its digest is not what was kept", None),
        (vec![TooMuch], "0: it sends more than the Run has left", None),
        (
            vec![Cut(0)],
            "0: the connection broke; 9 of 16 bytes came, and the same command goes on from there",
            Some(&CONTENT[..9]),
        ),
    ] {
        let (got, whole, others, _) = received(&senders, left).await;
        let error = got.unwrap_err();
        assert!(error.ends_with(why), "{error}");
        assert_eq!(whole, None);
        assert_eq!(others, left.map(<[u8]>::to_vec).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn one_krt_at_a_time_downloads_to_a_place() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("f");
    let mut first = Part::open(&target, &artifact()).unwrap();
    let second = Part::open(&target, &artifact()).unwrap_err();
    assert!(second.lines[0].contains("by another krt"), "{:?}", second.lines);
    first.write(CONTENT).unwrap();
    first.persist(&target).unwrap();
    assert_eq!(Part::open(&target, &artifact()).unwrap().length(), 0);
    // A link that somebody has put there is not followed.
    let hidden = super::super::part::prefix(&target);
    let other = directory.path().join("other");
    fs::write(&other, "mine").unwrap();
    let part = Part::open(&target, &artifact()).unwrap();
    drop(part);
    let digits = artifact().digest.unwrap()[7..23].to_owned();
    std::os::unix::fs::symlink(&other, directory.path().join(format!("{hidden}{digits}"))).unwrap();
    assert!(Part::open(&target, &artifact()).is_err());
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
}

#[test]
fn a_bar_is_drawn_now_and_then() {
    let mut bar = Bar::new(1 << 20);
    let at = |millis: u64| bar.begun + Duration::from_millis(millis);
    let (first, soon, later) = (at(1000), at(1050), at(2000));
    let line = "[=====               ]  25 %  2.0 of 8.0 MiB  1.0 MiB/s";
    assert_eq!(bar.line(2 << 20, 8 << 20, first).as_deref(), Some(line));
    assert_eq!(bar.line(3 << 20, 8 << 20, soon), None);
    let line = "[====================] 100 %  8.0 of 8.0 MiB  3.5 MiB/s";
    assert_eq!(bar.line(8 << 20, 8 << 20, later).as_deref(), Some(line));
    assert_eq!(Bar::new(0).line(0, 0, later), None);
}
