//! What is sent to the API server: creations and cancellations of each Workflow in turn, so that a large one holds up no
//! other, and at most one status at a time of each.

use super::flow::Object;
use crate::observe::MANAGER;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use kruntimes_api::{Run, Workflow};
use kruntimes_cluster::watch::ObjectKey;
use kruntimes_daemon::crash;
use kruntimes_workflow::{Answer, Child, Creation, Effect, Seen, Stop};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;

/// Creations and cancellations on their way at once.
const AT_ONCE: usize = 64;

/// Something was sent.
pub(super) enum Done {
    /// A child was to be created. An older one that was there already is shown, for the watch may not show it again.
    Created { creation: Creation, answer: Answer, there: Option<Seen> },
    /// A child was asked to end.
    Cancelled,
    /// It could not be sent, and is to be sent again.
    Again(Effect, kube::Error),
    /// A status was written, and this is the Workflow now.
    Written(Result<Workflow, kube::Error>),
    /// The Workflow is this by now.
    Read(Result<Option<Workflow>, kube::Error>),
    /// The Workflow whose jobs are to be taken over.
    Earlier(Result<Option<Workflow>, kube::Error>),
}

/// A child that is asked to end.
pub(super) struct Cancel {
    pub(super) name: String,
    pub(super) child: Child,
    pub(super) why: Stop,
}

/// What is sent next, for the Workflow with this UID.
pub(super) struct Turn {
    pub(super) key: ObjectKey,
    pub(super) uid: String,
    pub(super) effect: Effect,
}

/// What waits to be sent, and what is on its way.
pub(super) struct Work {
    client: Client,
    queues: BTreeMap<ObjectKey, VecDeque<(String, Effect)>>,
    turns: VecDeque<ObjectKey>,
    paused: BTreeSet<ObjectKey>,
    on_its_way: usize,
    under_way: FuturesUnordered<BoxFuture<'static, (ObjectKey, Done)>>,
}

