//! The settings of an image, read from its Containerfile, so that both ways to build it agree.

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// `config` of the image, as the OCI specification has it. Instructions that make files are for engines: their place
/// is taken by the layers.
pub(crate) fn config(text: &str) -> anyhow::Result<Value> {
    let mut config = Map::new();
    let mut environment = Vec::new();
    let joined = text.replace("\\\n", " ");
    for line in
        joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
        match instruction {
            "USER" => config.insert("User".into(), json!(rest)),
            "WORKDIR" => config.insert("WorkingDir".into(), json!(rest)),
            "ENTRYPOINT" => {
                let words: Vec<String> =
                    serde_json::from_str(rest).with_context(|| format!("`{line}` is no list"))?;
                config.insert("Entrypoint".into(), json!(words))
            }
            "ENV" if rest.split(' ').count() == 1 && rest.contains('=') => {
                environment.push(rest);
                None
            }
            // A stage begins with the settings of its base alone.
            "FROM" => {
                config.clear();
                environment.clear();
                None
            }
            "COPY" | "RUN" => None,
            _ => bail!("`{line}` is not understood"),
        };
    }
    config.insert("Env".into(), json!(environment));
    Ok(Value::Object(config))
}

#[cfg(test)]
mod tests {
    use super::config;
    use crate::generate::root;
    use serde_json::json;

    #[test]
    fn settings_are_read_and_what_is_not_understood_is_refused() {
        let text = "# a\nFROM w AS build\nWORKDIR /w\nENV C=3\nFROM x\nRUN a \\\n && b\nENV A=1\nENV B=2\nUSER 1:1\nENTRYPOINT [\"/a\", \"b\"]\n";
        assert_eq!(
            config(text).unwrap(),
            json!({"Env": ["A=1", "B=2"], "User": "1:1", "Entrypoint": ["/a", "b"]})
        );
        for bad in ["CMD [\"a\"]", "ENTRYPOINT a b", "ENV A 1", "ENV A=1 B=2", "user 1"] {
            assert!(config(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn images_differ_in_what_they_run_and_python_in_its_packages_only() {
        let read = |name: &str| {
            let path = root().join(format!("images/{name}.Containerfile"));
            std::fs::read_to_string(path).unwrap()
        };
        let instructions = |text: &str| -> Vec<String> {
            let kept = text.lines().filter(|line| !line.starts_with('#'));
            kept.filter(|line| !line.starts_with("ENTRYPOINT")).map(str::to_owned).collect()
        };
        let (roles, bash, python) =
            (read("kruntimes"), read("bash-runtime"), read("python-runtime"));
        let one_list = "xargs apt-get install -y --no-install-recommends </tmp/base/packages";
        let two_lists = "cat /tmp/base/packages /tmp/base/python-packages | xargs apt-get install -y \
                         --no-install-recommends";
        assert_eq!(instructions(&roles), instructions(&python.replace(two_lists, one_list)));
        assert_eq!(
            config(&python).unwrap()["Entrypoint"],
            json!(["/usr/local/bin/krt", "serve", "runtime-python"])
        );
        assert_eq!(instructions(&roles), instructions(&bash));
        assert_eq!(config(&roles).unwrap()["Entrypoint"], json!(["/usr/local/bin/krt"]));
        assert_eq!(
            config(&bash).unwrap()["Entrypoint"],
            json!(["/usr/local/bin/krt", "serve", "runtime-bash"])
        );
        for config in [roles, bash, python].map(|text| config(&text).unwrap()) {
            assert_eq!(config["User"], "65532:65532");
        }
    }
}
