//! What a Run of Python takes over one of bash, beside what the interpreters themselves take to start.

use super::{ONE_BY_ONE, ROUNDS, percentile, print_figure};
use crate::home::{self, Home};
use crate::load::{Load, Work};
use anyhow::ensure;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const BASH: [Work; 1] = [("bash", "true")];
const PYTHON: [Work; 1] = [("python", "pass;")];
/// The most that a Run of Python may take over one of bash, in milliseconds.
const OVER_BASH: f64 = 5.0;

/// Builds krt in release and measures.
pub(crate) fn run() -> anyhow::Result<()> {
    measure(&home::build(home::Build::Release)?)
}

/// Measures this binary.
pub(crate) fn measure(krt: &Path) -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let home = Home::start_with(krt, &[], &["--runtimes=bash,python"])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let over = runtime.block_on(rounds(&home))?;
    ensure!(over <= OVER_BASH, "Python takes {over:.2} ms over bash, the limit is {OVER_BASH}");
    Ok(())
}

async fn rounds(home: &Home) -> anyhow::Result<f64> {
    let (bash, python) = (Load::new(home, &BASH).await?, Load::new(home, &PYTHON).await?);
    for _ in 0..20 {
        bash.run_one().await?;
        python.run_one().await?;
    }
    let mut figures: [Vec<f64>; 5] = Default::default();
    for _ in 0..ROUNDS {
        // In turn, so that both meet the same machine.
        let (mut of_bash, mut of_python) = (Vec::new(), Vec::new());
        for _ in 0..ONE_BY_ONE {
            of_bash.push(bash.run_one().await?.as_secs_f64() * 1e3);
            of_python.push(python.run_one().await?.as_secs_f64() * 1e3);
        }
        let (of_bash, of_python) = (percentile(&mut of_bash, 50), percentile(&mut of_python, 50));
        let (bare_bash, bare_python) =
            (bare("/bin/bash", "true")?, bare("/usr/bin/python3", "pass")?);
        let all = [of_bash, of_python, of_python - of_bash, bare_bash, bare_python];
        for (figure, new) in figures.iter_mut().zip(all) {
            figure.push(new);
        }
    }
    println!("median of {ROUNDS} rounds (lowest to highest)");
    let [of_bash, of_python, over, bare_bash, bare_python] = &mut figures;
    print_figure("a Run of bash, one at a time, p50 [ms]", of_bash);
    print_figure("a Run of Python, one at a time, p50 [ms]", of_python);
    print_figure("Python over bash [ms]", over);
    print_figure("floor: bash -c true [ms]", bare_bash);
    print_figure("floor: python3 -c pass [ms]", bare_python);
    Ok(percentile(over, 50))
}

/// Bare fork, exec and wait, in milliseconds.
fn bare(program: &str, code: &str) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ONE_BY_ONE {
        let started = Instant::now();
        let status = Command::new(program).args(["-c", code]).stdin(Stdio::null()).status()?;
        ensure!(status.success(), "{program} failed");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(percentile(&mut times, 50))
}
