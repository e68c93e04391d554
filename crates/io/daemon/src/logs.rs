//! Logs of a role: to stderr, one line an event, filtered by `KRUNTIMES_LOG` or the given default.

use tracing_subscriber::EnvFilter;

/// Installs the process's log writer. A second call changes nothing.
pub fn install(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        // It would print to the same stderr and panic there: a full disk below a log file must stop nobody.
        .log_internal_errors(false)
        .finish();
    // The first subscriber stays: a test may have installed its own.
    drop(tracing::subscriber::set_global_default(subscriber));
}
