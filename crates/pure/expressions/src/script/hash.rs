//! `hashFiles` in a script of bash: files exist only where the script runs, so that its variable comes with the patterns, one
//! a line, and the script makes the hash of them, as GitHub's runner does: SHA-256 of the digests of all files, in the
//! order of the patterns. The patterns are expanded, never evaluated.

const FUNCTION: &str = r#"kruntimes_hash_files() ( set +eu; shopt -s globstar nullglob dotglob; IFS=$'\n'; all=; for file in $1; do [[ -f $file && ! -L $file ]] && all+=$(sha256sum <"$file" | cut -c1-64); done; [[ -z $all ]] || printf "$(sed 's/../\\x&/g' <<<"$all")" | sha256sum | cut -c1-64 ); "#;

/// The script that makes the hashes first, on its first line, so that no line has another number.
pub(super) fn before<'a>(text: String, names: impl Iterator<Item = &'a str>) -> String {
    let each: String =
        names.map(|name| format!("{name}=$(kruntimes_hash_files \"${name}\"); ")).collect();
    if each.is_empty() { text } else { format!("{FUNCTION}{each}{text}") }
}
