//! A hidden place whose file system is mounted at other paths too, in a namespace of mounts of a process of its own.

use super::confined::{Place, TRY, lines};
use kruntimes_confine::{Network, Zygote};
use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Names the directory with the mounts to the process that this test starts.
pub(super) const PLACE: &str = "KRUNTIMES_TEST_ALIASED";

/// By a mount of what is above the hidden place, of a part of it, by one that shows where another one is mounted, and by that.
const MOUNTS: &str = r#"set -e
cd "$KRUNTIMES_TEST_ALIASED"
mkdir -p real/hidden/other real/seen again inner below/deep self volume
echo seen > real/seen/file; echo canary > real/hidden/other/secret
mount --bind real again
mount --bind real/hidden/other inner
mount --bind real below/deep
mount --bind volume volume; touch volume/file
mount --bind . self
exec "$0""#;

/// How a script in the hidden place calls those paths, and what is none of them.
const LOOK: &str = r#"
try here cat $T/real/hidden/other/secret; try above cat $T/again/hidden/other/secret
try part cat $T/inner/secret; try deep cat $T/below/deep/hidden/other/secret
try itself cat $T/self/real/hidden/other/secret; try list ls $T/again/hidden/other
try seen cat $T/real/seen/file; try seen-again cat $T/again/seen/file; try seen-deep cat $T/below/deep/seen/file
try own bash -c 'echo > file && chmod 600 file'
try volume chmod 600 $T/volume/file; try machine chmod 600 $T/real/seen/file"#;

pub(super) fn no_mount_leads_to_a_hidden_place(_: &Zygote) {
    // A checkout may be below `/tmp`, which is closed as a whole.
    let target = fs::canonicalize(std::env::current_dir().unwrap().join("../../..")).unwrap();
    let is_closed = ["/tmp", "/var/tmp"].iter().any(|closed| target.starts_with(closed));
    let open = if is_closed { std::env::home_dir().unwrap() } else { target.join("target") };
    let place = open.join(format!("confined-aliased-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let place = fs::canonicalize(place).unwrap();
    // Who is not root may do this as root of a namespace.
    let own = ["--map-root-user", "--mount", "--propagation", "private"];
    let skipped = usize::from(rustix::process::geteuid().is_root());
    let output = Command::new("unshare")
        .args(&own[skipped..])
        .args(["bash", "-c", MOUNTS])
        .arg(std::env::current_exe().unwrap())
        .env(PLACE, &place)
        .output()
        .unwrap();
    let names = ["here", "above", "part", "deep", "itself", "list"];
    let seen = ["seen", "seen-again", "seen-deep"];
    let all = |can, machine| {
        let hidden = names.iter().map(|name| (*name, can));
        let changes = [("own", true), ("volume", true), ("machine", machine)];
        lines(&hidden.chain(seen.map(|name| (name, true))).chain(changes).collect::<Vec<_>>())
    };
    let expected = all(false, true) + &all(true, true) + &all(false, false);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{error}");
    fs::remove_dir_all(&place).unwrap();
}

/// Says what the script could: by Landlock alone, without anything, and with namespaces.
pub(super) fn be_server(place: &Path) -> ExitCode {
    let (zygote, isolated) = (Zygote::start().unwrap(), Zygote::start().unwrap());
    let script = format!("{TRY}T={}\n{LOOK}", place.display());
    let args = ["/bin/bash", "-c", &script];
    let at = place.join("real/hidden");
    let shared = Place::at(&at);
    let [confined, free] = shared.both(&zygote, &args, Network::Full);
    let own = shared.with_scene(&[place.join("volume")]);
    let writable = CString::new(at.to_str().unwrap()).unwrap();
    isolated.isolate(&own.covers(), &[writable]).unwrap().expect("namespaces");
    let [with_namespaces, _] = own.both(&isolated, &args, Network::Full);
    print!("{confined}{free}{with_namespaces}");
    ExitCode::SUCCESS
}
