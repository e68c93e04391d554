//! Every command typed wrong, in all the ways that people do: one line that helps, and exit code 2 or 125.
//!
//! What is said stands in `tests/mistakes/<command>.txt` and is compared.

use crate::server::Server;
use crate::support::{User, finish, shared};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// The longest line that still helps.
const LINE_CHARS: usize = 400;

/// Every command as it may be typed right; the words before `--` take more flags.
const COMMANDS: [&[&str]; 18] = [
    &["run", "--", "true"],
    &["get", "a"],
    &["list"],
    &["cancel", "a"],
    &["logs", "a"],
    &["runtime", "list"],
    &["runtime", "get", "a"],
    &["local", "up"],
    &["local", "down"],
    &["local", "kubeconfig"],
    &["local", "status"],
    &["local", "reset"],
    &["doctor"],
    &["explain", "Timeout"],
    &["version"],
    &["completion", "bash"],
    &["serve", "scheduler"],
    &["runtime", "conformance", "--endpoint", "127.0.0.1:1"],
];
/// So many of them, from the first, talk to an API server.
const ASKING: usize = 7;

/// Ways to type any command wrong.
const ANY: [&[&str]; 10] = [
    &["--frobnicate"],
    &["--contxt", "a"],
    &["-Z"],
    &["--verbose=yes"],
    &["--kubeconfig"],
    &["--context", "a", "--context", "b"],
    &["--local", "--context", "a"],
    &["--namespace", "Not_A_Namespace"],
    &["--server", "not a url"],
    &["--namespace", ""],
];

/// Ways to name a wrong API server; `DIR` and `URL` stand for places of the test.
const SERVERS: [&[&str]; 15] = [
    &[],
    &["--kubeconfig", "DIR/missing"],
    &["--kubeconfig", "DIR/directory"],
    &["--kubeconfig", "DIR/corrupt"],
    &["--kubeconfig", "DIR/binary"],
    &["--kubeconfig", "DIR/no-context"],
    &["--kubeconfig", "DIR/good", "--context", "nope"],
    &["--kubeconfig", "DIR/good", "--cluster", "nope"],
    &["--kubeconfig", "DIR/good", "--user", "nope"],
    &["--kubeconfig", "DIR/good", "--server", "http://127.0.0.1:CLOSED"],
    &["--kubeconfig", "DIR/good", "--server", "URL/forbidden"],
    &["--kubeconfig", "DIR/good", "--server", "URL/unauthorized"],
    &["--kubeconfig", "DIR/good", "--server", "URL/bare"],
    &["--kubeconfig", "DIR/good", "--server", "URL/broken"],
    &["--kubeconfig", "DIR/good", "--server", "URL/page"],
];

