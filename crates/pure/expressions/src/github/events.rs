//! `on:` of a file. To be started by hand is the only event that means the same here.

use super::keys::STARTS;
use super::translate::Translation;
use serde_json::{Map, Value};

const BY_HAND: &str = "workflow_dispatch";

impl Translation {
    /// The inputs that the events declare. Events that are objects' keys are refused with the other keys.
    pub(super) fn events(&mut self, events: &Value) -> Option<Value> {
        match events {
            Value::Object(events) => {
                if events.is_empty() {
                    self.refuse("on", STARTS);
                }
                self.inputs(events.get(BY_HAND)?.get("inputs")?)
            }
            Value::Array(names) => {
                for (place, name) in names.iter().enumerate() {
                    self.event(name, &format!("on[{place}]"));
                }
                None
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                self.event(events, "on");
                None
            }
        }
    }

    fn event(&mut self, name: &Value, path: &str) {
        if name != BY_HAND {
            self.refuse(path, STARTS);
        }
    }

    fn inputs(&mut self, inputs: &Value) -> Option<Value> {
        let path = format!("on.{BY_HAND}.inputs");
        let Some(inputs) = inputs.as_object() else {
            self.refuse(&path, "an object of names and inputs is needed here");
            return None;
        };
        let input = |(name, input): (&String, &Value)| {
            (name.clone(), self.input(input, &format!("{path}.{name}")))
        };
        Some(Value::Object(inputs.iter().map(input).collect()))
    }

    /// A default is a text here, and of the input's type when it is read.
    fn input(&mut self, input: &Value, path: &str) -> Value {
        let mut translated = Map::new();
        for (key, value) in input.as_object().into_iter().flatten() {
            let at = format!("{path}.{key}");
            let value = match key.as_str() {
                "default" | "description" => self.text(value, &at).into(),
                "type" if value == "environment" => {
                    self.refuse(&at, "there are no environments: take choice, with its options");
                    continue;
                }
                _ => value.clone(),
            };
            translated.insert(key.clone(), value);
        }
        translated.into()
    }
}
