//! watch: the past that was asked for, then every change as it becomes durable.
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::Response;
use http::request::Parts;
use jiff::Timestamp;
use kruntimes_objects::status::Failure;
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::table::{self, Include};
use kruntimes_objects::window::{EventType, frame};
use serde_json::{Value, json};
use tokio::time::{Interval, Sleep, interval_at, sleep};

use crate::body::Body;
use crate::call::Call;
use crate::hub::Delivery;
use crate::negotiate::{self, Form};
use crate::queue::Queue;
use crate::read::partial;
use crate::respond;
use crate::server::ApiServer;

/// How long a watch lasts when nothing else is asked for.
const DEFAULT_SECONDS: u64 = 45 * 60;
/// The longest that may be asked for.
const MAX_SECONDS: u64 = 24 * 60 * 60;
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Events that wait already are sent in chunks of about this size.
const CHUNK: usize = 64 * 1024;

/// One running watch.
struct Watch {
    server: Arc<ApiServer>,
    call: Call,
    form: Form,
    include: Include,
    id: u64,
    queue: Arc<Queue>,
    /// Objects that stood at the start, still to be sent.
    initial: VecDeque<Arc<Stored>>,
    missed: VecDeque<Delivery>,
    /// The bookmark after the initial objects, when it was asked for.
    initial_end: Option<u64>,
    bookmarks: Option<Interval>,
    end: Pin<Box<Sleep>>,
    headings: bool,
    over: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.server.shared.hub().unsubscribe(&self.call.res.id, self.id);
    }
}

/// Where a watch starts.
enum Start {
    /// With the objects that stand now.
    Now,
    /// After a version.
    After(u64),
}

impl ApiServer {
    pub(crate) fn watch(
        self: &Arc<Self>,
        call: Call,
        parts: &Parts,
    ) -> Result<Response<Body>, Failure> {
        let form = negotiate::form(&parts.headers)?;
        let filter = call.filter()?;
        let include = call.include()?;
        let streaming = streaming_list(&call)?;
        let asked = call.query.number("resourceVersion")?.unwrap_or(0);
        let start = if streaming == Some(true) || (asked == 0 && streaming.is_none()) {
            Start::Now
        } else {
            Start::After(asked)
        };
        let seconds = call.query.number("timeoutSeconds")?.unwrap_or(DEFAULT_SECONDS);
        let view = self.shared.view();
        if asked > view.version && streaming == Some(true) {
            return Err(Failure::future_version(asked, view.version));
        }
        let (initial, after) = match start {
            Start::Now => {
                let from = Key::of(&call.res.id, &call.namespace, "");
                let objects = view.objects.range::<Key, _>(&from..);
                let objects = objects
                    .map(|(_, s)| s)
                    .take_while(|s| s.key.resource == call.res.id)
                    .take_while(|s| call.namespace.is_empty() || s.key.namespace == call.namespace)
                    .filter(|s| filter.selects(s));
                (objects.cloned().collect(), view.version)
            }
            Start::After(0) => (VecDeque::new(), view.version),
            Start::After(version) => (VecDeque::new(), version),
        };
        let subscribed = self.shared.hub().subscribe(&call.res.id, filter, after);
        let version = view.version;
        drop(view);
        let bookmarks = call.query.flag("allowWatchBookmarks");
        let subscription = match subscribed {
            Ok(subscription) => subscription,
            Err(too_old) => return Ok(expired(&too_old.to_string())),
        };
        let first = tokio::time::Instant::now() + BOOKMARK_EVERY;
        let watch = Watch {
            server: self.clone(),
            form,
            include,
            id: subscription.id,
            queue: subscription.queue,
            initial,
            missed: subscription.missed.into(),
            initial_end: (streaming == Some(true) && bookmarks).then_some(version),
            bookmarks: bookmarks.then(|| interval_at(first, BOOKMARK_EVERY)),
            end: Box::pin(sleep(Duration::from_secs(seconds.min(MAX_SECONDS)))),
            headings: true,
            over: false,
            call,
        };
        let chunks = stream::unfold(watch, |mut watch| async move {
            let chunk = watch.next().await?;
            Some((Ok(chunk), watch))
        });
        Ok(respond::with_type(200, "application/json", Body::stream(chunks)))
    }
}

