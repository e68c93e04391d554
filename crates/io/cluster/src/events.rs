//! Events about Runs, beside the status and never in its way: a bounded queue that drops what it can't hold, and one
//! writer that repeats nothing.

use crate::watch::Chain;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kruntimes_api::Run;
use kruntimes_rules::run::correlate::{Correlator, Write};
use kruntimes_rules::run::notes::{self, Note};
use kruntimes_rules::run::phase::Writer;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use kube::{Client, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Notes that wait to be written; what comes beyond is dropped.
const QUEUE: usize = 256;
/// An answer that takes longer counts as none: the note is dropped.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Of the name of an Event: what the Run's name may have of it.
const NAME_BYTES: usize = 230;

/// Takes notes. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Recorder {
    writer: Writer,
    notes: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

/// Writes what a [`Recorder`] took.
pub struct Recording {
    client: Client,
    component: &'static str,
    instance: String,
    notes: mpsc::Receiver<Note>,
    dropped: Arc<AtomicU64>,
}

/// A recorder for `writer`, and what writes for it. `component` and `instance` say who reports.
#[must_use]
pub fn recorder(
    client: Client,
    writer: Writer,
    component: &'static str,
    instance: String,
) -> (Recorder, Recording) {
    let (sender, notes) = mpsc::channel(QUEUE);
    let dropped = Arc::default();
    let recorder = Recorder { writer, notes: sender, dropped: Arc::clone(&dropped) };
    (recorder, Recording { client, component, instance, notes, dropped })
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Recording")
            .field("component", &self.component)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// A change of a Run was written: what people are told of it, if anything. Never waits.
    pub fn changed(&self, before: &Run, after: &Run) {
        if let Some(note) = notes::of_change(self.writer, before, after) {
            self.say(note);
        }
    }

    /// Tells people this, unless too much waits. Never waits.
    pub fn say(&self, note: Note) {
        if self.notes.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many notes were dropped so far: the queue was full, the rate was exceeded, or the API server did not take them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Recording {
    /// Writes until all recorders are gone.
    pub async fn run(mut self) {
        let started = Instant::now();
        let mut correlator = Correlator::default();
        while let Some(note) = self.notes.recv().await {
            let wrote = match correlator.decide(&note, started.elapsed()) {
                Write::Create => self.create(&mut correlator, &note, started).await,
                Write::Count { name, count } => {
                    self.count(&mut correlator, &note, &name, count, started).await
                }
                Write::Drop => false,
            };
            if !wrote {
                let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::debug!(dropped, reason = note.reason, "an Event was not written");
            }
        }
    }

    async fn create(&self, correlator: &mut Correlator, note: &Note, started: Instant) -> bool {
        let event = self.event(note, Timestamp::now());
        let name = event.name_any();
        let events = self.events(note);
        let created = timeout(ANSWER_WITHIN, events.create(&PostParams::default(), &event)).await;
        match created {
            Ok(Ok(_)) => {
                correlator.created(note, name, started.elapsed());
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(error = %Chain(&error), "an Event can't be created");
                false
            }
            Err(_) => false,
        }
    }

    async fn count(
        &self,
        correlator: &mut Correlator,
        note: &Note,
        name: &str,
        count: i32,
        started: Instant,
    ) -> bool {
        let patch = json!({"count": count, "lastTimestamp": Time(Timestamp::now())});
        let patch = Patch::Merge(patch);
        let events = self.events(note);
        let parameters = PatchParams::default();
        match timeout(ANSWER_WITHIN, events.patch(name, &parameters, &patch)).await {
            Ok(Ok(_)) => true,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                correlator.lost(note);
                self.create(correlator, note, started).await
            }
            Ok(Err(_)) | Err(_) => false,
        }
    }

    fn events(&self, note: &Note) -> Api<Event> {
        let namespace = note.about.namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.client.clone(), namespace)
    }

    fn event(&self, note: &Note, now: Timestamp) -> Event {
        let mut name = note.about.name.clone().unwrap_or_default();
        name.truncate(name.floor_char_boundary(NAME_BYTES));
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: note.about.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: note.about.clone(),
            type_: Some(note.severity.as_str().to_owned()),
            reason: Some(note.reason.to_owned()),
            message: Some(note.message.clone()),
            source: Some(EventSource {
                component: Some(self.component.to_owned()),
                ..EventSource::default()
            }),
            reporting_component: Some(self.component.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::client::Body;
    use serde_json::Value;
    use std::convert::Infallible;

    fn run(status: &Value) -> Run {
        serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "n", "uid": "u"},
            "spec": {"runtime": "bash"}, "status": status,
        }))
        .unwrap()
    }

    fn change() -> (Run, Run) {
        let failed = json!({"phase": "Failed", "reason": "PodGone", "message": "pod p is gone"});
        (run(&json!({"phase": "Running", "attempt": 1})), run(&failed))
    }

    /// A client of an API server that answers as `answer` says; each request goes to the channel.
    fn client(answer: fn(&str) -> u16) -> (Client, mpsc::UnboundedReceiver<(String, Value)>) {
        let (sender, requests) = mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let sender = sender.clone();
            async move {
                let what = format!("{} {}", request.method(), request.uri().path());
                let body = request.into_body().collect_bytes().await.unwrap();
                let body: Value = serde_json::from_slice(&body).unwrap();
                let code = answer(&what);
                let answer = if code == 200 {
                    json!({"metadata": {}, "involvedObject": {}})
                } else {
                    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                        "message": "no", "reason": "No", "metadata": {}})
                };
                sender.send((what, body)).unwrap();
                let response = http::Response::builder().status(code);
                Ok::<_, Infallible>(
                    response.body(Body::from(answer.to_string().into_bytes())).unwrap(),
                )
            }
        });
        (Client::new(service, "n"), requests)
    }

    async fn requests(answer: fn(&str) -> u16, times: usize) -> (Vec<(String, Value)>, u64) {
        let (client, mut requests) = client(answer);
        let (recorder, recording) =
            recorder(client, Writer::Controller, "kruntimes-controller", "one".to_owned());
        let (before, after) = change();
        for _ in 0..times {
            recorder.changed(&before, &after);
        }
        let dropped = Arc::clone(&recorder.dropped);
        drop(recorder);
        recording.run().await;
        let mut seen = Vec::new();
        while let Ok(request) = requests.try_recv() {
            seen.push(request);
        }
        (seen, dropped.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn the_same_note_again_raises_the_count_of_its_event() {
        let (seen, dropped) = requests(|_| 200, 3).await;
        assert_eq!((seen.len(), dropped), (3, 0));
        let (what, event) = &seen[0];
        assert_eq!(what, "POST /api/v1/namespaces/n/events");
        assert_eq!(event["reason"], "StaleRunFailed");
        assert_eq!(event["message"], "attempt 1: PodGone: pod p is gone");
        assert_eq!((&event["type"], &event["count"]), (&json!("Warning"), &json!(1)));
        assert_eq!(event["involvedObject"]["uid"], "u");
        assert_eq!(event["source"]["component"], "kruntimes-controller");
        let name = event["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with("a."), "{name}");
        for (index, count) in [(1, 2), (2, 3)] {
            assert_eq!(seen[index].0, format!("PATCH /api/v1/namespaces/n/events/{name}"));
            assert_eq!(seen[index].1["count"], count);
            assert!(seen[index].1["lastTimestamp"].is_string());
        }
    }

    #[tokio::test]
    async fn an_event_that_the_api_server_has_forgotten_is_made_anew() {
        let (seen, dropped) =
            requests(|what| if what.starts_with("PATCH") { 404 } else { 200 }, 2).await;
        let methods: Vec<&str> =
            seen.iter().map(|(what, _)| what.split(' ').next().unwrap()).collect();
        assert_eq!((methods, dropped), (vec!["POST", "PATCH", "POST"], 0));
    }

    #[tokio::test]
    async fn what_is_not_taken_is_dropped_and_counted() {
        let (seen, dropped) = requests(|_| 403, 2).await;
        assert_eq!((seen.len(), dropped), (2, 2));
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_nobody_waits() {
        let (client, _) = client(|_| 200);
        let (recorder, _recording) = recorder(client, Writer::Controller, "c", "i".to_owned());
        let (before, after) = change();
        for _ in 0..QUEUE + 44 {
            recorder.changed(&before, &after);
        }
        assert_eq!(recorder.dropped(), 44);
    }
}
