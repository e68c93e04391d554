//! Commands with namespaces of their own, where this machine grants them; where not, the same ones as without.

use super::confined::{Place, TRY, lines, said};
use super::forks::Server;
use super::{
    DAEMON, bash, command, confined, finish, is_gone, own_changes, own_limited, parent, read_line,
    reports, started, wait_for, watch,
};
use kruntimes_confine::{Command, End, Namespaces, Network, Report, Zygote};
use rustix::process::{Pid, Signal};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

pub(super) type Case = (&'static str, fn(&Isolated));

pub(super) const CASES: &[Case] = &[
    ("own::its_own_directories", its_own_directories),
    ("own::nothing_of_the_machine_changes", own_changes::nothing_of_the_machine_changes),
    ("own::nothing_of_others", nothing_of_others),
    ("own::refused_calls", refused_calls),
    ("own::shared_memory", shared_memory),
    ("own::forks", forks),
    ("own::ends_are_reported", ends_are_reported),
    ("own::who_is_told_ends", who_is_told_ends),
    ("own::nobody_is_left", nobody_is_left),
    ("own::a_killed_supervisor_leaves_nothing", a_killed_supervisor_leaves_nothing),
    ("own::orphans_are_no_processes", own_limited::orphans_are_no_processes),
    ("own::bombs_end", own_limited::bombs_end),
    ("own::memory_that_no_process_maps_counts", own_limited::memory_that_no_process_maps_counts),
    ("own::no_network", no_network),
    ("own::a_place_that_is_gone", a_place_that_is_gone),
];

/// Of those, what must be as without where namespaces are refused.
pub(super) const REFUSED: &[Case] = &[
    ("refused::its_own_directories", its_own_directories),
    ("refused::what_may_change", own_changes::nothing_of_the_machine_changes),
    ("refused::refused_calls", refused_calls),
    ("refused::shared_memory", shared_memory),
    ("refused::forks", forks),
    ("refused::nobody_is_left", nobody_is_left),
];

/// A zygote that was asked for namespaces, and its answer.
pub(super) struct Isolated {
    pub(super) zygote: Zygote,
    pub(super) namespaces: Option<Namespaces>,
}

impl Isolated {
    pub(super) fn start() -> Self {
        let zygote = Zygote::start().unwrap();
        let namespaces = zygote.isolate(&[], &[]).unwrap();
        Self { zygote, namespaces }
    }

    /// One that asked for what can't be had.
    pub(super) fn refused() -> Self {
        let zygote = Zygote::start().unwrap();
        let namespaces = zygote.isolate(&[c"/nowhere/to/cover".to_owned()], &[]).unwrap();
        assert_eq!(namespaces, None);
        Self { zygote, namespaces }
    }

    pub(super) fn place(&self, name: &str) -> Place {
        if self.namespaces.is_some() { Place::own(name) } else { Place::new(name) }
    }

    pub(super) fn granted(&self) -> bool {
        self.namespaces.is_some()
    }

    fn say(&self, place: &Place, args: &[&str]) -> String {
        said(self.zygote.spawn(&place.confine(command(args), Network::Full)).unwrap())
    }
}

/// Who has this process as its parent.
fn children(of: i32) -> BTreeSet<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

/// Processes that share the namespace of processes that this one is in.
fn together(pid: i32) -> Vec<i32> {
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own: Option<PathBuf> = namespace(pid);
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|other| own.is_some() && namespace(*other) == own).collect()
}

fn its_own_directories(own: &Isolated) {
    let place = own.place("own-directories");
    let script = format!(
        r#"{TRY}
for there in /tmp /var/tmp /dev/shm; do try $there bash -c "echo mine > $there/file && cat $there/file"; done
for there in / /proc /dev ..; do try "list-$there" ls $there; done
try ps bash -c 'test "$(ps -e -o comm= | grep -c bash)" -ge 1'
try here test "$(pwd)" = "$(readlink /proc/self/cwd)"
try workspace bash -c 'echo x > file && test "$(cat file)" = x'; try machine cat /proc/meminfo
try other cat ../other/secret; try other-there test -e ../other; try node mknod /tmp/node c 1 3
try image-write bash -c 'echo > /etc/kruntimes'; try memory bash -c 'head -c1 /proc/kcore'
try kernel bash -c 'echo 1 > /proc/sys/vm/drop_caches'; try unmount umount /tmp
[ $UID = 0 ] && kept=0xa80405fb || kept=0
while read -r name value; do
    case $name in
        CapPrm:|CapEff:) try $name test $((0x$value & ~kept)) = 0;; CapInh:|CapAmb:) try $name test $((0x$value)) = 0;;
        CapBnd:) try $name test $UID != 0 -o $((0x$value & ~kept)) = 0;;
    esac