/// Reads `sendInitialEvents`.
fn streaming_list(call: &Call) -> Result<Option<bool>, Failure> {
    let Some(value) = call.query.get("sendInitialEvents") else { return Ok(None) };
    if call.query.get("resourceVersionMatch") != Some("NotOlderThan") {
        return Err(Failure::plain(
            422,
            "Invalid",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    Ok(Some(value == "true"))
}

/// A watch that starts too far back: one ERROR event.
fn expired(message: &str) -> Response<Body> {
    let status = Failure::expired(message).to_value().to_string();
    respond::with_type(200, "application/json", Body::full(frame("ERROR", status.as_bytes())))
}

impl Watch {
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        if let Some(chunk) = self.backlog() {
            return Some(chunk);
        }
        loop {
            tokio::select! {
                biased;
                delivery = self.queue.next() => return match delivery {
                    Some(delivery) => Some(self.live(&delivery)),
                    None => self.cut_off(),
                },
                () = &mut self.end => {
                    self.over = true;
                    return self.bookmarks.is_some().then(|| self.bookmark()).flatten();
                }
                () = tick(&mut self.bookmarks) => {
                    if let Some(bookmark) = self.bookmark() {
                        return Some(bookmark);
                    }
                }
            }
        }
    }

    fn backlog(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        while chunk.len() < CHUNK
            && let Some(stored) = self.initial.pop_front()
        {
            match self.form {
                Form::Object => chunk.extend(frame("ADDED", &stored.json)),
                Form::Table | Form::Metadata => {
                    chunk.extend(self.transformed(EventType::Added, &stored));
                }
            }
        }
        if self.initial.is_empty()
            && let Some(version) = self.initial_end.take()
        {
            let annotations = json!({ "k8s.io/initial-events-end": "true" });
            chunk.extend(self.bookmark_frame(version, &annotations));
        }
        while chunk.len() < CHUNK
            && let Some(delivery) = self.missed.pop_front()
        {
            chunk.extend_from_slice(&self.encode(&delivery));
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }

    /// One event, with those that wait behind it already.
    fn live(&mut self, first: &Delivery) -> Bytes {
        let first = self.encode(first);
        let Some(second) = self.queue.try_next() else { return first };
        let mut chunk = first.to_vec();
        chunk.extend_from_slice(&self.encode(&second));
        while chunk.len() < CHUNK
            && let Some(next) = self.queue.try_next()
        {
            chunk.extend_from_slice(&self.encode(&next));
        }
        chunk.into()
    }

    fn encode(&mut self, (event, kind): &Delivery) -> Bytes {
        match self.form {
            Form::Object => event.frame(*kind).into(),
            Form::Table | Form::Metadata => match event.object(*kind) {
                Some(stored) => self.transformed(*kind, stored).into(),
                None => Bytes::new(),
            },
        }
    }

    fn transformed(&mut self, kind: EventType, stored: &Stored) -> Vec<u8> {
        let object = if self.form == Form::Metadata {
            partial(&stored.value())
        } else {
            let headings = std::mem::take(&mut self.headings);
            let metadata = json!({ "resourceVersion": stored.version.to_string() });
            let now = Timestamp::now().as_second();
            let objects = [stored.value()];
            table::table(&self.call.res, &objects, &metadata, self.include, headings, now)
        };
        frame(kind.as_str(), object.to_string().as_bytes())
    }

    /// A bookmark at the newest version, if nothing waits in the queue.
    fn bookmark(&mut self) -> Option<Bytes> {
        let version = {
            let view = self.server.shared.view();
            self.queue.is_empty().then_some(view.version)?
        };
        Some(self.bookmark_frame(version, &Value::Null).into())
    }

    fn bookmark_frame(&self, version: u64, annotations: &Value) -> Vec<u8> {
        let mut metadata =
            json!({ "resourceVersion": version.to_string(), "creationTimestamp": null });
        if !annotations.is_null() {
            metadata["annotations"] = annotations.clone();
        }
        let res = &self.call.res;
        let object = match self.form {
            Form::Object => json!({ "kind": res.kind, "apiVersion": res.api_version(),
                "metadata": metadata }),
            Form::Metadata => partial(&json!({ "metadata": metadata })),
            Form::Table => table::table(res, &[], &metadata, self.include, false, 0),
        };
        frame("BOOKMARK", object.to_string().as_bytes())
    }

    /// The queue was closed: this watch fell behind, or the server stops.
    fn cut_off(&mut self) -> Option<Bytes> {
        self.over = true;
        if self.server.shared.failure().is_some() {
            return None;
        }
        let failure = Failure::expired("the watch fell behind and was closed; list again");
        Some(frame("ERROR", failure.to_value().to_string().as_bytes()).into())
    }
}

async fn tick(bookmarks: &mut Option<Interval>) {
    match bookmarks {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}
