//! Commands with namespaces of their own that use more than they may.

use super::forks::Server;
use super::own::Isolated;
use super::{bash, command, finish};
use kruntimes_confine::{Allowance, Command, End, Excess, Network};

fn may(command: Command, allowance: Allowance) -> Command {
    Command { allowance, ..command }
}

pub(super) fn orphans_are_no_processes(own: &Isolated) {
    let place = own.place("own-orphans");
    let server = Server::start(&own.zygote);
    let allowance = Allowance { processes: Some(16), ..Allowance::default() };
    let script = "for i in {1..64}; do (true &); done; exec sleep 1";
    let bash = may(place.confine(bash(script), Network::Full), allowance.clone());
    assert_eq!(finish(own.zygote.spawn(&bash).unwrap()).1, End::Exited(0));
    let code = "import subprocess
subprocess.run(['bash', '-c', 'for i in {1..64}; do (true &); done; sleep 1'])";
    let forked = may(place.confine(command(&["python3", code]), Network::Full), allowance);
    assert_eq!(finish(server.spawn(&forked)).1, End::Exited(0));
}

pub(super) fn bombs_end(own: &Isolated) {
    let place = own.place("own-bombs");
    let hiding = "bomb() { [ $1 = 0 ] && exec sleep 20; \
    setsid bash -c \"$(declare -f bomb); bomb $(($1 - 1)) & bomb $(($1 - 1))\" & wait; }; bomb 10";
    let allowance = Allowance { processes: Some(128), ..Allowance::default() };
    let bomb = may(place.confine(bash(hiding), Network::Full), allowance);
    let ended = finish(own.zygote.spawn(&bomb).unwrap()).1;
    assert!(matches!(ended, End::Exceeded(Excess::Processes(_))), "{ended:?}");
    // The first process of the namespace is none of the command's.
    let script = "for i in 1 2 3 4; do sleep 1 & done; wait";
    for (processes, expected) in [(5, End::Exited(0)), (4, End::Exceeded(Excess::Processes(5)))] {
        let allowance = Allowance { processes: Some(processes), ..Allowance::default() };
        let command = may(place.confine(bash(script), Network::Full), allowance);
        assert_eq!(finish(own.zygote.spawn(&command).unwrap()).1, expected);
    }
}

/// Of files in `/dev/shm` and of segments that no process is attached to.
const HOLD: &[&str] = &[
    "import time
with open('/dev/shm/file', 'wb') as file: file.write(b'x' * (48 << 20))
time.sleep(1.5)",
    "import ctypes, time
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
at = libc.shmat(libc.shmget(0, 48 << 20, 0o600), None, 0)
ctypes.memset(at, 1, 48 << 20)
libc.shmdt(ctypes.c_void_p(at))
time.sleep(1.5)",
];

pub(super) fn memory_that_no_process_maps_counts(own: &Isolated) {
    let place = own.place("own-memory");
    let server = Server::start(&own.zygote);
    for code in HOLD {
        for (mib, fits) in [(128, true), (40, false)] {
            let allowance = Allowance { memory: Some(mib << 20), ..Allowance::default() };
            let args = ["/usr/bin/env", "python3", "-c", code];
            let started = may(place.confine(command(&args), Network::Full), allowance.clone());
            let forked = place.confine(command(&["python3", code]), Network::Full);
            let both = [own.zygote.spawn(&started).unwrap(), server.spawn(&may(forked, allowance))];
            for child in both {
                let ended = finish(child).1;
                match (own.granted(), fits) {
                    (true, true) => assert_eq!(ended, End::Exited(0), "{code}"),
                    (true, false) => {
                        assert!(
                            matches!(ended, End::Exceeded(Excess::Memory(_))),
                            "{ended:?}: {code}"
                        );
                    }
                    (false, _) => assert_ne!(ended, End::Exited(0), "{code}"),
                }
            }
        }
    }
    let deleted = "import os, time
file = open('/dev/shm/file', 'wb')
os.remove('/dev/shm/file')
file.write(b'x' * (8 << 20)); file.flush(); time.sleep(0.6)";
    let allowance = Allowance { disk: Some(4 << 20), ..Allowance::default() };
    let args = ["/usr/bin/env", "python3", "-c", deleted];
    let command = may(place.confine(command(&args), Network::Full), allowance);
    let expected = End::Exited(i32::from(!own.granted()));
    assert_eq!(finish(own.zygote.spawn(&command).unwrap()).1, expected, "it is no disk");
    let full = "head -c 65M /dev/zero > /dev/shm/file";
    let command = place.confine(bash(full), Network::Full);
    assert_eq!(finish(own.zygote.spawn(&command).unwrap()).1, End::Exited(1), "64 MiB are there");
}
