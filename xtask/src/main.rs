//! Automation of the project: `cargo xtask generate | tidy | ci | bench | e2e`.

mod generate;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("generate") => generate::run(),
        _ => anyhow::bail!("usage: cargo xtask generate"),
    }
}
