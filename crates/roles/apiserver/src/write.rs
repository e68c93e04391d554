//! create, update and patch: the new object is computed here, then handed to the writer as a compare-and-set.
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use kruntimes_objects::create::{self, Prepared};
use kruntimes_objects::jsonpatch::{self, DecodeError};
use kruntimes_objects::schema::{CauseReason, FieldError};
use kruntimes_objects::state::{Action, Expect, Refused, Write};
use kruntimes_objects::status::Failure;
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::update::{self, Part};
use kruntimes_objects::{delete, json, patch};
use serde_json::{Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::server::ApiServer;
use crate::user::User;
use crate::writer::WriteError;
use crate::{negotiate, parse, policy, respond};

/// The largest object, as etcd has it.
pub(crate) const MAX_OBJECT: usize = 1_572_864;
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
/// How often a lost compare-and-set is computed anew.
const RETRIES: usize = 64;
/// How often a generated name is drawn.
const NAME_DRAWS: usize = 8;

/// What to do with unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validation {
    Ignore,
    Warn,
    Strict,
}

/// The query of a write.
pub(crate) struct Mode {
    validation: Validation,
    pub(crate) dry_run: bool,
}

impl Mode {
    pub(crate) fn read(call: &Call) -> Result<Self, Failure> {
        let validation = match call.query.get("fieldValidation") {
            None | Some("Warn") => Validation::Warn,
            Some("Ignore") => Validation::Ignore,
            Some("Strict") => Validation::Strict,
            Some(other) => {
                return Err(Failure::plain(
                    422,
                    "Invalid",
                    format!(
                        "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \"{other}\": supported values: \"Ignore\", \"Strict\", \"Warn\""
                    ),
                ));
            }
        };
        let dry_run = match call.query.get("dryRun") {
            None => false,
            Some("All") => true,
            Some(other) => {
                return Err(Failure::plain(
                    422,
                    "Invalid",
                    format!(
                        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"{other}\": supported values: \"All\""
                    ),
                ));
            }
        };
        Ok(Self { validation, dry_run })
    }

    /// The texts about fields that would be lost.
    fn findings(&self, duplicates: &[String], unknown: &[String]) -> Vec<String> {
        if self.validation == Validation::Ignore {
            return Vec::new();
        }
        let duplicates = duplicates.iter().map(|path| format!("duplicate field \"{path}\""));
        duplicates.chain(unknown.iter().map(|path| format!("unknown field \"{path}\""))).collect()
    }

    fn is_strict(&self) -> bool {
        self.validation == Validation::Strict
    }
}

/// How a patch says what changes.
#[derive(Debug, Clone, Copy)]
enum PatchKind {
    Merge,
    Json,
}

/// What came with a change.
struct Sent<'s> {
    len: usize,
    duplicates: &'s [String],
}

fn strict_error(findings: &[String]) -> String {
    format!("strict decoding error: {}", findings.join(", "))
}

/// Refuses an object that is too large. What came from JSON cannot grow fourfold: only what may be too large is measured.
fn check_size(object: &Value, parts: &Parts, sent: usize) -> Result<(), Failure> {
    let yaml = parse::media_type(&parts.headers).contains("yaml");
    if !yaml && sent < MAX_OBJECT / 4 {
        return Ok(());
    }
    let size = object.to_string().len();
    if size <= MAX_OBJECT {
        return Ok(());
    }
    Err(Failure::too_large(format!(
        "the object is too large: {size} bytes, the limit is {MAX_OBJECT} bytes"
    )))
}

