//! What server, zygote and supervisor say to each other: packets of a few integers, and a start request whose strings
//! end in NUL, so that they are used where they lie.

use crate::sys::Program;
use crate::zygote::Command;
use crate::{Allowance, Network};
use std::ffi::{CStr, CString};

/// A start request up to this size travels in the packet, a larger one in a memfd.
pub(crate) const INLINE_BYTES: usize = 32 * 1024;
/// The largest start request that is taken.
pub(crate) const REQUEST_BYTES: u64 = 16 * 1024 * 1024;
/// What stands for no limit.
const UNLIMITED: u64 = u64::MAX;
const KIB: u64 = 1024;
pub(crate) const HEADER_BYTES: usize = 12;
pub(crate) const REPORT_BYTES: usize = 12;
pub(crate) const NOTICE_BYTES: usize = 16;

/// What the server asks the zygote for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Start the command that follows in this packet.
    Inline,
    /// Start the command that the fourth descriptor holds.
    InFile,
    /// Find out which namespaces can be had, and take them: the covers and what stays writable follow, and a socket for the
    /// answer.
    Isolate,
    /// Kill the supervisor: it does not answer.
    Abandon,
    /// Start the fork server that follows in this packet; the descriptor is its end of a socket.
    ForkServer,
    /// The same, and the second descriptor holds the command.
    ForkServerInFile,
}

/// How a command is bounded, as the request says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounding {
    /// Which sockets it may make; nothing for a command that is not confined.
    pub(crate) network: Option<Network>,
    /// Whether Landlock's rules follow behind control and output.
    pub(crate) has_rules: bool,
    /// Whether it has namespaces of its own.
    pub(crate) has_view: bool,
}

/// What a request says of its command.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    pub(crate) program: Program<'a>,
    pub(crate) working_dir: &'a CStr,
    pub(crate) bounding: Bounding,
    pub(crate) allowance: Allowance,
    /// The steps of its [`View`](crate::View), and what its own memory may hold.
    pub(crate) steps: Vec<(&'a CStr, &'a CStr)>,
    pub(crate) memory_bytes: u64,
}

impl Bounding {
    fn encode(self) -> u32 {
        let network = match self.network {
            None => 0,
            Some(Network::Full) => 1,
            Some(Network::None) => 2,
        };
        network | u32::from(self.has_rules) << 2 | u32::from(self.has_view) << 3
    }

    fn decode(bits: u32) -> Option<Self> {
        let network = match bits & 0b11 {
            0 => None,
            1 => Some(Network::Full),
            2 => Some(Network::None),
            _ => return None,
        };
        let (has_rules, has_view) = (bits & 0b100 != 0, bits & 0b1000 != 0);
        (bits >> 4 == 0).then_some(Self { network, has_rules, has_view })
    }
}

/// What the server asks a supervisor for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Terminate,
    Kill,
}

/// What a supervisor tells the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The command runs, as this process.
    Started(i32),
    /// The command and everything that it started is gone.
    Ended(End),
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The main process exited with this code.
    Exited(i32),
    /// The main process was ended by this signal.
    Signaled(i32),
    /// It used more than it may, and was killed.
    Exceeded(Excess),
    /// Nothing was executed.
    NotStarted {
        /// The step that failed.
        stage: Stage,
        /// The system's error number.
        errno: i32,
    },
}

/// More than a command may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// So many bytes of memory.
    Memory(u64),
    /// So many processes.
    Processes(u64),
    /// So many bytes on disk.
    Disk(u64),
    /// What can't be counted, for too long: whoever has a limit may not hide from it.
    Uncounted,
}

/// The steps of a start that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making the supervisor or reading the request.
    Supervisor,
    /// Making the command's namespaces.
    Namespaces,
    /// Entering the working directory.
    WorkingDirectory,
    /// Executing the program.
    Execute,
}

/// What a fork server tells the zygote about a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Notice {
    /// It forked the supervisor of this key; its control socket and its handle follow.
    Forked { pid: i32, key: u64 },
    /// It has reaped a supervisor.
    Reaped { pid: i32, status: u64 },
}

