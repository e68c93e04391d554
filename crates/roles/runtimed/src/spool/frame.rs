//! The frames of a log file: `kind u8, offset u64, time i64, length u32` (little endian), then the bytes.

use kruntimes_rules::run::outcome::Exit;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

pub(super) const HEADER_BYTES: usize = 21;
const EXITED: u8 = 3;
/// No frame is longer: what is longer was not written by us.
const FRAME_BYTES: usize = 64 * 1024;
/// The largest piece of output in one frame.
pub(super) const PIECE_BYTES: usize = FRAME_BYTES;

/// stdout or stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// The stream with this number on the wire.
    pub(crate) fn from_wire(number: i32) -> Option<Self> {
        match number {
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            _ => None,
        }
    }

    pub(crate) fn wire(self) -> i32 {
        self.index() as i32 + 1
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Output, with its offset in its stream and its time in nanoseconds since 1970.
    Output { stream: Stream, offset: u64, time: i64, data: Vec<u8> },
    /// The end, with the bytes that are not kept.
    Exited { exit: Exit, dropped: u64, time: i64 },
}

impl Frame {
    pub(super) fn encode(&self) -> Vec<u8> {
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
    pub(super) fn read(file: &File, position: u64) -> io::Result<Option<(Self, u64)>> {
        let mut header = [0_u8; HEADER_BYTES];
        if !read_whole(file, &mut header, position)? {
            return Ok(None);
        }
        let Some((kind, offset, time, length)) = decode_header(&header) else { return Ok(None) };
        if length > FRAME_BYTES {
            return Ok(None);
        }
        let mut data = vec![0_u8; length];
        if !read_whole(file, &mut data, position + HEADER_BYTES as u64)? {
            return Ok(None);
        }
        let frame = match Stream::from_wire(i32::from(kind)) {
            Some(stream) => Some(Self::Output { stream, offset, time, data }),
            None if kind == EXITED => decode_exit(&data, offset, time),
            None => None,
        };
        let after = position + (HEADER_BYTES + length) as u64;
        Ok(frame.map(|frame| (frame, after)))
    }
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

fn read_whole(file: &File, buffer: &mut [u8], position: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, position) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