impl ApiServer {
    pub(crate) async fn create(
        &self,
        user: &User,
        call: &Call,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, Failure> {
        negotiate::json(&parts.headers)?;
        let mode = Mode::read(call)?;
        let (object, duplicates) = parse::object(&parts.headers, body)?;
        self.check_namespace(call)?;
        let generated = json::text(&object, &["metadata", "name"]).is_empty();
        for _ in 0..NAME_DRAWS {
            let Prepared { object, unknown } =
                create::prepare(&call.res, &call.namespace, object.clone(), &self.birth())?;
            let findings = mode.findings(&duplicates, &unknown);
            if mode.is_strict() && !findings.is_empty() {
                return Err(Failure::bad_request(format!(
                    "{} in version \"{}\" cannot be handled as a {}: {}",
                    call.res.kind,
                    call.res.version,
                    call.res.kind,
                    strict_error(&findings)
                )));
            }
            check_size(&object, parts, body.len())?;
            policy::admit(user, call, None, &object)?;
            let name = json::text(&object, &["metadata", "name"]).to_owned();
            let key = Key::new(&call.res, &call.namespace, &name);
            if mode.dry_run {
                return match self.shared.get(&key) {
                    Some(_) => Err(Failure::already_exists(&call.res, &name)),
                    None => Ok(respond::warn(respond::value(201, &object), &findings)),
                };
            }
            match self.put(call, key, Expect::Absent, object).await {
                Err(WriteError::Refused(Refused::Exists)) if generated => {}
                Err(error) => return Err(failure(call, &name, error)),
                Ok(stored) => {
                    let response = respond::json(201, respond::shared(&stored.json));
                    return Ok(respond::warn(response, &findings));
                }
            }
        }
        Err(Failure::already_exists(&call.res, json::text(&object, &["metadata", "generateName"])))
    }

    fn check_namespace(&self, call: &Call) -> Result<(), Failure> {
        let missing = call.res.namespaced
            && self.shared.get(&Key::of("namespaces", "", &call.namespace)).is_none();
        if missing {
            return Err(Failure::not_found_named("", "namespaces", &call.namespace));
        }
        Ok(())
    }

    async fn put(
        &self,
        call: &Call,
        key: Key,
        expect: Expect,
        object: Value,
    ) -> Result<Arc<Stored>, WriteError> {
        let ended = expect != Expect::Absent && delete::is_complete(&call.res.id, &object);
        let action = if ended { Action::Remove } else { Action::Put(object) };
        let selectable = call.res.fields.clone();
        self.writer.submit(Write { key, expect, action, selectable }).await
    }

    pub(crate) async fn update(
        &self,
        user: &User,
        call: &Call,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, Failure> {
        let (object, duplicates) = parse::object(&parts.headers, body)?;
        if call.res.custom && json::text(&object, &["metadata", "resourceVersion"]).is_empty() {
            let message = "Invalid value: 0x0: must be specified for an update";
            let error = FieldError::new("metadata.resourceVersion", CauseReason::Invalid, message);
            return Err(Failure::invalid(&call.res, &call.name, &[error]));
        }
        let sent = Sent { len: body.len(), duplicates: &duplicates };
        self.change(user, call, parts, sent, |_| Ok(object.clone())).await
    }

    pub(crate) async fn patch(
        &self,
        user: &User,
        call: &Call,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, Failure> {
        let media_type = parse::media_type(&parts.headers);
        let kind = match media_type.as_str() {
            MERGE_PATCH => PatchKind::Merge,
            JSON_PATCH => PatchKind::Json,
            other => {
                return Err(Failure::unsupported_media(format!(
                    "the body of the request was in an unknown format - accepted media types include: {JSON_PATCH}, {MERGE_PATCH}; {other} is not served"
                )));
            }
        };
        let (changes, duplicates) = parse::as_json(body)?;
        let sent = Sent { len: body.len(), duplicates: &duplicates };
        match kind {
            PatchKind::Json => {
                let patch =
                    jsonpatch::Patch::decode(&changes).map_err(|error| undecodable(&error))?;
                self.change(user, call, parts, sent, |old| json_patched(&patch, old)).await
            }
            PatchKind::Merge if !changes.is_object() => {
                Err(Failure::bad_request("the merge patch is not an object"))
            }
            PatchKind::Merge => {
                self.change(user, call, parts, sent, |old| {
                    let mut new = old.clone();
                    patch::merge(&mut new, &changes);
                    Ok(new)
                })
                .await
            }
        }
    }

    /// Computes and writes a change, anew when another write came first.
    async fn change(
        &self,
        user: &User,
        call: &Call,
        parts: &Parts,
        Sent { len: sent, duplicates }: Sent<'_>,
        compute: impl Fn(&Value) -> Result<Value, Failure> + Send,
    ) -> Result<Response<Body>, Failure> {
        negotiate::json(&parts.headers)?;
        let mode = Mode::read(call)?;
        let key = Key::new(&call.res, &call.namespace, &call.name);
        let part = if call.sub == "status" { Part::Status } else { Part::Main };
        for _ in 0..RETRIES {
            let stored =
                self.shared.get(&key).ok_or_else(|| Failure::not_found(&call.res, &call.name))?;
            let old = stored.value();
            let Prepared { object, unknown } =
                update::prepare(&call.res, &old, compute(&old)?, part)?;
            let findings = mode.findings(duplicates, &unknown);
            if mode.is_strict() && !findings.is_empty() {
                return Err(strict_change(call, parts, &object, &findings));
            }
            check_size(&object, parts, sent + stored.json.len())?;
            policy::admit(user, call, Some(&old), &object)?;
            if object == old {
                let response = respond::json(200, respond::shared(&stored.json));
                return Ok(respond::warn(response, &findings));
            }
            if mode.dry_run {
                return Ok(respond::warn(respond::value(200, &object), &findings));
            }
            // What this change lets go is answered as it was changed, though it is stored so never.
            let last = delete::is_complete(&call.res.id, &object).then(|| object.clone());
            match self.put(call, key.clone(), Expect::Version(stored.version), object).await {
                Err(WriteError::Refused(Refused::Version)) => {}
                Err(error) => return Err(failure(call, &call.name, error)),
                Ok(stored) => {
                    let response = last.map_or_else(
                        || respond::json(200, respond::shared(&stored.json)),
                        |last| respond::value(200, &last),
                    );
                    return Ok(respond::warn(response, &findings));
                }
            }
        }
        Err(Failure::conflict(&call.res, &call.name))
    }
}

fn undecodable(error: &DecodeError) -> Failure {
    match error {
        DecodeError::TooMany(_) => Failure::too_large(format!("Request entity too large: {error}")),
        DecodeError::Form(_) => Failure::bad_request(error.to_string()),
    }
}

/// kube-apiserver says only that there was an error; here it is named behind that.
fn json_patched(patch: &jsonpatch::Patch, old: &Value) -> Result<Value, Failure> {
    let unprocessable = |why: String| {
        let message =
            format!("the server rejected our request due to an error in our request: {why}");
        Failure::plain(422, "Invalid", message)
    };
    let mut new = old.clone();
    patch.apply(&mut new).map_err(|error| unprocessable(error.to_string()))?;
    json::check_limits(&new)
        .map_err(|limit| unprocessable(format!("the patched object is not accepted: {limit}")))?;
    Ok(new)
}

fn strict_change(call: &Call, parts: &Parts, object: &Value, findings: &[String]) -> Failure {
    if parts.method == http::Method::PATCH {
        let message =
            format!("Invalid value: {:?}: {}", object.to_string(), strict_error(findings));
        return Failure::invalid_patch(&[FieldError::new("patch", CauseReason::Invalid, message)]);
    }
    let res = &call.res;
    Failure::bad_request(format!(
        "{} in version \"{}\" cannot be handled as a {}: {}",
        res.kind,
        res.version,
        res.kind,
        strict_error(findings)
    ))
}

/// A writer's refusal as the API words it.
pub(crate) fn failure(call: &Call, name: &str, error: WriteError) -> Failure {
    let res = &call.res;
    match error {
        WriteError::Full(_) => Failure::plain(507, "InsufficientStorage", error.to_string()),
        WriteError::Failed(why) => Failure::internal(format!("the store has failed: {why}")),
        WriteError::Refused(refused) => match refused {
            Refused::Exists => Failure::already_exists(res, name),
            Refused::Missing => Failure::not_found(res, name),
            Refused::Version => Failure::conflict(res, name),
            Refused::NoNamespace => Failure::not_found_named("", "namespaces", &call.namespace),
            Refused::NamespaceTerminating => terminating(call, name),
            Refused::NoKind => Failure::no_such_path(),
            Refused::KindTerminating => Failure::method_not_allowed(
                "create not allowed while custom resource definition is terminating",
            ),
        },
    }
}

/// 403 about an object in a namespace that is being deleted, with the cause by which clients know it.
fn terminating(call: &Call, name: &str) -> Failure {
    let namespace = &call.namespace;
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let mut failure = Failure::forbidden(&call.res, name, &why);
    if let Some(details) = &mut failure.details {
        details["causes"] = json!([{ "reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace" }]);
    }
    failure
}