pub(crate) fn header(request: Request, key: u64) -> [u8; HEADER_BYTES] {
    let kind: u32 = match request {
        Request::Inline => 1,
        Request::InFile => 2,
        Request::Abandon => 3,
        Request::ForkServer => 4,
        Request::ForkServerInFile => 5,
        Request::Isolate => 6,
    };
    let mut bytes = [0; HEADER_BYTES];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..].copy_from_slice(&key.to_le_bytes());
    bytes
}

pub(crate) fn parse_header(packet: &[u8]) -> Option<(Request, u64, &[u8])> {
    let (kind, rest) = packet.split_first_chunk()?;
    let (key, body) = rest.split_first_chunk()?;
    let request = match u32::from_le_bytes(*kind) {
        1 => Request::Inline,
        2 => Request::InFile,
        3 => Request::Abandon,
        4 => Request::ForkServer,
        5 => Request::ForkServerInFile,
        6 => Request::Isolate,
        _ => return None,
    };
    Some((request, u64::from_le_bytes(*key), body))
}

pub(crate) fn encode_command(command: &Command) -> Vec<u8> {
    let Command { program, working_dir, args, env, confinement, allowance } = command;
    let view = confinement.as_ref().and_then(|it| it.view.as_ref());
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
    let count = |strings: &[CString]| number(strings.len());
    let bounding = Bounding {
        network: confinement.as_ref().map(|it| it.network),
        has_rules: confinement.as_ref().is_some_and(|it| it.files.is_some()),
        has_view: view.is_some(),
    };
    let (steps, own_memory) =
        view.map_or((&[][..], 0), |view| (view.steps.as_slice(), view.memory_bytes));
    let mut bytes = Vec::with_capacity(256);
    bytes.extend(count(args));
    bytes.extend(count(env));
    bytes.extend(bounding.encode().to_le_bytes());
    bytes.extend(count(&allowance.places));
    bytes.extend(number(steps.len()));
    for number in [allowance.memory, allowance.processes, allowance.disk] {
        bytes.extend(number.unwrap_or(UNLIMITED).to_le_bytes());
    }
    bytes.extend(own_memory.to_le_bytes());
    let strings = [program, working_dir].into_iter().chain(args).chain(env);
    let steps = steps.iter().flat_map(|(source, target)| [source, target]);
    for string in strings.chain(&allowance.places).chain(steps) {
        bytes.extend(string.to_bytes_with_nul());
    }
    bytes
}

/// The command of a request, or nothing when the bytes are none.
pub(crate) fn parse_command(body: &[u8]) -> Option<Parsed<'_>> {
    let (args, rest) = body.split_first_chunk()?;
    let (env, rest) = rest.split_first_chunk()?;
    let (bounding, rest) = rest.split_first_chunk()?;
    let (places, rest) = rest.split_first_chunk()?;
    let (steps, rest) = rest.split_first_chunk()?;
    let (memory, rest) = rest.split_first_chunk()?;
    let (processes, rest) = rest.split_first_chunk()?;
    let (disk, rest) = rest.split_first_chunk()?;
    let (own_memory, mut rest) = rest.split_first_chunk()?;
    let limit = |bytes: &[u8; 8]| Some(u64::from_le_bytes(*bytes)).filter(|it| *it != UNLIMITED);
    let bounding = Bounding::decode(u32::from_le_bytes(*bounding))?;
    let mut next = || {
        let string = CStr::from_bytes_until_nul(rest).ok()?;
        rest = rest.get(string.to_bytes_with_nul().len()..)?;
        Some(string)
    };
    let path = next()?;
    let working_dir = next()?;
    let args = (0..u32::from_le_bytes(*args)).map(|_| next()).collect::<Option<_>>()?;
    let env = (0..u32::from_le_bytes(*env)).map(|_| next()).collect::<Option<_>>()?;
    let places = (0..u32::from_le_bytes(*places))
        .map(|_| next().map(CStr::to_owned))
        .collect::<Option<_>>()?;
    let steps =
        (0..u32::from_le_bytes(*steps)).map(|_| Some((next()?, next()?))).collect::<Option<_>>()?;
    let (memory, processes, disk) = (limit(memory), limit(processes), limit(disk));
    let allowance = Allowance { memory, processes, disk, places };
    let memory_bytes = u64::from_le_bytes(*own_memory);
    let program = Program { path, args, env };
    Some(Parsed { program, working_dir, bounding, allowance, steps, memory_bytes })
}