impl Work {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            queues: BTreeMap::new(),
            turns: VecDeque::new(),
            paused: BTreeSet::new(),
            on_its_way: 0,
            under_way: FuturesUnordered::new(),
        }
    }

    /// Sends what a Workflow wants, behind what it wanted before.
    pub(super) fn push(&mut self, key: &ObjectKey, uid: &str, effects: Vec<Effect>) {
        let queue = self.queues.entry(key.clone()).or_default();
        if queue.is_empty() && !effects.is_empty() && !self.paused.contains(key) {
            self.turns.push_back(key.clone());
        }
        queue.extend(effects.into_iter().map(|effect| (uid.to_owned(), effect)));
    }

    /// Nothing more is created for a Workflow; what runs is still asked to end.
    pub(super) fn drop_creations(&mut self, key: &ObjectKey) {
        if let Some(queue) = self.queues.get_mut(key) {
            queue.retain(|(_, effect)| !matches!(effect, Effect::Create(_)));
        }
    }

    /// What could not be sent goes first, when the time has come.
    pub(super) fn again(&mut self, key: &ObjectKey, uid: &str, effect: Effect) {
        self.queues.entry(key.clone()).or_default().push_front((uid.to_owned(), effect));
        self.paused.insert(key.clone());
        self.turns.retain(|turn| turn != key);
    }

    /// The time has come.
    pub(super) fn unpause(&mut self, key: &ObjectKey) {
        if self.paused.remove(key) && self.queues.get(key).is_some_and(|queue| !queue.is_empty()) {
            self.turns.push_back(key.clone());
        }
    }

    /// Whether something of it waits to be sent again.
    pub(super) fn is_paused(&self, key: &ObjectKey) -> bool {
        self.paused.contains(key)
    }

    /// What is sent next, if there is room for it.
    pub(super) fn turn(&mut self) -> Option<Turn> {
        while self.on_its_way < AT_ONCE {
            let key = self.turns.pop_front()?;
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let Some((uid, effect)) = queue.pop_front() else { continue };
            if queue.is_empty() {
                self.queues.remove(&key);
            } else {
                self.turns.push_back(key.clone());
            }
            return Some(Turn { key, uid, effect });
        }
        None
    }

    pub(super) fn create(
        &mut self,
        key: ObjectKey,
        uid: String,
        creation: Creation,
        object: Object,
    ) {
        let client = self.client.clone();
        self.on_its_way += 1;
        self.under_way.push(Box::pin(async move {
            crash::point("controller-workflow-creating");
            let child = &creation.child;
            let created = match &object {
                Object::Run(run) => {
                    create(&client, &key, &uid, child, run.as_ref(), Seen::run).await
                }
                Object::Workflow(workflow) => {
                    create(&client, &key, &uid, child, workflow.as_ref(), Seen::workflow).await
                }
            };
            let done = match created {
                Ok((answer, there)) => Done::Created { creation, answer, there },
                Err(error) => Done::Again(Effect::Create(creation), error),
            };
            (key, done)
        }));
    }

    pub(super) fn cancel(&mut self, key: ObjectKey, cancel: Cancel) {
        let client = self.client.clone();
        self.on_its_way += 1;
        self.under_way.push(Box::pin(async move {
            crash::point("controller-workflow-cancelling");
            let Cancel { name, child, why } = cancel;
            let patch = why.patch();
            let sent = if child.step.is_some() {
                ask_to_end::<Run>(client, &key, &name, &patch).await
            } else {
                ask_to_end::<Workflow>(client, &key, &name, &patch).await
            };
            let done = match sent {
                Ok(()) => Done::Cancelled,
                Err(error) => Done::Again(Effect::Cancel { name, child, why }, error),
            };
            (key, done)
        }));
    }

    pub(super) fn write(&mut self, key: ObjectKey, patch: Value) {
        let api: Api<Workflow> = Api::namespaced(self.client.clone(), &key.namespace);
        self.under_way.push(Box::pin(async move {
            crash::point("controller-workflow-status");
            let written = api.patch_status(&key.name, &parameters(), &Patch::Merge(patch)).await;
            (key, Done::Written(written))
        }));
    }

    /// Reads a Workflow again, to know its version.
    pub(super) fn read(&mut self, key: ObjectKey) {
        let api: Api<Workflow> = Api::namespaced(self.client.clone(), &key.namespace);
        self.under_way.push(Box::pin(async move {
            let read = api.get_opt(&key.name).await;
            (key, Done::Read(read))
        }));
    }

    /// Reads the Workflow whose jobs are to be taken over.
    pub(super) fn read_earlier(&mut self, key: ObjectKey, name: String) {
        let api: Api<Workflow> = Api::namespaced(self.client.clone(), &key.namespace);
        self.under_way.push(Box::pin(async move {
            let read = api.get_opt(&name).await;
            (key, Done::Earlier(read))
        }));
    }

    /// What was sent next; waits for ever where nothing is on its way.
    pub(super) async fn next(&mut self) -> (ObjectKey, Done) {
        match self.under_way.next().await {
            Some((key, done)) => {
                if matches!(done, Done::Created { .. } | Done::Cancelled | Done::Again(..)) {
                    self.on_its_way -= 1;
                }
                (key, done)
            }
            None => std::future::pending().await,
        }
    }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

async fn ask_to_end<K>(
    client: Client,
    key: &ObjectKey,
    name: &str,
    patch: &Value,
) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client, &key.namespace);
    match api.patch(name, &parameters(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 422) => Ok(()),
        sent => sent.map(drop),
    }
}

/// Creates a child, or finds that it is there.
async fn create<K>(
    client: &Client,
    key: &ObjectKey,
    uid: &str,
    child: &Child,
    object: &K,
    seen: impl Fn(&K) -> Option<Seen>,
) -> Result<(Answer, Option<Seen>), kube::Error>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &key.namespace);
    let post = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&post, object).await {
        Ok(_) => Ok((Answer::Made, None)),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            // Gone by now: the next try creates it.
            let there = api.get(&object.name_any()).await?;
            let is_ours = there.owner_references().iter().any(|owner| owner.uid == uid);
            match seen(&there).filter(|seen| is_ours && seen.child == *child) {
                Some(seen) => Ok((Answer::Made, Some(seen))),
                None => Ok((Answer::Taken, None)),
            }
        }
        Err(kube::Error::Api(status)) if is_final(&status) => {
            Ok((Answer::Refused(status.message.clone()), None))
        }
        Err(error) => Err(error),
    }
}

/// What another try can't mend. A quota is exceeded only until other objects go.
fn is_final(status: &kube::core::Status) -> bool {
    matches!(status.code, 400 | 403 | 404 | 413 | 422) && !status.message.contains("exceeded quota")
}