done < /proc/self/status"#
    );
    let granted =
        ["/tmp", "/var/tmp", "/dev/shm", "list-/", "list-/proc", "list-/dev", "list-..", "ps"];
    let always = ["here", "workspace", "machine"];
    let refused = ["other", "other-there", "node", "image-write", "memory", "kernel", "unmount"];
    let expected: Vec<_> = granted
        .map(|name| (name, own.granted()))
        .into_iter()
        .chain(always.map(|name| (name, true)))
        .chain(refused.map(|name| (name, name == "other-there" && !own.granted())))
        .chain(["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(|name| (name, true)))
        .collect();
    assert_eq!(own.say(&place, &["/bin/bash", "-c", &script]), lines(&expected));
}

fn nothing_of_others(own: &Isolated) {
    let place = own.place("own-others");
    let script = "echo mine > /tmp/file; echo mine > /dev/shm/file; echo ready; exec sleep 1000";
    let mut victim = own.zygote.spawn(&place.confine(bash(script), Network::Full)).unwrap();
    assert_eq!(read_line(&mut victim.stdout), "ready");
    let pid = started(&victim);
    let supervisor = parent(pid);
    let look = format!(
        "{TRY}try tmp cat /tmp/file; try shm cat /dev/shm/file
         for pid in 1 {pid} {supervisor}; do
             try $pid-status cat /proc/$pid/status; try $pid-signal kill -0 $pid
             try $pid-root ls /proc/$pid/root/
         done"
    );
    for _beside_and_after in 0..2 {
        let seen = own.say(&place, &["/bin/bash", "-c", &look]);
        assert!(!seen.contains("yes"), "{seen}");
        assert_eq!(seen.lines().count(), 11);
        victim.control.kill();
    }
    assert_eq!(finish(victim).1, End::Signaled(9));
}

fn refused_calls(own: &Isolated) {
    let place = own.place("own-calls");
    let seen = own.say(&place, &["/usr/bin/env", "python3", "-c", confined::CALLS]);
    for line in seen.lines() {
        let of_its_own = line.starts_with("shmget ") || line.starts_with("mq_open ");
        let can = of_its_own && own.granted();
        assert!(line.ends_with(if can { " yes" } else { " no" }), "{line}");
    }
    assert_eq!(seen.lines().count(), 22);
}

/// A module of this name, since `spawn` imports it.
const SHARED: &str = r"
import multiprocessing as mp
from multiprocessing import shared_memory

def add(value, lock, array):
    with lock:
        value.value += 1
    array[0] = 7

if __name__ == '__main__':
    for way in ('fork', 'spawn'):
        context = mp.get_context(way)
        value, lock, array = context.Value('i', 1), context.Lock(), context.Array('d', 2)
        process = context.Process(target=add, args=(value, lock, array))
        process.start(); process.join()
        print(way, process.exitcode, value.value, array[0])
    memory = shared_memory.SharedMemory(create=True, size=4096)
    again = shared_memory.SharedMemory(name=memory.name)
    memory.buf[0] = 9
    print('shared', again.buf[0])
    again.close(); memory.close(); memory.unlink()
";

fn shared_memory(own: &Isolated) {
    let place = own.place("own-shared");
    let script = format!("cat > shared.py <<'CODE'\n{SHARED}\nCODE\npython3 shared.py 2>&1");
    let command = place.confine(bash(&script), Network::Full);
    let (output, end) = finish(own.zygote.spawn(&command).unwrap());
    let seen = String::from_utf8(output.stdout).unwrap();
    if own.granted() {
        assert_eq!(seen, "fork 0 2 7.0\nspawn 0 2 7.0\nshared 9\n");
        assert_eq!(end, End::Exited(0));
    } else {
        assert!(seen.contains("PermissionError"), "{seen}");
    }
}

fn forks(own: &Isolated) {
    let server = Server::start(&own.zygote);
    let place = own.place("own-forks");
    let code = r"
def attempt(name, do):
    try:
        print(name, 'yes' if do() is not False else 'no')
    except OSError:
        print(name, 'no')
def write(path):
    with open(path, 'x') as file:
        file.write('mine')
attempt('tmp', lambda: write('/tmp/file'))
attempt('shm', lambda: write('/dev/shm/file'))
attempt('list', lambda: os.listdir('/'))
attempt('processes', lambda: os.listdir('/proc'))
attempt('alone', lambda: not [name for name in os.listdir('/proc') if name.isdigit() and name != str(os.getpid())])
attempt('cwd', lambda: os.getcwd() == os.readlink('/proc/self/cwd'))
attempt('own', lambda: write('file-' + args[2]))
attempt('other', lambda: open('../other/secret').read())
attempt('init', lambda: os.kill(1, 0))
attempt('mount', lambda: libc.mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0)
def capabilities(name):
    return int(next(line for line in open('/proc/self/status') if line.startswith(name)).split()[1], 16)
kept = 0xa80405fb if os.geteuid() == 0 else 0
attempt('privileges', lambda: capabilities('CapAmb') != 0 or capabilities('CapInh') != 0)
attempt('few-privileges', lambda: (capabilities('CapPrm') | capabilities('CapEff')) & ~kept == 0)
attempt('bounded', lambda: os.geteuid() != 0 or capabilities('CapBnd') & ~kept == 0)
print(os.listdir('/proc/self/fd'))
";
    let granted = own.granted();
    for network in [Network::Full, Network::None] {
        for id in ["a", "b"] {
            let args = ["python3", code, &format!("{id}-{network:?}")];
            let seen = said(server.spawn(&place.confine(command(&args), network)));
            let can = ["tmp", "shm", "list", "processes", "alone"].map(|name| (name, granted));
            let expected = lines(&can)
                + &lines(&[("cwd", true), ("own", true), ("other", false), ("init", false)])
                + &lines(&[
                    ("mount", false),
                    ("privileges", false),
                    ("few-privileges", true),
                    ("bounded", true),
                ])
                + "['0', '1', '2', '3']\n";
            assert_eq!(seen, expected, "{network:?}");
        }
    }
}

fn ends_are_reported(own: &Isolated) {
    let place = own.place("own-ends");
    let server = Server::start(&own.zygote);
    for (script, code, expected) in [
        ("exit 0", "sys.exit(0)", End::Exited(0)),
        ("exit 7", "sys.exit(7)", End::Exited(7)),
        ("kill -KILL $$", "os.kill(os.getpid(), 9)", End::Signaled(9)),
        ("kill -TERM $$", "os.kill(os.getpid(), 15)", End::Signaled(15)),
    ] {
        let started = own.zygote.spawn(&place.confine(bash(script), Network::Full)).unwrap();
        assert_eq!(finish(started).1, expected, "{script}");
        let forked = place.confine(command(&["python3", code]), Network::Full);
        assert_eq!(finish(server.spawn(&forked)).1, expected, "{code}");
    }
}

fn who_is_told_ends(own: &Isolated) {
    let place = own.place("own-told");
    let server = Server::start(&own.zygote);
    let script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.1; done";
    // One that is orphaned when the main process ends may still take a part of the grace.
    let orphan = "(trap 'sleep 0.3; echo late > late; exit' TERM; echo ready; while :; do sleep 0.1; done) & exec sleep 1000";
    let bash = |script| own.zygote.spawn(&place.confine(bash(script), Network::Full)).unwrap();
    let code = "import time; print('ready'); time.sleep(1000)";
    let forked = server.spawn(&place.confine(command(&["python3", code]), Network::Full));
    for (mut child, expected) in [
        (bash(script), End::Exited(5)),
        (bash(orphan), End::Signaled(15)),
        (forked, End::Signaled(15)),
    ] {
        assert_eq!(read_line(&mut child.stdout), "ready");
        let told = Instant::now();
        child.control.terminate();
        assert_eq!(finish(child).1, expected);
        assert!(told.elapsed() < kruntimes_confine::TERMINATE_GRACE, "nobody is waited for");
    }
    let late = place.confine(super::bash("cat late"), Network::Full);
    assert_eq!(said(own.zygote.spawn(&late).unwrap()), "late\n");
}

/// A command with a daemon, started by bash and by a fork.
fn with_daemon(
    own: &Isolated,
    server: &Server<'_>,
    place: &Place,
) -> [kruntimes_confine::Child; 2] {
    let script = format!("{DAEMON}; exec sleep 1000");
    let code = format!(
        "import subprocess, time; subprocess.run(['bash', '-c', {DAEMON:?}]); time.sleep(1000)"
    );
    let forked = place.confine(command(&["python3", &code]), Network::Full);
    let started = place.confine(bash(&script), Network::Full);
    [own.zygote.spawn(&started).unwrap(), server.spawn(&forked)]
}

fn nobody_is_left(own: &Isolated) {
    let place = own.place("own-left");
    let server = Server::start(&own.zygote);
    for mut child in with_daemon(own, &server, &place) {
        read_line(&mut child.stdout);
        let main = started(&child);
        let all: Vec<_> = if own.granted() { together(main) } else { vec![main] };
        assert!(
            !own.granted() || all.len() >= 2,
            "the main process and the daemon, and whom root sees: {all:?}"
        );
        child.control.kill();
        assert_eq!(finish(child).1, End::Signaled(9));
        assert!(all.iter().all(|pid| is_gone(*pid)), "{all:?}");
    }
}

fn a_killed_supervisor_leaves_nothing(own: &Isolated) {
    let place = own.place("own-killed");
    let server = Server::start(&own.zygote);
    for mut child in with_daemon(own, &server, &place) {
        read_line(&mut child.stdout);
        let main = started(&child);
        let all: Vec<_> = if own.granted() { together(main) } else { vec![main] };
        let handles: Vec<_> = all.iter().map(|pid| watch(*pid).unwrap()).collect();
        rustix::process::kill_process(Pid::from_raw(parent(main)).unwrap(), Signal::KILL).unwrap();
        assert_eq!(reports(&child).last(), Some(&None));
        handles.iter().for_each(wait_for);
    }
    let again = place.confine(bash("exit 4"), Network::Full);
    assert_eq!(finish(own.zygote.spawn(&again).unwrap()).1, End::Exited(4));
}

fn no_network(own: &Isolated) {
    let place = own.place("own-network");
    let script = "ls /sys/class/net >/dev/null; wc -l < /proc/net/dev || echo none";
    let seen = |network| {
        let command = place.confine(bash(script), network);
        let (output, _) = finish(own.zygote.spawn(&command).unwrap());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    match own.namespaces {
        Some(Namespaces { network: true }) => assert_eq!(seen(Network::None), "3", "its own lo"),
        Some(Namespaces { network: false }) => assert_eq!(seen(Network::None), seen(Network::Full)),
        None => assert_eq!(seen(Network::None), "none"),
    }
}

fn a_place_that_is_gone(own: &Isolated) {
    let place = own.place("own-gone");
    let gone = place.confine(bash("true"), Network::Full);
    place.remove_temporary();
    let server = Server::start(&own.zygote);
    let witness = own.zygote.spawn(&bash("exec sleep 1000")).unwrap();
    let zygote = parent(parent(started(&witness)));
    let before = children(zygote);
    let ends = [
        own.zygote.spawn(&gone).unwrap(),
        server.spawn(&Command { args: vec![c"python3".to_owned(), c"0".to_owned()], ..gone }),
    ]
    .map(|child| {
        let end = reports(&child).pop().flatten();
        // Its supervisor was taken.
        wait_for(&child.control);
        assert_eq!(child.control.receive().unwrap(), None);
        end
    });
    let left: Vec<_> = children(zygote).difference(&before).copied().collect();
    assert_eq!(left, [0; 0], "nobody is left");
    let stage = kruntimes_confine::Stage::Namespaces;
    let errno = rustix::io::Errno::NOENT.raw_os_error();
    let expected = if own.granted() { End::NotStarted { stage, errno } } else { End::Exited(0) };
    assert_eq!(ends, [Some(Report::Ended(expected)); 2]);
}
