//! Automation of the project: `cargo xtask generate | tidy | ci | e2e | bench`.
#![expect(clippy::print_stdout, reason = "a tool for people at a terminal")]

mod artifacts;
mod bench;
mod board;
mod bombs;
mod cargo;
mod ci;
mod cluster;
mod crashes;
mod crashes_workflows;
mod e2e;
mod e2e_objects;
mod faults;
mod generate;
mod guide;
mod home;
mod images;
mod kill;
mod kits;
mod leak;
mod load;
mod outside;
mod phases;
mod processes;
mod sim;
mod suite;
mod suite_workflows;
mod tidy;

const USAGE: &str = "usage: cargo xtask COMMAND
  generate    write the CRDs, the references in docs and the gRPC code
  tidy        check layers, file sizes, module docs and the paths in ARCHITECTURE.md
  ci          everything that .ci/run checks
  images [[--fresh] --output DIR]
              build the images of the release, as root; --fresh: with the packages that Debian has today
  e2e up      build and start a one-node Kubernetes, as root (KRUNTIMES_E2E_DIR, else ~/.cache/kruntimes-e2e)
  e2e images  build the images of this checkout anew and import them
  e2e test [WORD]
              install the charts there, or on the cluster of $KUBECONFIG, and run all cases, or those with WORD in the name
  e2e down    stop it
  e2e all     up, test and down, also after a failure; a cluster that ran before stays
  e2e local   kubectl against the local home, and the blocks of the docs that need it
  e2e kits    the Python kit, and the conformance of every Runtime Server here; needs PyPI and npm
  e2e crashes each part killed twice at each of its crash points, among Runs and Workflows
  e2e faults  trees that hide, floods of output, clocks that jump, sidecars that freeze
  e2e artifacts
              round trips, flipped bytes and kills amid uploads, on a volume and in MinIO, which Go builds once
  e2e bombs   Runs that use up processes, memory and disk, beside others in their pod
  e2e leak    a local home after a few hundred Runs holds what it held before
  sim [--seeds N] [--from S] [--trace] [--mutants]
              scheduler, controller, runtimed and API server on virtual time under faults; --mutants: seeded bugs, each found
  soak        the same after thousands, and 20 kills a point; then the API server is killed 200 times among writes
  soak kill   only the latter
  soak artifacts
              the same with 1 GiB, 1,000 flipped bytes and ten times the kills
  soak workflows  only the kills amid Workflows, 20 a point
  soak bombs  20 bombs of each kind
  soak leak   only the first: 10,000 Runs over bash and Python
  bench       latency, rate, memory and start, beside the machine's floor
  bench cpu KRT  the processor time of a Run by process, with this binary
  bench workflows [KRT]
              a step of a chain of 40, and 1,000 legs beside 1,000 plain Runs, in release
  bench starts  what a start of bash in a Run takes over a bare one, in release
  bench languages [KRT]  what a Run of Python takes over one of bash
  bench artifacts  how fast artifacts are kept, beside cp and a plain upload
  bench board the scheduler's decisions a second, without an API server";

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["generate"] => generate::run(),
        ["tidy"] => tidy::run(),
        ["ci"] => ci::run(),
        ["images"] => {
            images::run(&generate::root().join("target/images"), images::Freshness::Cached)
        }
        ["images", "--output", directory] => {
            images::run(directory.as_ref(), images::Freshness::Cached)
        }
        ["images", "--fresh", "--output", directory] => {
            images::run(directory.as_ref(), images::Freshness::Fresh)
        }
        ["e2e", "up"] => cluster::up(),
        ["e2e", "images"] => cluster::images(),
        ["e2e", "test"] => cluster::test(""),
        ["e2e", "test", word] => cluster::test(word),
        ["e2e", "all"] => cluster::all(),
        ["e2e", "down"] => cluster::down(),
        ["e2e", "local"] => e2e::local(),
        ["e2e", "kits"] => kits::run(),
        ["e2e", "crashes"] => crashes::all(2),
        ["e2e", "faults"] => faults::run(faults::QUICK),
        ["e2e", "artifacts"] => artifacts::run(artifacts::QUICK),
        ["e2e", "bombs"] => bombs::run(bombs::QUICK),
        ["e2e", "leak"] => leak::run(leak::QUICK),
        ["sim", words @ ..] => sim::run(words),
        ["soak"] => {
            leak::run(leak::FULL)?;
            crashes::all(20)?;
            faults::run(faults::FULL)?;
            artifacts::run(artifacts::FULL)?;
            kill::run()
        }
        ["soak", "bombs"] => bombs::run(bombs::FULL),
        ["soak", "artifacts"] => artifacts::run(artifacts::FULL),
        ["soak", "leak"] => leak::run(leak::FULL),
        ["soak", "faults"] => faults::run(faults::FULL),
        ["soak", "crashes"] => crashes::all(20),
        ["soak", "workflows"] => crashes_workflows::run(20),
        ["soak", "kill"] => kill::run(),
        ["bench"] => bench::run(),
        ["bench", "measure"] => bench::measure_all(),
        ["bench", "artifacts"] => artifacts::bench::run(),
        ["bench", "artifacts", "measure"] => artifacts::bench::measure(),
        ["bench", "board"] => board::run(),
        ["bench", "starts"] => bench::starts(),
        ["bench", "workflows"] => bench::workflows::run(),
        ["bench", "workflows", krt] => bench::workflows::measure(krt.as_ref()),
        ["bench", "languages"] => bench::languages::run(),
        ["bench", "languages", krt] => bench::languages::measure(krt.as_ref()),
        ["bench", "cpu", krt] => bench::processor_time(krt.as_ref()),
        _ => anyhow::bail!(USAGE),
    }
}
