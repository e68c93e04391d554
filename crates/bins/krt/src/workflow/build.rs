//! Makes the Workflow object from a manifest, or from a file in GitHub's syntax.

use super::args::CreateArgs;
use crate::failure::{Failure, USAGE};
use crate::files;
use crate::names;
use kruntimes_expressions::github;
use kruntimes_objects::yaml;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The Workflow that the arguments describe.
pub(crate) fn workflow(args: &CreateArgs) -> Result<Value, Failure> {
    let mut object = of_file(&args.file)?;
    if let Some(name) = &args.name {
        within(&mut object, &["metadata"])?.insert("name".to_owned(), json!(name));
    }
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|metadata| metadata.contains_key("name")) {
        metadata.remove("generateName");
    }
    for pair in &args.set {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::usage(format!("--set {pair:?} is not NAME=VALUE")));
        };
        within(&mut object, &["spec", "with"])?.insert(name.to_owned(), json!(value));
    }
    Ok(object)
}

/// The object at a path, which is made where there is nothing.
fn within<'a>(object: &'a mut Value, path: &[&str]) -> Result<&'a mut Map<String, Value>, Failure> {
    let mut inner = object.as_object_mut();
    for (depth, name) in path.iter().enumerate() {
        inner = inner.and_then(|object| {
            let value = object.entry(*name).or_insert(Value::Null);
            if value.is_null() {
                *value = json!({});
            }
            value.as_object_mut()
        });
        if inner.is_none() {
            let place = path[..=depth].join(".");
            return Err(Failure::new(format!("{place} of the file must be an object with names")));
        }
    }
    inner.ok_or_else(|| Failure::new("the file is no object"))
}

/// The Workflow in a file.
pub(super) fn of_file(path: &Path) -> Result<Value, Failure> {
    let text = files::read(path)?;
    let shown = path.display();
    let failed = |why: String| Failure::new(format!("{shown}: {why}"));
    let documents =
        yaml::documents(&text).map_err(|error| failed(format!("is not valid YAML: {error}")))?;
    let mut documents = documents.into_iter().filter(|document| !document.is_null());
    let (Some(document), None) = (documents.next(), documents.next()) else {
        return Err(failed(
            "it takes one Workflow at a time: use kubectl apply -f for more".to_owned(),
        ));
    };
    let kind = document.get("kind").and_then(Value::as_str);
    match (document.get("apiVersion").and_then(Value::as_str), kind) {
        (Some(_), Some("Workflow")) => Ok(document),
        (Some(_), Some(kind)) => Err(failed(format!(
            "krt workflow takes a manifest of kind Workflow, this is a {kind}: use kubectl apply -f"
        ))),
        _ if document.get("jobs").is_some() => translated(path, &document),
        _ => Err(failed(
            "it is neither a manifest (apiVersion, kind: Workflow) nor a file with jobs in GitHub's syntax".to_owned(),
        )),
    }
}

fn translated(path: &Path, document: &Value) -> Result<Value, Failure> {
    let translated = github::translate(document).map_err(|refusals| Failure {
        lines: refusals.iter().map(|refusal| format!("{}: {refusal}", path.display())).collect(),
        code: USAGE,
    })?;
    let prefix = translated.name.map_or_else(|| "wf-".to_owned(), |name| prefix(&name));
    Ok(json!({
        "apiVersion": kruntimes_api::API_VERSION,
        "kind": "Workflow",
        "metadata": {"generateName": prefix},
        "spec": translated.spec,
    }))
}

/// Characters that a name has besides the five that the API server adds.
const PREFIX_CHARS: usize = 50;

/// The file's own name, as far as names of objects take it.
fn prefix(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut prefix: String = words.collect::<Vec<_>>().join("-");
    prefix.truncate(PREFIX_CHARS);
    let prefix = prefix.trim_matches('-');
    if names::object(prefix).is_ok() { format!("{prefix}-") } else { "wf-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn a_name_of_a_file_becomes_the_beginning_of_a_name() {
        assert_eq!(prefix("Build & Test"), "build-test-");
        assert_eq!(prefix("日本"), "wf-");
        assert_eq!(prefix(&"x".repeat(99)).len(), 51);
    }
}