/// What is wrong with one command alone.
const OWN: [&[&str]; 66] = [
    &["run"],
    &["run", "true"],
    &["run", "-f", "DIR/missing"],
    &["run", "-f", "DIR/directory"],
    &["run", "-f", "DIR/binary"],
    &["run", "-f", "DIR/broken.yaml"],
    &["run", "-f", "DIR/pod.yaml"],
    &["run", "-f", "DIR/run.yaml", "--env", "A=b"],
    &["run", "-f", "DIR/run.yaml", "-n", "other", "--kubeconfig", "DIR/good"],
    &["run", "-f", "DIR/huge"],
    &["run", "-r", "No Runtime!", "--", "true"],
    &["run", "--timeout", "soon", "--", "true"],
    &["run", "--ttl", "-1s", "--", "true"],
    &["run", "--retry-backoff", "1 minute", "--", "true"],
    &["run", "--retry-attempts", "many", "--", "true"],
    &["run", "--env", "novalue", "--", "true"],
    &["run", "--wait", "--no-wait", "--", "true"],
    &["run", "-o", "yaml", "--", "true"],
    &["run", "--no-wait", "-o", "xml", "--", "true"],
    &["run", "--kubeconfig", "HOME", "-n", "nowhere", "--", "true"],
    &["run", "--kubeconfig", "HOME", "--entrypoint", "/etc/passwd", "-f", "DIR/script"],
    &["run", "--kubeconfig", "HOME", "-f", "DIR/long-script"],
    &["run", "--kubeconfig", "HOME", "-f", "DIR/above-etcd.yaml"],
    &["get"],
    &["get", "a", "b"],
    &["get", "Not_A_Name"],
    &["get", "a", "-o", "xml"],
    &["get", "a", "-o"],
    &["get", "a", "--kubeconfig", "HOME"],
    &["list", "a"],
    &["list", "--phase", "Done"],
    &["list", "--runtime", "a,b=c"],
    &["list", "-o", "wide"],
    &["cancel"],
    &["cancel", "a", "--kubeconfig", "HOME"],
    &["logs"],
    &["logs", "--tail", "some", "a"],
    &["logs", "a", "--kubeconfig", "HOME"],
    &["runtime"],
    &["runtime", "delete", "a"],
    &["runtime", "get"],
    &["runtime", "get", "a", "--kubeconfig", "HOME"],
    &["runtime", "conformance"],
    &["runtime", "conformance", "--endpoint", "127.0.0.1:CLOSED"],
    &["runtime", "conformance", "--endpoint", "nowhere"],
    &["runtime", "conformance", "--endpoint", "http://127.0.0.1:1"],
    &["runtime", "conformance", "--endpoint", "127.0.0.1:1", "--works", "DIR/missing"],
    &["runtime", "conformance", "--endpoint", "127.0.0.1:1", "--works", "DIR/corrupt"],
    &["runtime", "conformance", "--endpoint", "127.0.0.1:1", "--token-file", "DIR/missing"],
    &["runtime", "conformance", "--command", "exit 3"],
    &["runtime", "conformance", "--command", "DIR/missing"],
    &["runtime", "conformance", "--command", "true", "--work-dir", "DIR"],
    &["local"],
    &["local", "restart"],
    &["local", "up", "--port", "70000"],
    &["local", "up", "--port", "TAKEN"],
    &["local", "up", "--data-dir", "DIR/good"],
    &["local", "up", "--detach", "--port", "TAKEN"],
    &["local", "down"],
    &["local", "down", "now"],
    &["local", "kubeconfig"],
    &["local", "reset"],
    &["local", "status", "-o", "name"],
    &["explain", "Timout"],
    &["completion"],
    &["completion", "tcsh"],
];

/// The root itself.
const ROOT: [&[&str]; 4] = [&["lst"], &["frobnicate"], &["--frobnicate"], &["-n"]];

struct Places {
    user: User,
    server: Server,
    home: PathBuf,
    closed: String,
    taken: TcpListener,
}

