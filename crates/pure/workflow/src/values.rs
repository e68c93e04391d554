//! The values of a Workflow's inputs, typed as `spec.inputs` says.

use crate::plan::Invalid;
use kruntimes_api::{Input, InputType, WorkflowSpec};
use serde_json::{Map, Value, json};

/// The inputs, by name.
///
/// # Errors
/// Each value that is missing or not of its type.
pub(crate) fn inputs(spec: &WorkflowSpec) -> Result<Value, Vec<Invalid>> {
    let (mut values, mut wrong) = (Map::new(), Vec::new());
    for (name, input) in &spec.inputs {
        let given = spec.with.get(name);
        let path = match given {
            Some(_) => format!("spec.with.{name}"),
            None => format!("spec.inputs.{name}.default"),
        };
        match given.or(input.default.as_ref()) {
            Some(text) => match typed(input, text) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(problem) => wrong.push(Invalid::new(path, problem)),
            },
            None if input.required == Some(true) => {
                let problem = "the input is required: give it a value here, with krt by --set";
                wrong.push(Invalid::new(format!("spec.with.{name}"), problem));
            }
            None => {
                values.insert(name.clone(), nothing(input));
            }
        }
    }
    if wrong.is_empty() { Ok(Value::Object(values)) } else { Err(wrong) }
}

fn typed(input: &Input, text: &str) -> Result<Value, String> {
    match input.kind.unwrap_or_default() {
        InputType::String => Ok(json!(text)),
        InputType::Number => match serde_json::from_str(text) {
            Ok(Value::Number(number)) => Ok(Value::Number(number)),
            _ => Err(format!("{text:?} is no number: write it like 3 or 0.5")),
        },
        InputType::Boolean => match text {
            "true" => Ok(json!(true)),
            "false" => Ok(json!(false)),
            _ => Err(format!("{text:?} is neither true nor false")),
        },
        InputType::Choice if input.options.iter().any(|option| option == text) => Ok(json!(text)),
        InputType::Choice => Err(format!("{text:?} is none of {}", input.options.join(", "))),
    }
}

fn nothing(input: &Input) -> Value {
    match input.kind.unwrap_or_default() {
        InputType::String | InputType::Choice => json!(""),
        InputType::Number => json!(0),
        InputType::Boolean => json!(false),
    }
}

#[cfg(test)]
mod tests {
    use super::inputs;
    use serde_json::{Value, json};

    fn of(declared: &Value, given: &Value) -> Result<Value, Vec<String>> {
        let spec = json!({"jobs": {}, "inputs": declared, "with": given});
        inputs(&serde_json::from_value(spec).unwrap())
            .map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_have_the_type_of_their_input() {
        let declared = json!({
            "s": {}, "n": {"type": "number"}, "b": {"type": "boolean"},
            "c": {"type": "choice", "options": ["x", "y"], "default": "y"},
        });
        let given = json!({"s": "5", "n": "-2.5", "b": "true"});
        let expected = json!({"s": "5", "n": -2.5, "b": true, "c": "y"});
        assert_eq!(of(&declared, &given), Ok(expected));
        let expected = json!({"s": "", "n": 0, "b": false, "c": "x"});
        assert_eq!(of(&declared, &json!({"c": "x"})), Ok(expected));
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_named() {
        for (declared, given, expected) in [
            (
                json!({"a": {"required": true}}),
                json!({}),
                "spec.with.a: the input is required: give it a value here, with krt by --set",
            ),
            (
                json!({"a": {"type": "number"}}),
                json!({"a": "x"}),
                "spec.with.a: \"x\" is no number: write it like 3 or 0.5",
            ),
            (
                json!({"a": {"type": "number"}}),
                json!({"a": "true"}),
                "spec.with.a: \"true\" is no number: write it like 3 or 0.5",
            ),
            (
                json!({"a": {"type": "boolean", "default": "yes"}}),
                json!({}),
                "spec.inputs.a.default: \"yes\" is neither true nor false",
            ),
            (
                json!({"a": {"type": "choice", "options": ["x", "y"]}}),
                json!({"a": "z"}),
                "spec.with.a: \"z\" is none of x, y",
            ),
        ] {
            assert_eq!(of(&declared, &given), Err(vec![expected.to_owned()]));
        }
        assert_eq!(
            of(&json!({"a": {"required": true, "default": ""}}), &json!({})),
            Ok(json!({"a": ""}))
        );
    }
}
