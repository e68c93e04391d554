//! Secrets and ConfigMaps as files of a pod, kept as the objects are: what a kubelet does for volumes.
//!
//! `<place>/sources/<directory>/<name>/..data` is a link to a directory with one file a key; a new version replaces the
//! link by a rename. A watch of each object pushes its changes. Invariants: only this user may read the files; one that
//! does not exist has no keys; nothing is written after [`Sources::stop`]; no content is logged.

use super::directories::{Directories, write_version};
use super::plan::Source;
use crate::watch::{self, Guard};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kruntimes_api::{SourceKind, names};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, Resource};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long the objects may take to be read before a pod's start is put off.
const FIRST_READ: Duration = Duration::from_secs(5);
/// Wait before a version that could not be written is written again.
const RETRY: Duration = Duration::from_secs(1);

/// Content of an object, by key.
type Content = BTreeMap<String, Vec<u8>>;

/// The sources of one pod.
#[derive(Debug)]
pub(super) struct Sources {
    tasks: JoinSet<()>,
}

impl Sources {
    /// Writes all sources and keeps them from then on; the error says what can't be read or written.
    pub(super) async fn start(
        client: &Client,
        namespace: &str,
        directories: &Directories,
        sources: &[Source],
    ) -> Result<Self, String> {
        let mut tasks = JoinSet::new();
        let mut first = Vec::new();
        for source in sources {
            let path = directories.source(source);
            std::fs::create_dir_all(&path).map_err(|error| unwritten(source, &error))?;
            let (sender, written) = oneshot::channel();
            first.push((source, written));
            let place = Place { path, version: 0, first: Some(sender) };
            match source.kind {
                SourceKind::Secret => {
                    let api = Api::<Guard<Secret>>::namespaced(client.clone(), namespace);
                    tasks.spawn(keep(api, source.name.clone(), place));
                }
                SourceKind::ConfigMap => {
                    let api = Api::<Guard<ConfigMap>>::namespaced(client.clone(), namespace);
                    tasks.spawn(keep(api, source.name.clone(), place));
                }
            }
        }
        let mut all = Self { tasks };
        match timeout(FIRST_READ, all_written(first)).await {
            Ok(Ok(())) => Ok(all),
            ended => {
                all.stop().await;
                let late = || "the Secrets and ConfigMaps of the pod can't be read yet".to_owned();
                Err(ended.map_or_else(|_| late(), |written| written.err().unwrap_or_else(late)))
            }
        }
    }

    /// Ends the watches; nothing is written after.
    pub(super) async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}

type Written<'a> = (&'a Source, oneshot::Receiver<io::Result<()>>);

async fn all_written(first: Vec<Written<'_>>) -> Result<(), String> {
    for (source, written) in first {
        if let Ok(Err(error)) = written.await {
            return Err(unwritten(source, &error));
        }
    }
    Ok(())
}

fn unwritten(source: &Source, error: &io::Error) -> String {
    format!("{} \"{}\" can't be written for the pod: {error}", source.kind, source.name)
}

/// Where one object is written.
struct Place {
    path: PathBuf,
    version: u64,
    first: Option<oneshot::Sender<io::Result<()>>>,
}

/// Follows one object for ever.
async fn keep<K>(api: Api<Guard<K>>, name: String, mut place: Place)
where
    K: Held,
    Guard<K>: Resource<DynamicType = ()> + serde::de::DeserializeOwned,
{
    let config = Config::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(watch::selected(api, config));
    let mut listed = Content::new();
    let mut wanted: Option<Content> = None;
    loop {
        let event = tokio::select! {
            event = events.next() => match event {
                Some(event) => Some(event),
                None => return,
            },
            () = tokio::time::sleep(RETRY), if wanted.is_some() => None,
        };
        match event {
            None => {}
            Some(Event::Init) => listed.clear(),
            Some(Event::InitApply(object)) => listed = content(object, &name),
            Some(Event::InitDone) => wanted = Some(std::mem::take(&mut listed)),
            Some(Event::Apply(object)) => wanted = Some(content(object, &name)),
            Some(Event::Delete(_)) => wanted = Some(Content::new()),
        }
        if let Some(content) = &wanted
            && place.write(content, &name)
        {
            wanted = None;
        }
    }
}

impl Place {
    /// Whether the content is written. It is done at once, so that [`Sources::stop`] waits for its end.
    fn write(&mut self, content: &Content, name: &str) -> bool {
        self.version += 1;
        let written = write_version(&self.path, self.version, content);
        if let Err(error) = &written {
            tracing::warn!(name, %error, "a source of a pod can't be written; it is repeated");
        }
        let succeeded = written.is_ok();
        if let Some(first) = self.first.take() {
            // Nobody waits any more when the start was given up.
            drop(first.send(written));
        }
        succeeded
    }
}

/// What an object holds; one that can't be read holds nothing. Its errors may quote it, so they are not logged.
fn content<K: Held>(object: Guard<K>, name: &str) -> Content {
    let Ok(object) = object.0 else {
        tracing::warn!(name, "a malformed Secret or ConfigMap counts as empty");
        return Content::new();
    };
    let mut content = object.content();
    content.retain(|key, _| names::is_object_key(key));
    content
}

/// An object with content.
trait Held: Resource<DynamicType = ()> + Clone + Debug + Send + 'static {
    fn content(self) -> Content;
}

impl Held for Secret {
    fn content(self) -> Content {
        self.data.unwrap_or_default().into_iter().map(|(key, bytes)| (key, bytes.0)).collect()
    }
}

impl Held for ConfigMap {
    fn content(self) -> Content {
        let text = self.data.unwrap_or_default().into_iter();
        let bytes = self.binary_data.unwrap_or_default().into_iter();
        let text = text.map(|(key, text)| (key, text.into_bytes()));
        text.chain(bytes.map(|(key, bytes)| (key, bytes.0))).collect()
    }
}
