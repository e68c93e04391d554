//! Requests for Runs, Runtimes and Workflows as raw JSON: what the API server holds is what programs get, also fields that this
//! version of krt does not know.

use kube::Client;
use kube::core::Request;
use kube::core::params::{ListParams, PatchParams, PostParams};
use serde_json::Value;

/// Name of the resource in `-o name`.
pub(crate) const RUN_RESOURCE: &str = "run.kruntimes.io";
/// Name of the resource in `-o name`.
pub(crate) const RUNTIME_RESOURCE: &str = "runtime.kruntimes.io";
/// Who writes, in managedFields.
const FIELD_MANAGER: &str = "krt";
/// Objects of one page of a list.
const PAGE: u32 = 500;

fn path(namespace: Option<&str>, plural: &str) -> String {
    match namespace {
        Some(namespace) => {
            format!("/apis/{}/namespaces/{namespace}/{plural}", kruntimes_api::API_VERSION)
        }
        None => format!("/apis/{}/{plural}", kruntimes_api::API_VERSION),
    }
}

/// Creates an object; an unknown field is refused, as by kubectl.
pub(crate) async fn create(
    client: &Client,
    namespace: &str,
    plural: &str,
    object: &Value,
) -> Result<Value, kube::Error> {
    post(client, namespace, plural, object, &PostParams::default()).await
}

/// What [`create`] would answer; nothing is created.
pub(crate) async fn check(
    client: &Client,
    namespace: &str,
    plural: &str,
    object: &Value,
) -> Result<Value, kube::Error> {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    post(client, namespace, plural, object, &params).await
}

async fn post(
    client: &Client,
    namespace: &str,
    plural: &str,
    object: &Value,
    params: &PostParams,
) -> Result<Value, kube::Error> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..params.clone() };
    let mut request = Request::new(path(Some(namespace), plural))
        .create(&params, body)
        .map_err(kube::Error::BuildRequest)?;
    let strict = format!("{}&fieldValidation=Strict", request.uri());
    *request.uri_mut() = strict
        .parse()
        .map_err(|error: http::uri::InvalidUri| kube::Error::HttpError(error.into()))?;
    client.request(request).await
}

/// One object.
pub(crate) async fn get(
    client: &Client,
    namespace: &str,
    plural: &str,
    name: &str,
) -> Result<Value, kube::Error> {
    let request = Request::new(path(Some(namespace), plural))
        .get(name, &kube::core::params::GetParams::default())
        .map_err(kube::Error::BuildRequest)?;
    client.request(request).await
}

/// All objects, page by page, as one list.
pub(crate) async fn list(
    client: &Client,
    namespace: Option<&str>,
    plural: &str,
    fields: Option<&str>,
) -> Result<Value, kube::Error> {
    let mut items = Vec::new();
    let mut list = for_each(client, namespace, plural, fields, |item| items.push(item)).await?;
    if let Some(metadata) = list.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("continue");
        metadata.remove("remainingItemCount");
    }
    if let Some(list) = list.as_object_mut() {
        list.insert("items".to_owned(), items.into());
    }
    Ok(list)
}

/// Takes each object once, page by page; the answer is the first page without its objects.
pub(crate) async fn for_each(
    client: &Client,
    namespace: Option<&str>,
    plural: &str,
    fields: Option<&str>,
    mut take: impl FnMut(Value),
) -> Result<Value, kube::Error> {
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector = fields.map(str::to_owned);
    let mut first = None;
    loop {
        let request = Request::new(path(namespace, plural))
            .list(&params)
            .map_err(kube::Error::BuildRequest)?;
        let mut page: Value = client.request(request).await?;
        let next = crate::table::text(&page, "/metadata/continue");
        let items = page.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
        items.into_iter().flatten().for_each(&mut take);
        let first = first.get_or_insert(page);
        if next.is_empty() {
            return Ok(std::mem::take(first));
        }
        params.continue_token = Some(next);
    }
}

/// Asks for a Run to be cancelled.
pub(crate) async fn cancel(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Value, kube::Error> {
    let changes = serde_json::json!({"spec": {"cancelRequested": true}});
    patch(client, namespace, "runs", name, &changes).await
}

/// Changes an object by a merge patch.
pub(crate) async fn patch(
    client: &Client,
    namespace: &str,
    plural: &str,
    name: &str,
    changes: &Value,
) -> Result<Value, kube::Error> {
    let params =
        PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let request = Request::new(path(Some(namespace), plural))
        .patch(name, &params, &kube::api::Patch::Merge(changes))
        .map_err(kube::Error::BuildRequest)?;
    client.request(request).await
}
