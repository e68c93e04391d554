//! Probes of a container: what a kubelet asks at a pod's address.
//!
//! A container that starts is asked at once and then at growing intervals, so that readiness is seen within
//! milliseconds; from then on the period of the probe counts.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// First wait between two probes of a container that starts; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(5);
/// Longest such wait.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// Bytes of an answer that are read: the status line.
const STATUS_LINE_LIMIT: u64 = 1024;

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) check: Check,
    pub(super) delay: Duration,
    pub(super) period: Duration,
    pub(super) timeout: Duration,
    pub(super) failures: u32,
    pub(super) successes: u32,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Check {
    Http { port: u16, path: String },
    Tcp { port: u16 },
}

/// Asks again and again whether a container is ready, which it is not at first.
#[derive(Debug)]
pub(super) struct Readiness {
    probe: Probe,
    address: Ipv4Addr,
    ready: bool,
    streak: u32,
    next: Duration,
    backoff: Duration,
}

impl Readiness {
    pub(super) fn new(probe: Probe, address: Ipv4Addr) -> Self {
        let (next, backoff) = (Duration::ZERO, FIRST_WAIT);
        Self { probe, address, ready: false, streak: 0, next, backoff }
    }

    /// The next change.
    pub(super) async fn change(&mut self) -> bool {
        loop {
            tokio::time::sleep(self.next).await;
            let answer = self.probe.ask(self.address).await;
            if self.take(answer) {
                return self.ready;
            }
        }
    }

    /// Takes an answer; true when it changed the readiness.
    fn take(&mut self, answer: bool) -> bool {
        self.streak = if answer == self.ready { 0 } else { self.streak.saturating_add(1) };
        let needed = if answer { self.probe.successes } else { self.probe.failures };
        let changed = answer != self.ready && self.streak >= needed;
        if changed {
            (self.ready, self.streak, self.backoff) = (answer, 0, FIRST_WAIT);
        }
        if self.ready {
            self.next = self.probe.period;
        } else {
            self.next = self.backoff;
            self.backoff = (self.backoff * 2).min(LAST_WAIT).min(self.probe.period);
        }
        changed
    }
}

/// Resolves when a container that should live failed its probe too often.
pub(super) async fn unhealthy(probe: Probe, address: Ipv4Addr) {
    tokio::time::sleep(probe.delay).await;
    let mut failures = 0_u32;
    loop {
        failures = if probe.ask(address).await { 0 } else { failures + 1 };
        if failures >= probe.failures {
            return;
        }
        tokio::time::sleep(probe.period).await;
    }
}

/// Asks once, however long the answer takes.
pub(super) async fn tell(check: &Check, address: Ipv4Addr) {
    // A hook that fails is no reason to stay.
    drop(check.ask(address).await);
}

impl Check {
    async fn ask(&self, address: Ipv4Addr) -> std::io::Result<bool> {
        match self {
            Self::Http { port, path } => http(address, *port, path).await,
            Self::Tcp { port } => {
                TcpStream::connect(SocketAddr::from((address, *port))).await.map(|_| true)
            }
        }
    }
}

impl Probe {
    async fn ask(&self, address: Ipv4Addr) -> bool {
        let asked = self.check.ask(address);
        matches!(tokio::time::timeout(self.timeout, asked).await, Ok(Ok(true)))
    }
}

async fn http(address: Ipv4Addr, port: u16, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(SocketAddr::from((address, port))).await?;
    // A path with white space would be a request of its own.
    let path: String = path.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}:{port}\r\nUser-Agent: kube-probe/krt\r\nAccept: */*\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut limited = stream.take(STATUS_LINE_LIMIT);
    while !answer.contains(&b'\n') && limited.read_buf(&mut answer).await? > 0 {}
    Ok(is_success(&answer))
}

/// Whether an answer begins with a status of 200 to 399.
fn is_success(answer: &[u8]) -> bool {
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let mut words = line.split_ascii_whitespace();
    let protocol = words.next().unwrap_or_default();
    let status = words.next().and_then(|status| status.parse::<u16>().ok());
    protocol.starts_with("HTTP/") && status.is_some_and(|status| (200..400).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn only_2xx_and_3xx_are_success() {
        for (answer, want) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.0 399 X", true),
            ("HTTP/1.1 400 Bad Request\r\n", false),
            ("HTTP/1.1 503 Service Unavailable\r\n", false),
            ("SSH-2.0-OpenSSH 200\r\n", false),
            ("", false),
        ] {
            assert_eq!(is_success(answer.as_bytes()), want, "{answer}");
        }
    }

    #[tokio::test]
    async fn readiness_follows_the_port() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let probe = Probe {
            check: Check::Tcp { port },
            delay: Duration::ZERO,
            period: Duration::from_millis(5),
            timeout: Duration::from_secs(1),
            failures: 2,
            successes: 1,
        };
        let mut readiness = Readiness::new(probe, Ipv4Addr::LOCALHOST);
        assert!(readiness.change().await);
        drop(listener);
        assert!(!readiness.change().await);
    }
}
