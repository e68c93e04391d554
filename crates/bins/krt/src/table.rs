//! Output for people and programs: aligned tables, JSON and YAML as the API server holds the objects.

use crate::cli::{Output, Report};
use crate::duration;
use crate::failure::Failure;
use serde_json::Value;
use std::io::Write;

/// Blanks between the columns of a list.
const LIST_PADDING: usize = 3;
/// Blanks after the names of a detail view.
const DETAIL_PADDING: usize = 2;

/// Writes text to stdout; a closed pipe is not an error.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Columns under their headers, the last one without trailing blanks.
pub(crate) fn columns(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = headers.iter().map(|header| header.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headers: Vec<String> = headers.iter().map(|header| (*header).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&headers).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + LIST_PADDING));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `Name:  value` lines; empty values are left out, further lines of a value stand below its first.
pub(crate) fn details(lines: &[(&str, String)]) -> String {
    let shown: Vec<&(&str, String)> = lines.iter().filter(|(_, value)| !value.is_empty()).collect();
    let width = shown.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0) + DETAIL_PADDING;
    let line = |(name, value): &&(&str, String)| {
        let value = value.replace('\n', &format!("\n{:width$}", ""));
        format!("{:<width$}{value}\n", format!("{name}:"))
    };
    shown.iter().map(line).collect()
}

/// A report in a format for programs; `None` asks for the lines for people.
pub(crate) fn report(
    report: &impl serde::Serialize,
    output: Report,
) -> Result<Option<String>, Failure> {
    let object = serde_json::to_value(report)
        .map_err(|error| Failure::new(format!("can't print: {error}")))?;
    let output = match output {
        Report::Table => Output::Table,
        Report::Json => Output::Json,
        Report::Yaml => Output::Yaml,
    };
    structured(object, output, "")
}

/// An object, or a list of them, in a format for programs; `None` asks for the table.
pub(crate) fn structured(
    mut object: Value,
    output: Output,
    resource: &str,
) -> Result<Option<String>, Failure> {
    hide_managed_fields(&mut object);
    match output {
        Output::Table => Ok(None),
        Output::Json => {
            let text = serde_json::to_string_pretty(&object)
                .map_err(|error| Failure::new(format!("can't print as JSON: {error}")))?;
            Ok(Some(text + "\n"))
        }
        Output::Yaml => {
            let text = serde_saphyr::to_string(&object)
                .map_err(|error| Failure::new(format!("can't print as YAML: {error}")))?;
            Ok(Some(text))
        }
        Output::Name => {
            let items: Vec<&Value> = match object.get("items").and_then(Value::as_array) {
                Some(items) => items.iter().collect(),
                None => vec![&object],
            };
            Ok(Some(
                items
                    .iter()
                    .map(|item| format!("{resource}/{}\n", text(item, "/metadata/name")))
                    .collect(),
            ))
        }
    }
}

fn hide_managed_fields(object: &mut Value) {
    let items = match object.get_mut("items").and_then(Value::as_array_mut) {
        Some(items) => items.iter_mut().collect(),
        None => vec![object],
    };
    for item in items {
        if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    }
}

/// A field as text; absent is empty.
pub(crate) fn text(object: &Value, pointer: &str) -> String {
    match object.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Nothing that a Run wrote moves the cursor or begins a line.
pub(crate) fn plain(text: &str) -> String {
    let shown = |letter: char| match letter {
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => letter.to_string(),
    };
    text.chars().map(shown).collect()
}

/// Age of an object at `now`, `<unknown>` when it has no time of creation.
pub(crate) fn age(object: &Value, now: jiff::Timestamp) -> String {
    let created: Result<jiff::Timestamp, _> = text(object, "/metadata/creationTimestamp").parse();
    match created {
        Ok(created) => duration::age(now.as_second() - created.as_second()),
        Err(_) => "<unknown>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_three_apart_and_end_without_blanks() {
        let text = columns(
            &["NAME", "AGE"],
            &[vec!["run-1".to_owned(), "5s".to_owned()], vec!["x".to_owned(), String::new()]],
        );
        assert_eq!(text, "NAME    AGE\nrun-1   5s\nx\n");
    }

    #[test]
    fn details_leave_out_what_is_empty() {
        assert_eq!(
            details(&[
                ("Name", "a".to_owned()),
                ("Message", String::new()),
                ("Pod", "b".to_owned())
            ]),
            "Name:  a\nPod:   b\n"
        );
    }

    #[test]
    fn programs_get_the_object_without_managed_fields() {
        let object = json!({"apiVersion": "kruntimes.io/v1alpha1", "kind": "Run", "metadata": {"name": "a", "managedFields": []}});
        let json_text =
            structured(object.clone(), Output::Json, "run.kruntimes.io").unwrap().unwrap();
        assert_eq!(
            json_text,
            "{\n  \"apiVersion\": \"kruntimes.io/v1alpha1\",\n  \"kind\": \"Run\",\n  \"metadata\": {\n    \"name\": \"a\"\n  }\n}\n"
        );
        let yaml = structured(object.clone(), Output::Yaml, "run.kruntimes.io").unwrap().unwrap();
        assert_eq!(yaml, "apiVersion: kruntimes.io/v1alpha1\nkind: Run\nmetadata:\n  name: a\n");
        assert_eq!(
            structured(object, Output::Name, "run.kruntimes.io").unwrap().unwrap(),
            "run.kruntimes.io/a\n"
        );
    }
}
