//! Commands that use more than they may, and others that use just as much.

use super::{bash, command, confined, finish, forks};
use kruntimes_confine::{Allowance, Command, End, Excess, Network, Zygote};
use std::ffi::CString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn may(command: Command, allowance: Allowance) -> Command {
    Command { allowance, ..command }
}

fn python(code: &str) -> Command {
    command(&["/usr/bin/env", "python3", "-c", code])
}

fn end(zygote: &Zygote, command: &Command) -> End {
    finish(zygote.spawn(command).unwrap()).1
}

/// Touches so much memory in two processes, which share a part, and stays for two looks.
const USE_MEMORY: &str = "
import os, sys, time
shared = b'x' * (16 << 20)
child = os.fork()
own = b'y' * (8 << 20)
time.sleep(1)
if child: os.wait()
";

pub(super) fn memory(zygote: &Zygote) {
    let with = |mib: u64| Allowance { memory: Some(mib * MIB), ..Allowance::default() };
    // 16 that are shared, and two times 8, beside the interpreter's own.
    assert_eq!(end(zygote, &may(python(USE_MEMORY), with(48))), End::Exited(0));
    let ended = end(zygote, &may(python(USE_MEMORY), with(24)));
    let End::Exceeded(Excess::Memory(used)) = ended else { panic!("{ended:?}") };
    assert!((24 * MIB..48 * MIB).contains(&used), "{used}");
    let bomb = "blocks = []\nwhile True: blocks.append(b'x' * (1 << 20))";
    let started = Instant::now();
    let ended = end(zygote, &may(python(bomb), with(64)));
    assert!(matches!(ended, End::Exceeded(Excess::Memory(_))), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let file = "
import os, time
file = os.memfd_create('hidden')
for _ in range(128): os.write(file, b'x' * (1 << 20))
time.sleep(10)";
    let ended = end(zygote, &may(python(file), with(64)));
    assert!(matches!(ended, End::Exceeded(Excess::Memory(_))), "{ended:?}");
}

pub(super) fn processes(zygote: &Zygote) {
    // bash itself and so many others.
    let script = "for i in 1 2 3 4; do sleep 1 & done; wait";
    let with = |processes| Allowance { processes: Some(processes), ..Allowance::default() };
    assert_eq!(end(zygote, &may(bash(script), with(5))), End::Exited(0));
    assert_eq!(end(zygote, &may(bash(script), with(4))), End::Exceeded(Excess::Processes(5)));
}

/// So many processes, each in a session of its own, of which the first tells whether they yield to others.
const CROWD: &str = "
import os, sys, time
def is_nice(pid):
    return os.getpriority(os.PRIO_PROCESS, pid) == 5
def yields(pid):
    path = f'/proc/{pid}/autogroup'
    return not os.path.exists(path) or open(path).read().endswith('nice 5\\n')
children = []
for number in range(int(sys.argv[1]) - 1):
    child = os.fork()
    if child == 0:
        os.setsid()
        time.sleep(20)
        os._exit(0)
    children.append(child)
until = time.monotonic() + float(sys.argv[2])
while time.monotonic() < until:
    if all(map(is_nice, children)) and any(map(yields, children)):
        sys.exit(5)
    time.sleep(0.01)
sys.exit(len([child for child in children if is_nice(child)]))
";

pub(super) fn a_crowd_yields_to_others(zygote: &Zygote) {
    let crowd = |count: &str, seconds: &str| {
        let command = command(&["/usr/bin/env", "python3", "-c", CROWD, count, seconds]);
        let allowance = Allowance { processes: Some(100), ..Allowance::default() };
        end(zygote, &may(command, allowance))
    };
    assert_eq!(crowd("9", "10"), End::Exited(5));
    assert_eq!(crowd("8", "1"), End::Exited(0));
}

pub(super) fn disk(zygote: &Zygote) {
    let place = std::env::temp_dir().join(format!("kruntimes-disk-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let place = Place(place);
    let fill = |mib: u64| format!("head -c {mib}M /dev/zero > file; sleep 0.5; exit 7");
    assert_eq!(end(zygote, &place.may(bash(&fill(4)), 5)), End::Exited(7));
    for script in [
        fill(8),
        // Gone before a look could find it: the last one does.
        "head -c 8M /dev/zero > file".to_owned(),
        "exec 3>file; rm file; head -c 8M /dev/zero >&3; exec sleep 10".to_owned(),
        "mkdir -p a/b/c; for i in 1 2 3 4 5 6 7 8; do head -c 1M /dev/zero > a/b/c/$i; done; exec sleep 10".to_owned(),
        "while :; do head -c 1M /dev/zero >> file; done".to_owned(),
    ] {
        let ended = end(zygote, &place.may(bash(&script), 5));
        assert!(matches!(ended, End::Exceeded(Excess::Disk(_))), "{script}: {ended:?}");
        let _ = fs::remove_file(place.0.join("file"));
    }
}

struct Place(PathBuf);

impl Place {
    fn may(&self, command: Command, mib: u64) -> Command {
        let place = CString::new(self.0.to_str().unwrap()).unwrap();
        let disk = Some(mib * MIB);
        let allowance = Allowance { disk, places: vec![place.clone()], ..Allowance::default() };
        Command { working_dir: place, ..may(command, allowance) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// No more than a thousand or two processes, should nothing end it. In one process group; and each in a session of its own, which only the confined are caught in before the machine is full.
pub(super) fn a_fork_bomb_ends(zygote: &Zygote) {
    let place = confined::Place::new("bombs");
    let hiding = "bomb() { [ $1 = 0 ] && exec sleep 20; \
    setsid bash -c \"$(declare -f bomb); bomb $(($1 - 1)) & bomb $(($1 - 1))\" & wait; }; bomb 10";
    for bomb in [
        "bomb() { [ $1 = 0 ] && exec sleep 20; \
    bomb $(($1 - 1)) | bomb $(($1 - 1)) & wait; }; bomb 10",
        hiding,
    ] {
        let allowance = Allowance { processes: Some(128), ..Allowance::default() };
        let command = place.confine(may(bash(bomb), allowance), Network::Full);
        let started = Instant::now();
        let ended = end(zygote, &command);
        assert!(matches!(ended, End::Exceeded(Excess::Processes(_))), "{ended:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

pub(super) fn forks(zygote: &Zygote) {
    let server = forks::Server::start(zygote);
    let with = |mib: u64| Allowance { memory: Some(mib * MIB), ..Allowance::default() };
    let code = "import time; block = b'x' * (32 << 20); time.sleep(0.5)";
    for (mib, passes) in [(40, true), (24, false)] {
        let command = may(command(&["python3", code]), with(mib));
        let ended = finish(server.spawn(&command)).1;
        match passes {
            true => assert_eq!(ended, End::Exited(0)),
            false => assert!(matches!(ended, End::Exceeded(Excess::Memory(_))), "{ended:?}"),
        }
    }
    let script = "for _ in range(4): os.fork()\nimport time; time.sleep(1)";
    let allowance = Allowance { processes: Some(15), ..Allowance::default() };
    let ended = finish(server.spawn(&may(command(&["python3", script]), allowance))).1;
    assert_eq!(ended, End::Exceeded(Excess::Processes(16)));
}
