//! Which protos the committed code was generated from.

use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;

/// The protos below `api/`.
pub const PROTOS: [&str; 2] = ["runtime/v1/runtime.proto", "artifact/v1/artifact.proto"];

/// The content of `src/generated/SOURCES` for the protos below `api`: one `sha256  path` a line.
///
/// # Errors
/// A proto that can't be read.
pub fn digests(api: &Path) -> io::Result<String> {
    let mut lines = String::new();
    for proto in PROTOS {
        for byte in Sha256::digest(std::fs::read(api.join(proto))?) {
            lines.push_str(&format!("{byte:02x}"));
        }
        lines.push_str("  ");
        lines.push_str(proto);
        lines.push('\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn committed_code_comes_from_these_protos() {
        let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../api");
        assert_eq!(
            super::digests(&api).unwrap(),
            include_str!("generated/SOURCES"),
            "the protos have changed: run `cargo xtask generate`"
        );
    }
}
