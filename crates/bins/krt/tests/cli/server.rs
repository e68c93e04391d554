//! An API server that always answers the same: what it answers, the first part of the path says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

/// It serves as long as the test runs.
pub(crate) struct Server {
    port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let connection = connection.unwrap();
                std::thread::spawn(move || answer(connection));
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// Reads one request and answers it; an error means that the client has left.
fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim_end().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let status = |code: u16, reason: &str, message: &str| {
        let body = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "message": message, "reason": reason, "code": code});
        (format!("{code} {reason}"), "application/json", body.to_string())
    };
    let verb = request.split(' ').next().unwrap_or_default().to_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let plural = if path.contains("/runtimes") { "runtimes" } else { "runs" };
    let (line, kind, body) = match path.split('/').nth(1).unwrap_or_default() {
        "forbidden" => {
            let verb = match verb.as_str() {
                "POST" => "create",
                "PATCH" => "patch",
                _ if path.contains('?') => "list",
                _ => "get",
            };
            status(
                403,
                "Forbidden",
                &format!(
                    "{plural}.kruntimes.io is forbidden: User \"jane\" cannot {verb} resource \"{plural}\" in API group \
                 \"kruntimes.io\" in the namespace \"default\""
                ),
            )
        }
        "unauthorized" => status(401, "Unauthorized", "Unauthorized"),
        "broken" => status(500, "InternalError", "etcdserver: request timed out"),
        "page" => ("200 OK".to_owned(), "text/html", "<html>Welcome</html>".to_owned()),
        _ => ("404 Not Found".to_owned(), "text/plain", "404 page not found\n".to_owned()),
    };
    write!(
        connection,
        "HTTP/1.1 {line}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
