//! Commands that are confined, beside the same ones that are not: what is refused must be possible otherwise.

use super::{command, finish, forks, started};
use kruntimes_confine::{
    Child, Command, Confinement, End, Files, Hidden, Mounts, Network, Scene, Zygote,
};
use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A place that no command may enter but for one that is its own.
pub(super) struct Place {
    root: PathBuf,
    files: Files,
    /// Where its commands have namespaces of their own.
    scene: Option<Scene>,
    temporary: AtomicU32,
}

impl Place {
    pub(super) fn new(name: &str) -> Self {
        let root =
            std::env::current_dir().unwrap().join(format!("../../../target/confined-{name}"));
        let _ = fs::remove_dir_all(&root);
        Self::at(&root)
    }

    pub(super) fn at(root: &Path) -> Self {
        for directory in ["own", "other", "temporary"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        let root = fs::canonicalize(root).unwrap();
        fs::write(root.join("other/secret"), "canary").unwrap();
        let hidden = Hidden::new(std::slice::from_ref(&root)).unwrap();
        let files = Files::new(&hidden, Mounts::Machine).unwrap();
        Self {
            root,
            files: files.expect("a kernel with Landlock"),
            scene: None,
            temporary: AtomicU32::new(0),
        }
    }

    /// The same, for commands with namespaces of their own.
    pub(super) fn own(name: &str) -> Self {
        Self::new(name).with_scene(&[])
    }

    pub(super) fn with_scene(mut self, volumes: &[PathBuf]) -> Self {
        let hidden = Hidden::new(std::slice::from_ref(&self.root)).unwrap();
        self.scene = Some(Scene::new(&hidden, volumes).unwrap());
        self
    }

    /// What nobody may see but for who has a place there.
    pub(super) fn covers(&self) -> Vec<CString> {
        self.scene.as_ref().map(|scene| scene.covers(&[&self.root])).unwrap_or_default()
    }

    pub(super) fn confine(&self, command: Command, network: Network) -> Command {
        let own = self.root.join("own");
        let working_dir = CString::new(own.to_str().unwrap()).unwrap();
        let next = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join(format!("temporary/{next}"));
        fs::create_dir(&temporary).unwrap();
        let files = self.files.ruleset(&[&own, &temporary], network).unwrap();
        let view = self.scene.as_ref().map(|scene| {
            self.files.grant_lists(&files).unwrap();
            scene.view(&[&own], &temporary, 64 << 20)
        });
        let confinement = Some(Arc::new(Confinement { files: Some(files), network, view }));
        Command { working_dir, confinement, ..command }
    }

    pub(super) fn remove_temporary(&self) {
        fs::remove_dir_all(self.root.join("temporary")).unwrap();
    }

    /// What a script says, confined and not.
    pub(super) fn both(&self, zygote: &Zygote, args: &[&str], network: Network) -> [String; 2] {
        let confined = self.confine(command(args), network);
        let free = Command { confinement: None, ..confined.clone() };
        [confined, free].map(|command| said(zygote.spawn(&command).unwrap()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

pub(super) fn said(child: Child) -> String {
    let (output, end) = finish(child);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(end, End::Exited(0), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Defines `try NAME command…`, which says whether the command could.
pub(super) const TRY: &str = r#"
try() { local name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name yes"; else echo "$name no"; fi; }
"#;

pub(super) fn lines(names: &[(&str, bool)]) -> String {
    names
        .iter()
        .map(|(name, can)| format!("{name} {}\n", if *can { "yes" } else { "no" }))
        .collect()
}

pub(super) fn only_its_own_files(zygote: &Zygote) {
    let place = Place::new("files");
    let script = format!(
        r#"{TRY}
echo mine > own && try own-read cat own; mkdir -p a/b; mv own a/b/; try own-list ls a/b
try image cat /etc/passwd; try machine cat /proc/meminfo; try own-status test -r /proc/self/status
try null bash -c 'echo > /dev/null'; try substitution bash -c 'cat <(echo x)'
try image-write bash -c 'echo >> /etc/hostname.kruntimes && rm /etc/hostname.kruntimes'
try other cat ../other/secret; try other-list ls ..; ln -sf ../other/secret link; try link cat link
try other-write bash -c 'echo > ../other/new'; try hard-link ln ../other/secret hard
try rename mv ../other/new .; try tmp bash -c 'f=/tmp/kruntimes-$$; echo > $f && rm $f'
try shm bash -c 'f=/dev/shm/kruntimes-$$; echo > $f && rm $f'
try node mknod ./node c 1 3; rm -rf ./*"#
    );
    let [confined, free] = place.both(zygote, &["/bin/bash", "-c", &script], Network::Full);
    let possible =
        ["own-read", "own-list", "image", "machine", "own-status", "null", "substitution"];
    let refused = [
        "image-write",
        "other",
        "other-list",
        "link",
        "other-write",
        "hard-link",
        "rename",
        "tmp",
        "shm",
        "node",
    ];
    // Not that of a user namespace.
    let whole = fs::read_to_string("/proc/self/uid_map").unwrap().contains(&u32::MAX.to_string());
    let is_root = whole && rustix::process::geteuid().is_root();
    let of_root = |name: &str| ["image-write", "node"].contains(&name);
    let expected = |can: bool| {
        let all = possible.iter().map(|name| (*name, true));
        let refused = refused.iter().map(|name| (*name, can && (is_root || !of_root(name))));
        lines(&all.chain(refused).collect::<Vec<_>>())
    };
    assert_eq!(confined, expected(false));
    assert_eq!(free, expected(true));
}

pub(super) fn nothing_of_other_processes(zygote: &Zygote) {
    let place = Place::new("processes");
    let mut victim = command(&["/bin/sleep", "1000"]);
    victim.env.push(c"CANARY=canary".to_owned());
    let victim = zygote.spawn(&place.confine(victim, Network::Full)).unwrap();
    let pid = started(&victim);
    let me = std::process::id();
    let script = format!(
        r#"{TRY}
for file in environ cmdline maps mem status; do
    try $file python3 -c 'import sys; open(sys.argv[1]).read(0 if sys.argv[1].endswith("mem") else -1)' /proc/{pid}/$file
done
try fd ls /proc/{pid}/fd; try root ls /proc/{pid}/root/; try cwd ls /proc/{pid}/cwd/
try server-environ cat /proc/{me}/environ; try list ls /proc
try signal kill -0 {pid}; try server-signal kill -0 {me}; try supervisor-signal kill -0 $PPID
try renice renice -n 1 -p {pid}; try limits prlimit --pid {pid} --nofile=100:100
true"#
    );
    let [confined, free] = place.both(zygote, &["/bin/bash", "-c", &script], Network::Full);
    let names = [
        "environ",
        "cmdline",
        "maps",
        "mem",
        "status",
        "fd",
        "root",
        "cwd",
        "server-environ",
        "list",
        "signal",
        "server-signal",
        "supervisor-signal",
        "renice",
        "limits",
    ];
    let expected = |can| lines(&names.map(|name| (name, can)));
    assert_eq!(confined, expected(false));
    assert_eq!(free, expected(true));
    victim.control.kill();
    assert_eq!(finish(victim).1, End::Signaled(9));
}

/// Says for each call whether it is refused by the filter: with arguments that the kernel itself would answer otherwise.
pub(super) const CALLS: &str = r"
import ctypes, errno, platform
libc = ctypes.CDLL(None, use_errno=True)
arm = platform.machine() == 'aarch64'
calls = {'ptrace': (117 if arm else 101, 99, 0), 'process_vm_readv': (270 if arm else 310, 0, 0, 0, 0, 0, 1),
    'keyctl': (219 if arm else 250, 99), 'io_uring_setup': (425, 0, 0), 'bpf': (280 if arm else 321, 99, 0, 0),
    'mount': (40 if arm else 165, 0, 0, 0, 0, 0), 'shmget': (194 if arm else 29, 1, 0, 0),
    'userfaultfd': (282 if arm else 323, 0xffff), 'unshare': (97 if arm else 272, 0x10000000 | 1),
    'setns': (268 if arm else 308, -1, 0), 'pidfd_getfd': (438, -1, 0, 0), 'mq_open': (180 if arm else 240, 0, 0),
    'perf_event_open': (241 if arm else 298, 0, 0, 0, 0, 0), 'open_by_handle_at': (265 if arm else 304, -1, 0, 0),
    'prctl': (167 if arm else 157, 4, 2, 0, 0, 0), 'close_range': (436, 1, 0, 2), 'memfd_secret': (447, 99),
    'unshare-files': (97 if arm else 272, 0x400 | 1), 'clone-thread': (220 if arm else 56, 0x10000, 0, 0, 0, 0),
    'adjtimex': (171 if arm else 159, 0), 'open_tree_attr': (467, -1, 0, 0, 0, 0)}
for name, call in calls.items():
    libc.syscall(*call)
    print(name, 'no' if ctypes.get_errno() == errno.EPERM else 'yes')
libc.syscall(435, 0, 0)
print('clone3', 'no' if ctypes.get_errno() == errno.ENOSYS else 'yes')
import threading, subprocess
thread = threading.Thread(target=lambda: subprocess.run(['true'], check=True))
thread.start(); thread.join()
";

pub(super) fn refused_calls(zygote: &Zygote) {
    let place = Place::new("calls");
    let [confined, free] =
        place.both(zygote, &["/usr/bin/env", "python3", "-c", CALLS], Network::Full);
    assert_eq!(confined.replace(" no\n", " yes\n"), free);
    assert!(!confined.contains("yes"), "{confined}");
    assert_eq!(confined.lines().count(), 22);
}

const SOCKETS: &str = r"
import socket
def check(name, make):
    try:
        make()
        print(name, 'yes')
    except PermissionError:
        print(name, 'no')
check('tcp', lambda: socket.create_server(('127.0.0.1', 0)))
check('udp', lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
check('unix', lambda: socket.socket(socket.AF_UNIX))
check('pair', lambda: socket.socketpair())
check('datagram-pair', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
check('packet', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
";

pub(super) fn sockets(zygote: &Zygote) {
    let place = Place::new("sockets");
    let names = ["tcp", "udp", "unix", "pair", "datagram-pair", "packet"];
    // The last one only root could make.
    let freely = [true, true, true, true, true, rustix::process::geteuid().is_root()];
    for (network, can) in [
        (Network::Full, [true, true, false, true, false, false]),
        (Network::None, [false, false, false, true, false, false]),
    ] {
        let args = ["/usr/bin/env", "python3", "-c", SOCKETS];
        let [confined, free] = place.both(zygote, &args, network);
        assert_eq!(confined, lines(&names.into_iter().zip(can).collect::<Vec<_>>()), "{network:?}");
        assert_eq!(free, lines(&names.into_iter().zip(freely).collect::<Vec<_>>()));
    }
}

pub(super) fn large_commands(zygote: &Zygote) {
    let place = Place::new("large");
    let script = format!("{TRY}try other cat ../other/secret; echo ${{#1}}");
    let long = "x".repeat(100_000);
    let args = ["/bin/bash", "-c", &script, "bash", &long];
    let [confined, free] = place.both(zygote, &args, Network::Full);
    assert_eq!([confined, free], ["other no\n100000\n", "other yes\n100000\n"]);
}

pub(super) fn forks(zygote: &Zygote) {
    let place = Place::new("forks");
    let server = forks::Server::start(zygote);
    let code = r"
def attempt(name, do):
    try:
        do()
        print(name, 'yes')
    except PermissionError:
        print(name, 'no')
import socket
attempt('own', lambda: open('file', 'w').close())
attempt('status', lambda: open('/proc/self/status').read())
attempt('other', lambda: open('../other/secret').read())
attempt('signal', lambda: os.kill(os.getppid(), 0))
attempt('unix', lambda: socket.socket(socket.AF_UNIX))
attempt('tcp', lambda: socket.socket())
print(os.listdir('/proc/self/fd'))
";
    let long = "x".repeat(100_000);
    for (args, network) in
        [(vec!["python3", code], Network::Full), (vec!["python3", code, &long], Network::None)]
    {
        let confined = place.confine(command(&args), network);
        let free = Command { confinement: None, ..confined.clone() };
        let tcp = network == Network::Full;
        let expected = |can: bool, tcp: bool| {
            let all = [("other", can), ("signal", can), ("unix", can), ("tcp", tcp)];
            lines(&[("own", true), ("status", true)]) + &lines(&all) + "['0', '1', '2', '3']\n"
        };
        assert_eq!(said(server.spawn(&confined)), expected(false, tcp));
        assert_eq!(said(server.spawn(&free)), expected(true, true));
    }
}
