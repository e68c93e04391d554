//! `docs/configuration.md` names every flag and every environment variable that the code reads.

use crate::root;
use crate::user::Reader;
use std::collections::BTreeSet;
use std::path::Path;

fn page() -> String {
    std::fs::read_to_string(root().join("docs/configuration.md")).unwrap()
}

#[test]
fn configuration_holds_the_commands_as_they_are() {
    let printed = Reader::new().command("krt").arg("reference").output().unwrap();
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.matches("\n### ").count() > 10 && printed.contains("`--timeout"), "{printed}");
    let page = page();
    let (_, section) = page.split_once("<!-- krt reference -->\n").unwrap();
    assert!(
        section == printed,
        "docs/configuration.md is not what `krt reference` prints: run `cargo xtask generate`"
    );
}

/// Names after `marker` in quotes, in every source file of the crates.
fn quoted_after(folder: &Path, marker: &str, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                quoted_after(&path, marker, names);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let after = text.split(marker).skip(1).filter_map(|rest| rest.strip_prefix('"'));
            names.extend(
                after.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned()),
            );
        }
    }
}

#[test]
fn every_environment_variable_that_is_read_is_documented() {
    let mut names = BTreeSet::new();
    for marker in ["env::var_os(", " env = ", "VARIABLE: &str = "] {
        let before = names.len();
        quoted_after(&root().join("crates"), marker, &mut names);
        assert!(names.len() > before, "nothing is read by {marker}");
    }
    let page = page();
    let missing: Vec<&String> =
        names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not say what these do: {missing:?}");
    assert!(names.contains("XDG_DATA_HOME") && names.contains("KRUNTIMES_LOG"), "{names:?}");
}
