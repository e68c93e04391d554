//! A Runtime Server whose arguments are steps, done one after the other in this process: `print TEXT`, `warn TEXT`,
//! `repeat COUNT TEXT`, `sleep SECONDS`, `cat FILE`, `env NAME`, `pwd` and `exit CODE`. A source file holds a step a line.

use kruntimes_runtime_server::{Cancel, Error, ExecuteRequest, Outcome, Output, main as serve};
use std::path::Path;
use std::time::Duration;

#[tokio::main]
async fn main() -> Result<(), Error> {
    serve(execute).await
}

async fn execute(request: ExecuteRequest, output: Output, cancel: Cancel) -> Outcome {
    let mut steps = request.args.clone();
    if !request.entrypoint.is_empty() {
        match read(&request.working_dir, &request.entrypoint) {
            Ok(text) => steps.extend(text.lines().map(str::to_owned)),
            Err(why) => return Outcome::failed(1, why),
        }
    }
    let all = async {
        for step in &steps {
            match step_of(step, &request, &output).await {
                Ok(None) => {}
                Ok(Some(code)) => return Outcome::exited(code),
                Err(why) => return Outcome::failed(2, format!("{step:.40}: {why}")),
            }
        }
        Outcome::exited(0)
    };
    tokio::select! {
        outcome = all => outcome,
        why = cancel.wait() => Outcome::ended(why),
    }
}

/// Does a step; an exit code ends the execution.
async fn step_of(
    step: &str,
    request: &ExecuteRequest,
    output: &Output,
) -> Result<Option<i32>, String> {
    let (name, rest) = step.split_once(' ').unwrap_or((step, ""));
    match name {
        "print" => output.stdout(format!("{rest}\n")),
        "warn" => output.stderr(format!("{rest}\n")),
        "repeat" => {
            let (count, text) = rest.split_once(' ').unwrap_or((rest, ""));
            for _ in 0..number(count)? {
                output.stdout(text);
                tokio::task::yield_now().await;
            }
        }
        "sleep" => tokio::time::sleep(Duration::from_secs(number(rest)?)).await,
        "cat" => output.stdout(read(&request.working_dir, rest)?),
        "env" => output.stdout(request.env.get(rest).ok_or("the variable is not set")?),
        "pwd" => output.stdout(&request.working_dir),
        "exit" => return i32::try_from(number(rest)?).map(Some).map_err(|e| e.to_string()),
        _ => return Err("there is no such step".to_owned()),
    }
    Ok(None)
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

/// A file of the working directory: what stands there may be anything, and may lead anywhere.
fn read(directory: &str, name: &str) -> Result<String, String> {
    let path = Path::new(directory).join(name);
    let inside = path.canonicalize().is_ok_and(|real| real == path);
    if !inside || !path.is_file() {
        return Err(format!("{name:?} is no file of the working directory"));
    }
    std::fs::read_to_string(&path).map_err(|error| format!("{name:?}: {error}"))
}
