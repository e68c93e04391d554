//! The bounded output of an execution: the first bytes of each stream, whatever they are, and a count of the rest.

/// Bytes that are kept of each stream.
pub(crate) const STREAM_LIMIT: usize = 1024 * 1024;
/// Stands at the end of a stream that went on.
pub(crate) const TRUNCATED: &str = "\n[output truncated]\n";

/// The two streams, numbered as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error output.
    Stderr,
}

impl Stream {
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// What is kept of one stream.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    bytes: Vec<u8>,
    dropped: u64,
    /// Event that carries this stream's newest bytes, which the next bytes may still join.
    pub(crate) last_event: i64,
}

impl Kept {
    /// Takes what fits, and says where it begins and how much it is.
    pub(crate) fn take(&mut self, data: &[u8]) -> (usize, usize) {
        let offset = self.bytes.len();
        let length = data.len().min(STREAM_LIMIT - offset);
        self.bytes.extend_from_slice(&data[..length]);
        self.dropped += (data.len() - length) as u64;
        (offset, length)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// No more will come.
    pub(crate) fn seal(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// The stream as the text that a `string` field can hold, of at most `limit` bytes and the marker of a cut.
    pub(crate) fn text(&self, limit: usize) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if text.len() > limit {
            text.truncate(text.floor_char_boundary(limit));
            text.push_str(TRUNCATED);
        } else if self.dropped > 0 {
            text.push_str(TRUNCATED);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_are_kept_and_the_rest_counted() {
        let mut kept = Kept::default();
        assert_eq!(kept.take(&vec![b'a'; STREAM_LIMIT - 1]), (0, STREAM_LIMIT - 1));
        assert_eq!(kept.take(b"bcd"), (STREAM_LIMIT - 1, 1));
        assert_eq!(kept.take(b"e"), (STREAM_LIMIT, 0));
        assert_eq!((kept.bytes().len(), kept.dropped()), (STREAM_LIMIT, 3));
        assert!(kept.text(STREAM_LIMIT).ends_with("ab\n[output truncated]\n"));
    }

    #[test]
    fn any_bytes_become_text_of_bounded_size() {
        let mut kept = Kept::default();
        kept.take(b"a\xffb");
        assert_eq!(kept.text(STREAM_LIMIT), "a\u{fffd}b");
        // Three bytes for the replacement, which must not be cut in two.
        assert_eq!(kept.text(3), format!("a{TRUNCATED}"));
        let mut worst = Kept::default();
        worst.take(&vec![0xff; STREAM_LIMIT]);
        assert!(worst.text(STREAM_LIMIT).len() <= STREAM_LIMIT + TRUNCATED.len());
    }
}
