//! The committed document of reasons is the one that the table generates.

use kruntimes_api::explain;
use std::path::Path;

#[test]
fn the_document_of_reasons_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/reasons.md");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == explain::markdown(),
        "docs/reasons.md differs from the table of reasons: run `cargo xtask generate`"
    );
}
