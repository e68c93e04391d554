//! Commands that use memory where a look does not find it at once.

use super::confined::Place;
use super::{command, finish};
use kruntimes_confine::{Allowance, Command, End, Excess, Network, Zygote};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Keeps 40 MiB twice: each is less than the limit, and both together are not.
const BOTH_KINDS: &str = "
import mmap, os, time
size = 40 << 20
mapped = mmap.mmap(-1, size)
for at in range(0, size, 1 << 20): mapped[at:at + (1 << 20)] = b'x' * (1 << 20)
file = os.memfd_create('file')
for _ in range(40): os.write(file, b'x' * (1 << 20))
time.sleep(2)";

/// Keeps 40 MiB once, and maps it in two processes.
const ONCE: &str = "
import mmap, os, time
size = 40 << 20
file = os.memfd_create('file')
os.ftruncate(file, size)
os.fork()
mapped = mmap.mmap(file, size)
for at in range(0, size, 1 << 20): mapped[at:at + (1 << 20)] = b'x' * (1 << 20)
time.sleep(2)";

/// Keeps 96 MiB in a process whose first thread has ended.
const WITHOUT_A_FIRST_THREAD: &str = "
import ctypes, os, threading, time
def hold():
    time.sleep(0.2)
    held = b'x' * (96 << 20)
    time.sleep(2)
    os._exit(0)
threading.Thread(target=hold).start()
ctypes.CDLL(None).pthread_exit(None)";

/// Makes 8 MiB at a time and sends them to itself.
const ON_ITS_WAY: &str = "
import os, socket, time
ends = socket.socketpair()
for _ in range(12):
    file = os.memfd_create('file')
    for _ in range(8): os.write(file, b'x' * (1 << 20))
    socket.send_fds(ends[0], [b'x'], [file])
    os.close(file)
time.sleep(20)";

/// The same by a copy of the interpreter that its user may not read.
const UNREADABLE: &str = "
import os, shutil, sys
shutil.copy(os.path.realpath(sys.executable), 'program')
os.chmod('program', 0o111)
code = 'import os, time; file = os.memfd_create(\"file\"); [os.write(file, bytes(1 << 20)) for _ in range(96)]; time.sleep(20)'
os.execve('./program', ['program', '-c', code], dict(os.environ, PYTHONHOME=sys.prefix))";

/// Sends descriptors to itself, and takes them, for longer than anybody may hide.
const NOW_AND_THEN: &str = "
import os, socket, time
ends = socket.socketpair()
until = time.monotonic() + 6
while time.monotonic() < until:
    socket.send_fds(ends[0], [b'x'], [0])
    time.sleep(0.02)
    for fd in socket.recv_fds(ends[1], 1, 1)[1]: os.close(fd)
    time.sleep(0.02)";

fn run(zygote: &Zygote, place: &Place, code: &str) -> (End, Duration) {
    let allowance = Allowance { memory: Some(64 * MIB), ..Allowance::default() };
    let command = command(&["/usr/bin/env", "python3", "-c", code]);
    let command = place.confine(Command { allowance, ..command }, Network::Full);
    let began = Instant::now();
    (finish(zygote.spawn(&command).unwrap()).1, began.elapsed())
}

pub(super) fn memory_that_hides_counts(zygote: &Zygote) {
    let place = Place::new("hidden");
    for code in [BOTH_KINDS, WITHOUT_A_FIRST_THREAD] {
        let ended = run(zygote, &place, code).0;
        let End::Exceeded(Excess::Memory(used)) = ended else { panic!("{ended:?}: {code}") };
        assert!((64 * MIB..128 * MIB).contains(&used), "{used}: {code}");
    }
    assert_eq!(run(zygote, &place, ONCE).0, End::Exited(0));
}

pub(super) fn what_cannot_be_counted_ends(zygote: &Zygote) {
    let place = Place::new("uncounted");
    let (ended, time) = run(zygote, &place, ON_ITS_WAY);
    assert_eq!(ended, End::Exceeded(Excess::Uncounted));
    assert!(time < Duration::from_secs(15), "{time:?}");
    let (ended, time) = run(zygote, &place, UNREADABLE);
    // A supervisor of root may look into it.
    let is_root = rustix::process::geteuid().is_root();
    let End::Exceeded(excess) = ended else { panic!("{ended:?}") };
    assert_eq!(matches!(excess, Excess::Memory(_)), is_root, "{excess:?}");
    assert!(time < Duration::from_secs(15), "{time:?}");
    assert_eq!(run(zygote, &place, NOW_AND_THEN).0, End::Exited(0));
}
