//! Tables: what `kubectl get` shows.
use serde_json::{Value, json};

use crate::columns;
use crate::resource::{Cell, Column, Resource};

/// Which object a row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Include {
    /// Only its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
    /// None.
    None,
}

/// A Table of `objects`; `metadata` is the list's.
pub fn table(
    res: &Resource,
    objects: &[Value],
    metadata: &Value,
    include: Include,
    headings: bool,
    now: i64,
) -> Value {
    let rows: Vec<Value> = objects.iter().map(|o| row(res, o, include, now)).collect();
    let mut table = json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": null, "rows": rows,
    });
    if headings {
        table["columnDefinitions"] = definitions(res);
    }
    table
}

fn definitions(res: &Resource) -> Value {
    let name = json!({ "name": "Name", "type": "string", "format": "name", "priority": 0,
        "description": "Name must be unique within a namespace." });
    let others = res.columns.iter().map(|c| {
        json!({ "name": c.name, "type": c.kind, "format": c.format, "priority": c.priority,
            "description": c.description })
    });
    let name = (!names_itself(res)).then_some(name);
    name.into_iter().chain(others).collect()
}

/// Events have no Name column.
fn names_itself(res: &Resource) -> bool {
    res.is("events")
}

fn row(res: &Resource, object: &Value, include: Include, now: i64) -> Value {
    let name = (!names_itself(res)).then(|| object["metadata"]["name"].clone());
    let cells: Vec<Value> =
        name.into_iter().chain(res.columns.iter().map(|c| cell(c, object, now))).collect();
    let mut row = json!({ "cells": cells });
    match include {
        Include::None => {}
        Include::Object => row["object"] = object.clone(),
        Include::Metadata => {
            row["object"] = json!({ "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] });
        }
    }
    row
}

fn cell(column: &Column, object: &Value, now: i64) -> Value {
    let path = match &column.cell {
        Cell::Function(function) => return function(object, now),
        Cell::Path(path) => path,
    };
    let Some(value) = path.first(object) else { return Value::Null };
    match column.kind.as_str() {
        "date" => columns::ago(value.as_str().unwrap_or_default(), now),
        "string" if !value.is_string() && !value.is_null() => json!(value.to_string()),
        _ => value.clone(),
    }
}
