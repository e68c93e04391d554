//! get and list.
use std::sync::Arc;

use http::Response;
use http::request::Parts;
use jiff::Timestamp;
use kruntimes_objects::fields::FieldSelector;
use kruntimes_objects::labels::LabelSelector;
use kruntimes_objects::status::Failure;
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::table::{self, Include};
use kruntimes_objects::window::Filter;
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::negotiate::{self, Form};
use crate::respond;
use crate::server::ApiServer;

impl Call {
    /// What the selectors of the query select.
    pub(crate) fn filter(&self) -> Result<Filter, Failure> {
        let labels = LabelSelector::parse(self.query.get("labelSelector").unwrap_or_default())
            .map_err(|e| Failure::bad_request(e.to_string()))?;
        let fields =
            FieldSelector::parse(self.query.get("fieldSelector").unwrap_or_default(), &self.res)?;
        let namespace = Some(self.namespace.clone()).filter(|n| !n.is_empty());
        Ok(Filter { namespace, labels, fields })
    }

    /// How much of each object a Table carries.
    pub(crate) fn include(&self) -> Result<Include, Failure> {
        match self.query.get("includeObject") {
            None | Some("Metadata") => Ok(Include::Metadata),
            Some("Object") => Ok(Include::Object),
            Some("None") => Ok(Include::None),
            Some(other) => {
                Err(Failure::bad_request(format!("unrecognized includeObject value: {other:?}")))
            }
        }
    }
}

/// An object's bare metadata.
pub(crate) fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"] })
}

impl ApiServer {
    pub(crate) fn get(&self, call: &Call, parts: &Parts) -> Result<Response<Body>, Failure> {
        let form = negotiate::form(&parts.headers)?;
        let key = Key::new(&call.res, &call.namespace, &call.name);
        let stored =
            self.shared.get(&key).ok_or_else(|| Failure::not_found(&call.res, &call.name))?;
        Ok(match form {
            Form::Object => respond::json(200, respond::shared(&stored.json)),
            Form::Metadata => respond::value(200, &partial(&stored.value())),
            Form::Table => {
                let metadata = json!({ "resourceVersion": stored.version.to_string() });
                let now = Timestamp::now().as_second();
                let objects = [stored.value()];
                let include = call.include()?;
                respond::value(
                    200,
                    &table::table(&call.res, &objects, &metadata, include, true, now),
                )
            }
        })
    }

    pub(crate) fn list(&self, call: &Call, parts: &Parts) -> Result<Response<Body>, Failure> {
        let form = negotiate::form(&parts.headers)?;
        let filter = call.filter()?;
        let page = self.page(call, &filter)?;
        let metadata = page.metadata(&filter);
        let values = || page.objects.iter().map(|s| s.value()).collect::<Vec<_>>();
        Ok(match form {
            Form::Object => respond::json(200, encode(call, &metadata, &page.objects)),
            Form::Table => {
                let now = Timestamp::now().as_second();
                let include = call.include()?;
                respond::value(
                    200,
                    &table::table(&call.res, &values(), &metadata, include, true, now),
                )
            }
            Form::Metadata => {
                let items: Vec<Value> = values().iter().map(partial).collect();
                respond::value(
                    200,
                    &json!({ "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                        "metadata": metadata, "items": items }),
                )
            }
        })
    }
}

pub(crate) fn encode(call: &Call, metadata: &Value, objects: &[Arc<Stored>]) -> Vec<u8> {
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        json!(call.res.list_kind),
        json!(call.res.api_version())
    );
    let size: usize = objects.iter().map(|s| s.json.len() + 1).sum();
    let mut out = Vec::with_capacity(head.len() + size + 2);
    out.extend_from_slice(head.as_bytes());
    for (at, stored) in objects.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&stored.json);
    }
    out.extend_from_slice(b"]}");
    out
}