impl Places {
    fn new() -> Self {
        let user = User::new();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = free.local_addr().unwrap().port().to_string();
        drop(free);
        let good = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "work",
            "clusters": [{"name": "work", "cluster": {"server": "http://127.0.0.1:1"}}],
            "users": [{"name": "jane", "user": {"token": "secret"}}],
            "contexts": [{"name": "work", "context": {"cluster": "work", "user": "jane"}}]}"#;
        let run = "apiVersion: kruntimes.io/v1alpha1\nkind: Run\n";
        // In bytes above 1.5 MiB, in characters within every limit of its fields.
        let above = format!(
            "{run}metadata: {{generateName: large-}}\nspec:\n  runtime: bash\n  source: {{inline: '{}'}}\n  args: [{}]\n",
            "\u{10000}".repeat(262_144),
            vec![format!("'{}'", "\u{10000}".repeat(8192)); 16].join(", ")
        );
        for (name, text) in [
            ("good", good.to_owned()),
            ("no-context", good.replace("\"work\",\n", "\"\",\n")),
            ("corrupt", "clusters: [\n".to_owned()),
            ("script", "true\n".to_owned()),
            ("long-script", format!("#{}\n", "x".repeat(262_144))),
            ("broken.yaml", format!("{run}spec: {{\n")),
            ("pod.yaml", "apiVersion: v1\nkind: Pod\n".to_owned()),
            (
                "run.yaml",
                format!("{run}metadata: {{name: a, namespace: b}}\nspec: {{runtime: bash}}\n"),
            ),
            ("above-etcd.yaml", above),
        ] {
            user.write(name, text);
        }
        user.write("binary", b"\x7fELF\xff\xfe\0");
        user.write("huge", vec![b'x'; (16 << 20) + 1]);
        std::fs::create_dir(user.path("directory")).unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { user, server: Server::start(), home: shared().kubeconfig(), closed, taken }
    }

    /// What is written for each word of a command line.
    fn names(&self) -> [(&'static str, String); 5] {
        [
            ("CLOSED", self.closed.clone()),
            ("TAKEN", self.taken.local_addr().unwrap().port().to_string()),
            ("URL", self.server.url()),
            ("HOME", self.home.to_str().unwrap().to_owned()),
            ("DIR", self.user.path("").to_str().unwrap().trim_end_matches('/').to_owned()),
        ]
    }

    /// Types it, and checks and returns what is said.
    fn type_it(&self, words: &[&str]) -> String {
        let real = |word: &str| {
            self.names()
                .iter()
                .fold(word.to_owned(), |word, (name, place)| word.replace(name, place))
        };
        let args: Vec<String> = words.iter().map(|word| real(word)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let ended = finish(&mut self.user.krt(&args));
        let quoted = |word: &&str| {
            let plain = !word.is_empty() && !word.contains([' ', '!']);
            if plain { (*word).to_owned() } else { format!("'{word}'") }
        };
        let line = words.iter().map(quoted).collect::<Vec<_>>().join(" ");
        assert!(
            matches!(ended.code, Some(2 | 125)),
            "krt {line}: {:?} {}",
            ended.code,
            ended.stderr
        );
        assert_eq!(ended.out(), "", "krt {line}");
        let said = &ended.stderr;
        let text = said.strip_prefix("error: ").and_then(|said| said.strip_suffix('\n'));
        let text = text.unwrap_or_else(|| panic!("krt {line}: {said}"));
        assert!(!text.contains('\n') && !text.contains("os error"), "krt {line}: {said}");
        assert!(text.chars().count() <= LINE_CHARS, "krt {line}: {said}");
        let shown = self
            .names()
            .iter()
            .fold(said.clone(), |said, (name, place)| said.replace(place.as_str(), name));
        format!("$ krt {line}\n{shown}[exit code {}]\n\n", ended.code.unwrap_or_default())
    }
}

/// The command line with flags before its `--`.
fn with<'a>(command: &[&'a str], flags: &[&'a str]) -> Vec<&'a str> {
    let at = command.iter().position(|word| *word == "--").unwrap_or(command.len());
    [&command[..at], flags, &command[at..]].concat()
}

/// Words until the first that is no command: the name of its file.
fn file_name(command: &[&str]) -> String {
    let groups = ["runtime", "local", "serve"];
    let words = if command.len() > 1 && groups.contains(&command[0]) { 2 } else { 1 };
    command[..words].join("-")
}

#[test]
fn each_mistake_gets_one_line_that_helps() {
    let places = Places::new();
    let mut files: Vec<(String, String)> = Vec::new();
    for (at, command) in COMMANDS.iter().enumerate() {
        let mut text = String::new();
        let servers = if at < ASKING { &SERVERS[..] } else { &[] };
        for flags in ANY.iter().chain(servers) {
            text.push_str(&places.type_it(&with(command, flags)));
        }
        let name = file_name(command);
        for own in OWN.iter().filter(|own| file_name(own) == name) {
            text.push_str(&places.type_it(own));
        }
        files.push((name, text));
    }
    let mut text = String::new();
    let known: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
    let others = OWN.iter().filter(|own| !known.contains(&file_name(own)));
    for words in ROOT.iter().chain(others) {
        write!(text, "{}", places.type_it(words)).unwrap();
    }
    files.push(("krt".to_owned(), text));
    compare(&files);
}

fn compare(files: &[(String, String)]) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let mut known: Vec<String> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for (name, text) in files {
        let path = directory.join(format!("{name}.txt"));
        known.retain(|known| *known != format!("{name}.txt"));
        if update {
            std::fs::write(&path, text).unwrap();
            continue;
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = text.lines().zip(committed.lines()).find(|(now, then)| now != then);
        assert!(
            committed == *text,
            "{}: {differs:?}: if it is better than before: UPDATE_EXPECT=1 cargo test -p krt --test cli mistakes",
            path.display()
        );
    }
    assert_eq!(known, Vec::<String>::new(), "nothing makes these files");
}
