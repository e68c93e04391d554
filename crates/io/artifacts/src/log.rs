//! The log of an attempt that has ended, in the store beside the artifacts: under a fixed key, referred to by nobody.
//!
//! It is the file that the pod had, frame by frame. What comes back is hostile: no more is read of it than a log may have.

use crate::KeepError;
use crate::frame::Frame;
use crate::keep::Stop;
use crate::store::{Artifact, Place, Store, UNWRITTEN};
use kruntimes_api::ArtifactType;
use std::fs::File;
use std::io::{self, Read, Seek};

/// Bytes of a log at most, headers included: a stream of single bytes must not cost more.
pub const LOG_BYTES: u64 = 4 << 20;
const MODE: u32 = 0o600;

/// Keeps the log of an attempt, in place of what was kept of it before. `logs` is [`Store::logs`].
///
/// # Errors
/// The store failed, or `stop` was fired.
pub fn keep_log(
    logs: &Store,
    place: Place<'_>,
    attempt: i32,
    mut file: &File,
    stop: &Stop,
) -> Result<(), KeepError> {
    let name = attempt.to_string();
    let artifact = Artifact { name: &name, mode: MODE, kind: ArtifactType::Blob };
    logs.put(place, artifact, stop, |target| {
        let failed = KeepError::store(UNWRITTEN);
        file.rewind().map_err(&failed)?;
        io::copy(&mut file.take(LOG_BYTES), target).map(drop).map_err(&failed)
    })
}

/// Opens what is kept of an attempt, if there is something.
///
/// # Errors
/// The store failed.
pub fn open_log(
    logs: &Store,
    place: Place<'_>,
    attempt: i32,
    stop: &Stop,
) -> io::Result<Option<ArchivedLog>> {
    match logs.open(place, &attempt.to_string(), stop) {
        Ok(opened) => Ok(Some(ArchivedLog(Box::new(opened.bytes.take(LOG_BYTES))))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A log that is read from its beginning.
pub struct ArchivedLog(Box<dyn Read + Send>);

impl ArchivedLog {
    /// The next frame; none at the end.
    ///
    /// # Errors
    /// The store failed.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        Frame::read_from(&mut self.0)
    }
}

impl std::fmt::Debug for ArchivedLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ArchivedLog").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Stream;
    use std::collections::BTreeSet;
    use std::fs;
    use std::io::Write;

    const PLACE: Place<'static> = Place::of("ns", "u-1");

    fn frame(data: &[u8]) -> Frame {
        Frame::Output { stream: Stream::Stdout, offset: 0, time: 5, data: data.to_vec() }
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read(store: &Store, attempt: i32) -> Option<Vec<Frame>> {
        let mut log = open_log(&store.logs(), PLACE, attempt, &Stop::default()).unwrap()?;
        let mut frames = Vec::new();
        while let Some(frame) = log.next_frame().unwrap() {
            frames.push(frame);
        }
        Some(frames)
    }

    #[test]
    fn a_log_comes_back_and_is_none_of_the_runs_artifacts() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::volume(root.path().to_owned());
        let (first, second) = (frame(b"a\xff\n"), frame(b"again"));
        let keep = |attempt, frame: &Frame| {
            let file = file(&frame.encode());
            keep_log(&store.logs(), PLACE, attempt, &file, &Stop::default()).unwrap();
        };
        keep(1, &first);
        keep(2, &frame(b"replaced"));
        keep(2, &second);
        assert_eq!(read(&store, 1), Some(vec![first]));
        assert_eq!(read(&store, 2), Some(vec![second]));
        assert_eq!(read(&store, 3), None);
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &fs::metadata(root.path().join("logs/namespaces/ns/runs/u-1/1")).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        // What goes with the artifacts that a Run does not refer to is no log.
        store.retain(PLACE, &BTreeSet::new(), &Stop::default()).unwrap();
        assert!(read(&store, 1).is_some());
        assert_eq!(store.logs().runs().unwrap(), [("ns".to_owned(), "u-1".to_owned())]);
        store.logs().remove(PLACE, &Stop::default()).unwrap();
        assert_eq!(read(&store, 1), None);
    }

    #[test]
    fn what_somebody_else_has_written_there_is_no_more_than_a_log() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::volume(root.path().to_owned());
        let good = frame(b"good");
        let kept = |bytes: &[u8]| {
            let own = root.path().join("logs/namespaces/ns/runs/u-1");
            fs::create_dir_all(&own).unwrap();
            fs::write(own.join("1"), bytes).unwrap();
            read(&store, 1).unwrap().len()
        };
        let torn = [good.encode(), good.encode()[..9].to_vec()].concat();
        assert_eq!(kept(&torn), 1);
        let mut huge = good.encode();
        huge[17..21].fill(0xff);
        assert_eq!(kept(&huge), 0);
        assert_eq!(kept(b"hello, this is no frame at all"), 0);
        let one = frame(&vec![0; 65_536]).encode();
        let many = one.repeat(100);
        assert_eq!(kept(&many), usize::try_from(LOG_BYTES).unwrap() / one.len());
    }
}
