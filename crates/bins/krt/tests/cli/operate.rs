//! Roles as a cluster runs them: with metrics, probes and a leader among replicas.

use crate::support::{collect, ends, pidfd, send, shared};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};

/// A scheduler of the shared home, beside the home's own; it ends with this process.
struct Replica {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Replica {
    fn start() -> Self {
        let mut child = shared()
            .krt(&[
                "serve",
                "scheduler",
                "--leader-elect",
                "--metrics-bind-address=127.0.0.1:0",
                "--health-probe-bind-address=127.0.0.1:0",
            ])
            .env("KUBECONFIG", shared().kubeconfig())
            .env("KRUNTIMES_LIFELINE", "stdin")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The next line of its log with `text`.
    fn says(&mut self, text: &str) -> String {
        let mut line = String::new();
        while self.log.read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                return line;
            }
            line.clear();
        }
        panic!("it ended without {text:?}");
    }

    /// The address in the next line with `text`.
    fn address(&mut self, text: &str) -> String {
        let line = self.says(text);
        let address = line.split("address=").nth(1).expect("an address");
        address.split_whitespace().next().unwrap().to_owned()
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn replicas_are_watched_and_one_of_them_leads() {
    let mut first = Replica::start();
    let metrics = first.address("metrics");
    let probes = first.address("probes");
    first.says("this replica leads");
    let mut second = Replica::start();
    second.says("probes");

    let text = get(&metrics, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(text.contains("content-type: application/openmetrics-text"), "{text}");
    assert!(text.contains("kruntimes_build_info{version="), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    assert!(get(&metrics, "/").starts_with("HTTP/1.1 404 "));
    for path in ["/healthz", "/readyz"] {
        let answer = get(&probes, path);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok"), "{answer}");
    }

    send(&first.child, Signal::TERM);
    assert!(ends(&pidfd(first.child.id())));
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
    second.says("this replica leads");
    send(&second.child, Signal::TERM);
    assert_eq!(second.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let flag = format!("--metrics-bind-address={address}");
    let mut command = shared().krt(&["serve", "scheduler", &flag]);
    command.env("KUBECONFIG", shared().kubeconfig());
    let ended = collect(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let expected = format!(
        "error: can't listen on {address}: Address already in use: name another --metrics-bind-address, or 0 for none\n"
    );
    assert!(ended.stderr.ends_with(&expected), "{}", ended.stderr);
    ended.expect(125);
}
