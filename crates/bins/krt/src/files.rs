//! Files that the command line names.

use crate::failure::{Failure, without_number};
use std::io::Read;
use std::path::Path;

/// The largest file that is read: above what any API server takes.
const FILE_BYTES: u64 = 16 << 20;

/// The text of a file; `-` is stdin.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let named = |error: std::io::Error| {
        let why = without_number(&error.to_string());
        Failure::new(format!("can't read {}: {why}", path.display()))
    };
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(named)?;
    } else {
        let file = std::fs::File::open(path).map_err(named)?;
        file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(named)?;
    }
    if bytes.len() as u64 > FILE_BYTES {
        return Err(Failure::new(format!(
            "{} is too large: a file may have {FILE_BYTES} bytes, and a script {} characters",
            path.display(),
            kruntimes_api::limits::INLINE_CHARS
        )));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::new(format!("{} is not UTF-8 text", path.display())))
}
