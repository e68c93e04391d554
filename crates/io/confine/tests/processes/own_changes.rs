//! What of the machine's files a command may change that Landlock has no word for.

use super::confined::{TRY, lines, said};
use super::forks::Server;
use super::own::Isolated;
use super::{bash, command};
use kruntimes_confine::Network;
use std::fs;

const PLACES: &[&str] = &["outside", "workspace", "/tmp", "/var/tmp", "/dev/shm"];

pub(super) fn nothing_of_the_machine_changes(own: &Isolated) {
    let place = own.place("own-changes");
    let server = Server::start(&own.zygote);
    let outside = std::env::current_dir().unwrap().join("../../../target/own-changes-outside");
    fs::create_dir_all(&outside).unwrap();
    let outside = fs::canonicalize(outside).unwrap();
    let file = outside.join("file");
    fs::write(&file, "").unwrap();
    let places = ["$PWD", "/tmp", "/var/tmp", "/dev/shm"];
    let file = file.display();
    let change = format!(
        "{TRY}change() {{ try $1-mode chmod 0600 $2; try $1-owner chown $(id -u):$(id -g) $2; try $1-times touch -d @0 $2; }}
        change outside {file}
        for place in {}; do
            echo > $place/file; case $place in $PWD) name=workspace;; *) name=$place;; esac; change $name $place/file
        done 2>/dev/null; rm -f file",
        places.join(" ")
    );
    let code = format!(
        "
def attempt(name, do):
    try:
        do()
        print(name, 'yes')
    except OSError:
        print(name, 'no')
def change(name, path):
    attempt(name + '-mode', lambda: os.chmod(path, 0o600))
    attempt(name + '-owner', lambda: os.chown(path, os.getuid(), os.getgid()))
    attempt(name + '-times', lambda: os.utime(path, (0, 0)))
change('outside', '{file}')
for place in (os.getcwd(), '/tmp', '/var/tmp', '/dev/shm'):
    try:
        open(place + '/file', 'w').close()
    except OSError:
        pass
    change('workspace' if place == os.getcwd() else place, place + '/file')
"
    );
    let granted = own.granted();
    let expected: Vec<_> = PLACES
        .iter()
        .flat_map(|place| {
            ["mode", "owner", "times"].map(|what| (*place, format!("{place}-{what}")))
        })
        .map(|(place, name)| {
            // Without namespaces nothing keeps from the first one, and the last ones can't have files.
            let can = match place {
                "outside" => !granted,
                "workspace" => true,
                _ => granted,
            };
            (name, can)
        })
        .collect();
    let expected =
        lines(&expected.iter().map(|(name, can)| (name.as_str(), *can)).collect::<Vec<_>>());
    let started = place.confine(bash(&change), Network::Full);
    assert_eq!(said(own.zygote.spawn(&started).unwrap()), expected);
    let forked = place.confine(command(&["python3", &code]), Network::Full);
    assert_eq!(said(server.spawn(&forked)), expected);
    fs::remove_dir_all(&outside).unwrap();
}
