//! A server's work in this process: it does by name what the rules ask for, or does it wrongly.

use kruntimes_runtime_server::{Cancel, ExecuteRequest, Outcome, Output};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// FIFOs that are held open for ever, as by a process that nobody kills.
static LEAKED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Writes how to ask for each work.
pub(crate) fn works(dir: &Path) -> PathBuf {
    let names = [
        "succeed",
        "last",
        "print",
        "talk",
        "bytes",
        "flood",
        "env",
        "directory",
        "read",
        "stubborn",
        "hold",
        "leave",
    ];
    let lines: String =
        names.iter().map(|name| format!("\"{name}\": {{\"args\": [\"{name}\"]}},\n")).collect();
    let text = format!(
        "{{{lines} \"fail\": {{\"args\": [\"fail\"], \"exitCode\": 7}}, \
         \"script\": {{\"entrypoint\": \"script\", \"args\": [\"a b\"], \"content\": \"script\"}}}}"
    );
    let path = dir.join("works.json");
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) async fn execute(
    fault: &'static str,
    request: ExecuteRequest,
    output: Output,
    cancel: Cancel,
) -> Outcome {
    let directory = Path::new(&request.working_dir);
    if !request.entrypoint.is_empty() {
        return script(fault, &request, directory, &output, &cancel).await;
    }
    match request.args.first().map(String::as_str).unwrap_or_default() {
        "fail" => return Outcome::exited(7),
        "last" if fault == "timeout/none" && request.timeout_seconds <= 0 => {
            return Outcome::exited(0);
        }
        "last" => return Outcome::ended(cancel.wait().await),
        "print" => {
            output.stdout("out");
            output.stderr("err");
        }
        "talk" | "stubborn" => {
            output.stdout("ready\n");
            return Outcome::ended(cancel.wait().await);
        }
        "bytes" if fault == "output/bytes" => output.stdout("a?b"),
        "bytes" => output.stdout(b"a\xffb"),
        "flood" => output.stdout(vec![b'x'; 2 * 1024 * 1024]),
        "env" => output.stdout(request.env.get("CONFORMANCE").map_or("", String::as_str)),
        "directory" if fault == "working-dir" => output.stdout("/"),
        "directory" => output.stdout(&request.working_dir),
        "read" => output.stdout(std::fs::read(directory.join("canary")).unwrap_or_default()),
        "hold" => {
            let held = hold(directory);
            let why = cancel.wait().await;
            if matches!(fault, "cancel/tree" | "timeout+tree") {
                LEAKED.lock().unwrap().push(held);
            }
            return Outcome::ended(why);
        }
        "leave" => {
            let held = hold(directory);
            if fault == "end/left-behind" {
                LEAKED.lock().unwrap().push(held);
            }
        }
        _ => {}
    }
    Outcome::exited(0)
}

async fn script(
    fault: &str,
    request: &ExecuteRequest,
    directory: &Path,
    output: &Output,
    cancel: &Cancel,
) -> Outcome {
    let path = directory.join(&request.entrypoint);
    if !path.symlink_metadata().is_ok_and(|file| file.is_file()) {
        if fault == "input/entrypoint" {
            return Outcome::ended(cancel.wait().await);
        }
        return Outcome::failed(1, "the entrypoint is no file");
    }
    let content = std::fs::read_to_string(path).unwrap_or_default();
    output.stdout(format!("{content} {}", request.args.join(" ")));
    Outcome::exited(0)
}

fn hold(directory: &Path) -> File {
    let mut file = File::options().write(true).open(directory.join("alive")).unwrap();
    file.write_all(b"held\n").unwrap();
    file
}
