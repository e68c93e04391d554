//! Automation of the project: `cargo xtask generate | tidy | ci | e2e local | bench`.
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

mod bench;
mod cargo;
mod ci;
mod e2e;
mod generate;
mod home;
mod tidy;

const USAGE: &str = "usage: cargo xtask COMMAND
  generate    write the CRDs, docs/reasons.md and the gRPC code
  tidy        check layers, file sizes, module docs and the paths in ARCHITECTURE.md
  ci          everything that .ci/run checks
  e2e local   kubectl against the local home
  bench       latency, rate, memory and start, beside the machine's floor";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate"] => generate::run(),
        ["tidy"] => tidy::run(),
        ["ci"] => ci::run(),
        ["e2e", "local"] => e2e::local(),
        ["bench"] => bench::run(),
        ["bench", "measure"] => bench::measure_all(),
        _ => anyhow::bail!(USAGE),
    }
}
