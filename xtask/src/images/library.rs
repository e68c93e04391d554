//! Whether the image's C library is new enough for the binary.

use anyhow::{Context, ensure};

/// A version of glibc: major, minor.
type Version = (u32, u32);

/// Fails when the binary was linked against a newer library than the listed packages have.
pub(super) fn check(binary: &[u8], packages: &str) -> anyhow::Result<()> {
    let Some(needed) = needed(binary) else { return Ok(()) };
    let offered = offered(packages).context("the image has no libc6")?;
    ensure!(
        needed <= offered,
        "krt needs glibc {}.{}, the image has {}.{}: build krt on an older system, or raise the suite in \
         xtask/src/images/base.rs",
        needed.0,
        needed.1,
        offered.0,
        offered.1
    );
    Ok(())
}

/// The newest symbol version that the binary names; a static one names none.
fn needed(binary: &[u8]) -> Option<Version> {
    const PREFIX: &[u8] = b"GLIBC_";
    let starts = binary.windows(PREFIX.len()).enumerate().filter(|(_, window)| *window == PREFIX);
    starts
        .filter_map(|(at, _)| {
            let rest = &binary[at + PREFIX.len()..];
            let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
            version(std::str::from_utf8(&rest[..end]).ok()?)
        })
        .max()
}

/// The version of `libc6` in a list of `package version` lines.
fn offered(packages: &str) -> Option<Version> {
    let line = packages.lines().find(|line| {
        line.split_whitespace().next().is_some_and(|name| name.split(':').next() == Some("libc6"))
    })?;
    version(line.split_whitespace().nth(1)?.split('-').next()?)
}

fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_binary_that_needs_a_newer_library_is_refused() {
        let packages = "git\t1:2.47\nlibc6:amd64\t2.41-12+deb13u2\nlibc6-dev\t2.99\n";
        for (binary, fits) in [
            (&b"\0GLIBC_2.34\0GLIBC_2.9\0"[..], true),
            (b"GLIBC_2.41\0", true),
            (b"GLIBC_2.4\0GLIBC_2.42\0GLIBC_2.5\0", false),
            (b"GLIBC_3.0\0", false),
            (b"GLIBC_PRIVATE\0", true),
            (b"static", true),
        ] {
            assert_eq!(
                check(binary, packages).is_ok(),
                fits,
                "{}",
                String::from_utf8_lossy(binary)
            );
        }
        assert!(check(b"GLIBC_2.2\0", "git 1\n").is_err());
    }
}
