//! `docs/workflows.md`: every example gives what the page says.

use kruntimes_expressions::github::{KEYS, Verdict};
use kruntimes_expressions::{Expression, Interpreter, Matrix, Template};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/workflows.md"))
}

fn page() -> String {
    std::fs::read_to_string(path()).unwrap()
}

/// The rows of all tables with this head, each as the text of its cells.
fn rows(page: &str, head: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line != head {
            continue;
        }
        let table = lines.by_ref().skip(1).take_while(|line| line.starts_with('|'));
        rows.extend(table.map(|row| {
            let row = row.trim_matches('|').replace("\\|", "\u{1}");
            row.split('|').map(|cell| code(&cell.replace('\u{1}', "|"))).collect()
        }));
    }
    rows
}

/// Without the backticks around it.
fn code(cell: &str) -> String {
    let cell = cell.trim();
    let long = cell.strip_prefix("`` ").and_then(|cell| cell.strip_suffix(" ``"));
    let short = || cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`'));
    long.or_else(short).unwrap_or(cell).to_owned()
}

fn file(page: &str, name: &str) -> Value {
    let start = format!("```yaml file={name}\n");
    let text = page.split_once(&start).and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn expressions() {
    let page = page();
    let contexts = file(&page, "contexts.yaml");
    let rows = rows(&page, "| expression | value |");
    assert!(rows.len() > 30, "{}", rows.len());
    for row in rows {
        let value = Expression::parse(&row[0]).and_then(|parsed| parsed.evaluate(&contexts));
        let value = value.unwrap_or_else(|error| panic!("{}: {error}", row[0]));
        assert_eq!(value, serde_json::from_str::<Value>(&row[1]).unwrap(), "{}", row[0]);
    }
}

#[test]
fn scripts() {
    let page = page();
    let contexts = file(&page, "contexts.yaml");
    let printed = rows(&page, "| script | prints |");
    assert!(printed.len() > 4, "{}", printed.len());
    for row in printed {
        let template = Template::parse(&row[0]).unwrap();
        let script = template.to_script(Interpreter::Bash, "KRUNTIMES_EXPR_").unwrap();
        let variables = script
            .variables
            .iter()
            .map(|(name, expression)| (name, expression.evaluate_text(&contexts).unwrap()));
        let mut bash = Command::new("bash");
        let output = bash.args(["-c", &script.text]).envs(variables).output().unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.lines().collect::<Vec<_>>().join(" "), row[1], "{}", row[0]);
    }
    let refused = rows(&page, "| script | refused, for |");
    assert!(refused.len() > 7, "{}", refused.len());
    for row in refused {
        let template = Template::parse(&row[0]).unwrap();
        let error = template.to_script(Interpreter::Bash, "X").expect_err(&row[0]).to_string();
        assert!(error.contains(&format!(": {};", row[1])), "{}: {error}", row[0]);
    }
    let step = file(&page, "step.yaml");
    let run = Template::parse(step["run"].as_str().unwrap()).unwrap();
    assert!(run.to_script(Interpreter::Other("python"), "X").is_ok());
    let name = Template::parse(step["env"]["NAME"].as_str().unwrap()).unwrap();
    assert_eq!(name.evaluate(&contexts), Ok(json!("Ada")));
}

#[test]
fn matrices() {
    let page = page();
    let contexts = file(&page, "contexts.yaml");
    let rows = rows(&page, "| leg | `matrix` |");
    let mut legs = Vec::new();
    for name in ["matrix.yaml", "fan-out.yaml"] {
        let matrix = Matrix::parse(&file(&page, name), 1_024).unwrap();
        legs.extend(matrix.expand(&contexts, 1_024).unwrap());
    }
    let legs: Vec<Vec<String>> =
        legs.into_iter().map(|leg| vec![leg.name, Value::Object(leg.values).to_string()]).collect();
    assert_eq!(rows, legs);
}

#[test]
fn every_key_of_githubs_syntax_has_its_row() {
    let page = page();
    let head = "| key | here | |\n|---|---|---|\n";
    let row =
        |path: &str, verdict: &str, text: &str| format!("| `{path}` | {verdict} | {text} |\n");
    let rows = KEYS.iter().map(|key| match key.verdict {
        Verdict::Same => row(key.path, "same", ""),
        Verdict::Differs(how) => row(key.path, "differs", how),
        Verdict::Refused(instead) => row(key.path, "refused", instead),
    });
    let (before, rest) = page.split_once(head).unwrap();
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    let expected = format!("{before}{head}{}{after}", rows.collect::<String>());
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path(), &expected).unwrap();
        return;
    }
    assert_eq!(page, expected, "UPDATE_EXPECT=1 writes the table");
}