/// Two lists of paths, with an empty one between them.
pub(crate) fn encode_places(covers: &[CString], writable: &[CString]) -> Vec<u8> {
    let between = [c"".to_owned()];
    let all = covers.iter().chain(&between).chain(writable);
    all.flat_map(|place| place.to_bytes_with_nul()).copied().collect()
}

/// Nothing when the bytes are no such lists.
pub(crate) fn parse_places(body: &[u8]) -> Option<(Vec<&CStr>, Vec<&CStr>)> {
    let places = body.split_inclusive(|byte| *byte == 0);
    let mut covers: Vec<_> =
        places.map(|place| CStr::from_bytes_with_nul(place).ok()).collect::<Option<_>>()?;
    let between = covers.iter().position(|place| place.is_empty())?;
    let writable = covers.split_off(between).into_iter().skip(1).collect();
    Some((covers, writable))
}

pub(crate) fn parse_notice(packet: &[u8]) -> Option<Notice> {
    let (kind, rest) = packet.split_first_chunk()?;
    let (pid, rest) = rest.split_first_chunk()?;
    let pid = i32::from_le_bytes(*pid);
    let last = u64::from_le_bytes(rest.try_into().ok()?);
    match u32::from_le_bytes(*kind) {
        1 => Some(Notice::Forked { pid, key: last }),
        2 => Some(Notice::Reaped { pid, status: last }),
        _ => None,
    }
}

pub(crate) fn encode_order(order: Order) -> [u8; 1] {
    [match order {
        Order::Terminate => b'T',
        Order::Kill => b'K',
    }]
}

pub(crate) fn parse_order(byte: u8) -> Option<Order> {
    match byte {
        b'T' => Some(Order::Terminate),
        b'K' => Some(Order::Kill),
        _ => None,
    }
}

pub(crate) fn encode_report(report: Report) -> [u8; REPORT_BYTES] {
    let (kind, first, second): (i32, i32, i32) = match report {
        Report::Started(pid) => (1, pid, 0),
        Report::Ended(End::Exited(code)) => (2, code, 0),
        Report::Ended(End::Signaled(signal)) => (3, signal, 0),
        Report::Ended(End::Exceeded(excess)) => match excess {
            Excess::Memory(used) => (5, 0, rounded(used / KIB)),
            Excess::Processes(used) => (5, 1, rounded(used)),
            Excess::Disk(used) => (5, 2, rounded(used / KIB)),
            Excess::Uncounted => (5, 3, 0),
        },
        Report::Ended(End::NotStarted { stage, errno }) => (
            4,
            errno,
            match stage {
                Stage::Supervisor => 0,
                Stage::WorkingDirectory => 1,
                Stage::Execute => 2,
                Stage::Namespaces => 3,
            },
        ),
    };
    let mut bytes = [0; REPORT_BYTES];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..8].copy_from_slice(&first.to_le_bytes());
    bytes[8..].copy_from_slice(&second.to_le_bytes());
    bytes
}

/// As much of it as a report can say.
fn rounded(amount: u64) -> i32 {
    i32::try_from(amount).unwrap_or(i32::MAX)
}

pub(crate) fn parse_report(bytes: [u8; REPORT_BYTES]) -> Option<Report> {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
    let first = i32::from_le_bytes([e, f, g, h]);
    let second = i32::from_le_bytes([i, j, k, l]);
    let amount = u64::try_from(second).unwrap_or(0);
    let stage = match second {
        1 => Stage::WorkingDirectory,
        2 => Stage::Execute,
        3 => Stage::Namespaces,
        _ => Stage::Supervisor,
    };
    match i32::from_le_bytes([a, b, c, d]) {
        1 => Some(Report::Started(first)),
        2 => Some(Report::Ended(End::Exited(first))),
        3 => Some(Report::Ended(End::Signaled(first))),
        4 => Some(Report::Ended(End::NotStarted { stage, errno: first })),
        5 => Some(Report::Ended(End::Exceeded(match first {
            0 => Excess::Memory(amount * KIB),
            1 => Excess::Processes(amount),
            2 => Excess::Disk(amount * KIB),
            3 => Excess::Uncounted,
            _ => return None,
        }))),
        _ => None,
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
