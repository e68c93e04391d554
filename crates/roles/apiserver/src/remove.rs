//! delete and deletecollection.
use bytes::Bytes;
use futures::future::join_all;
use http::Response;
use http::request::Parts;
use kruntimes_objects::delete::{self, Deletion, Options};
use kruntimes_objects::state::{Action, Expect, Refused, Write};
use kruntimes_objects::status::{self, Failure};
use kruntimes_objects::stored::{Key, Stored};

use crate::body::Body;
use crate::call::Call;
use crate::server::ApiServer;
use crate::writer::WriteError;
use crate::{negotiate, parse, read, respond, write};

const RETRIES: usize = 64;
/// How many objects of a collection are deleted at a time: so many share a commit.
const CONCURRENT_DELETIONS: usize = 128;
/// Namespaces that every server has.
const KEPT: [&str; 2] = ["default", "kube-system"];

fn options(call: &Call, parts: &Parts, body: &Bytes) -> Result<Options, Failure> {
    let mut options = if body.is_empty() {
        Options::default()
    } else {
        Options::parse(&parse::object(&parts.headers, body)?.0)?
    };
    if let Some(grace) = call.query.number("gracePeriodSeconds")? {
        options.grace = Some(i64::try_from(grace).unwrap_or(i64::MAX));
    }
    if let Some(policy) = call.query.get("propagationPolicy") {
        options.propagation = Some(Options::propagation(policy)?);
    }
    options.dry_run |= write::Mode::read(call)?.dry_run;
    Ok(options)
}

impl ApiServer {
    pub(crate) async fn delete(
        &self,
        call: &Call,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, Failure> {
        negotiate::json(&parts.headers)?;
        let options = options(call, parts, body)?;
        let key = Key::new(&call.res, &call.namespace, &call.name);
        self.delete_one(call, &key, &options).await
    }

    async fn delete_one(
        &self,
        call: &Call,
        key: &Key,
        options: &Options,
    ) -> Result<Response<Body>, Failure> {
        if call.res.is("namespaces") && KEPT.contains(&key.name.as_str()) {
            let why = "this namespace may not be deleted";
            return Err(Failure::forbidden(&call.res, &key.name, why));
        }
        for _ in 0..RETRIES {
            let stored =
                self.shared.get(key).ok_or_else(|| Failure::not_found(&call.res, &key.name))?;
            let object = stored.value();
            options.check(&call.res, &key.name, &object)?;
            let action =
                match delete::decide(&call.res.id, &object, options, jiff::Timestamp::now()) {
                    Deletion::Unchanged => {
                        return Ok(respond::json(200, respond::shared(&stored.json)));
                    }
                    Deletion::Update(marked) => Action::Put(marked),
                    Deletion::Remove => Action::Remove,
                };
            let gone = matches!(action, Action::Remove);
            if options.dry_run {
                return Ok(answer(call, &stored, gone));
            }
            let write = Write {
                key: key.clone(),
                expect: Expect::Version(stored.version),
                action,
                selectable: call.res.fields.clone(),
            };
            match self.writer.submit(write).await {
                Err(WriteError::Refused(Refused::Version)) => {}
                Err(error) => return Err(write::failure(call, &key.name, error)),
                Ok(stored) => return Ok(answer(call, &stored, gone)),
            }
        }
        Err(Failure::conflict(&call.res, &key.name))
    }

    pub(crate) async fn delete_collection(
        &self,
        call: &Call,
        parts: &Parts,
        body: &Bytes,
    ) -> Result<Response<Body>, Failure> {
        negotiate::json(&parts.headers)?;
        let options = options(call, parts, body)?;
        let filter = call.filter()?;
        let page = self.page(call, &filter)?;
        let mut deleted = Vec::new();
        for some in page.objects.chunks(CONCURRENT_DELETIONS) {
            let deletions: Vec<_> =
                some.iter().map(|stored| self.delete_one(call, &stored.key, &options)).collect();
            for (stored, outcome) in some.iter().zip(join_all(deletions).await) {
                match outcome {
                    Ok(_) => deleted.push(stored.clone()),
                    Err(failure) if failure.code == 404 => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        let body = read::encode(call, &page.metadata(&filter), &deleted);
        Ok(respond::json(200, body))
    }
}

/// A pod and what still stands are returned as objects, the rest as a Status.
fn answer(call: &Call, stored: &Stored, gone: bool) -> Response<Body> {
    if gone && !call.res.is("pods") {
        return respond::value(200, &status::deleted(&call.res, &stored.key.name, &stored.uid));
    }
    respond::json(200, respond::shared(&stored.json))
}
