//! The frames of a log, on the disk of a pod and in a store: `kind u8, offset u64, time i64, length u32` (little endian), then
//! the bytes.

use kruntimes_rules::run::outcome::Exit;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// What a frame takes beside its bytes.
pub const HEADER_BYTES: usize = 21;
const EXITED: u8 = 3;
/// No frame is longer: what is longer was not written by us.
const FRAME_BYTES: usize = 64 * 1024;
/// The largest piece of output in one frame.
pub const PIECE_BYTES: usize = FRAME_BYTES;

/// stdout or stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// stdout.
    Stdout,
    /// stderr.
    Stderr,
}

impl Stream {
    /// The stream with this number on the wire.
    #[must_use]
    pub const fn from_wire(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }

    /// Its number on the wire.
    #[must_use]
    pub const fn wire(self) -> i32 {
        self.index() as i32 + 1
    }

    /// 0 or 1.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Output, with its offset in its stream and its time in nanoseconds since 1970.
    Output {
        /// Of which stream.
        stream: Stream,
        /// Of its first byte.
        offset: u64,
        /// When it was read.
        time: i64,
        /// The bytes.
        data: Vec<u8>,
    },
    /// The end, with the bytes that are not kept.
    Exited {
        /// How.
        exit: Exit,
        /// Bytes that are not kept.
        dropped: u64,
        /// When.
        time: i64,
    },
}

impl Frame {
    /// As bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, offset, time, data) = match self {
            Self::Output { stream, offset, time, data } => {
                (stream.index() as u8 + 1, *offset, *time, data.clone())
            }
            Self::Exited { exit, dropped, time } => {
                let mut data = exit.exit_code.to_le_bytes().to_vec();
                data.extend(exit.signal.to_le_bytes());
                data.extend(exit.error_message.as_bytes());
                data.truncate(FRAME_BYTES);
                (EXITED, *dropped, *time, data)
            }
        };
        let mut bytes = vec![kind];
        bytes.extend(offset.to_le_bytes());
        bytes.extend(time.to_le_bytes());
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
        bytes
    }

    /// The frame at `position` and the position after it; none when it is not whole.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn read(file: &File, position: u64) -> io::Result<Option<(Self, u64)>> {
        let mut header = [0_u8; HEADER_BYTES];
        if !is_whole(file.read_exact_at(&mut header, position))? {
            return Ok(None);
        }
        let Some(mut data) = room_for(&header) else { return Ok(None) };
        if !is_whole(file.read_exact_at(&mut data, position + HEADER_BYTES as u64))? {
            return Ok(None);
        }
        let after = position + (HEADER_BYTES + data.len()) as u64;
        Ok(Self::decode(&header, data).map(|frame| (frame, after)))
    }

    /// The next frame; none at the end, or where it is not whole.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn read_from(source: &mut impl Read) -> io::Result<Option<Self>> {
        let mut header = [0_u8; HEADER_BYTES];
        if !is_whole(source.read_exact(&mut header))? {
            return Ok(None);
        }
        let Some(mut data) = room_for(&header) else { return Ok(None) };
        if !is_whole(source.read_exact(&mut data))? {
            return Ok(None);
        }
        Ok(Self::decode(&header, data))
    }

    fn decode(header: &[u8], data: Vec<u8>) -> Option<Self> {
        let (kind, offset, time, _) = decode_header(header)?;
        match Stream::from_wire(i32::from(kind)) {
            Some(stream) => Some(Self::Output { stream, offset, time, data }),
            None if kind == EXITED => decode_exit(&data, offset, time),
            None => None,
        }
    }
}

/// As many bytes as the header says, if it is one of ours.
fn room_for(header: &[u8]) -> Option<Vec<u8>> {
    let (_, _, _, length) = decode_header(header)?;
    (length <= FRAME_BYTES).then(|| vec![0; length])
}

fn decode_header(header: &[u8]) -> Option<(u8, u64, i64, usize)> {
    let (kind, rest) = header.split_first()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (length, _) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    Some((*kind, u64::from_le_bytes(*offset), i64::from_le_bytes(*time), length))
}

fn decode_exit(data: &[u8], dropped: u64, time: i64) -> Option<Frame> {
    let (code, rest) = data.split_first_chunk()?;
    let (signal, message) = rest.split_first_chunk()?;
    let exit = Exit {
        exit_code: i32::from_le_bytes(*code),
        signal: i32::from_le_bytes(*signal),
        error_message: String::from_utf8_lossy(message).into_owned(),
        stderr_tail: String::new(),
    };
    Some(Frame::Exited { exit, dropped, time })
}

fn is_whole(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
