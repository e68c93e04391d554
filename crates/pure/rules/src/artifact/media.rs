//! Media types, by the ending of a name or the first bytes of the content.

/// How many of the first bytes are looked at.
pub const SNIFFED_BYTES: usize = 512;

const BINARY: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

const BY_ENDING: [(&str, &str); 24] = [
    ("avif", "image/avif"),
    ("bz2", "application/x-bzip2"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("log", TEXT),
    ("md", "text/markdown; charset=utf-8"),
    ("mp4", "video/mp4"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("txt", TEXT),
    ("wasm", "application/wasm"),
    ("xml", "text/xml; charset=utf-8"),
    ("zip", "application/zip"),
];
const BY_CONTENT: [(&[u8], &str); 6] = [
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
];

/// The media type of a file with this name that begins with these bytes.
#[must_use]
pub fn media_type(name: &str, head: &[u8]) -> &'static str {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let by_ending = BY_ENDING.iter().find(|(known, _)| ending.as_deref() == Some(*known));
    let by_content = || BY_CONTENT.iter().find(|(begins, _)| head.starts_with(begins));
    if let Some(known) = by_ending {
        return known.1;
    }
    if let Some(known) = by_content() {
        return known.1;
    }
    let head = &head[..head.len().min(SNIFFED_BYTES)];
    // The last character may be cut.
    let is_utf8 = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    let is_plain = |byte: &u8| *byte >= b' ' || matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    if is_utf8 && head.iter().all(is_plain) { TEXT } else { BINARY }
}
