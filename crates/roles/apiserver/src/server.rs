//! The server object: opening it, its users, its store.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use kruntimes_objects::builtin::CRDS;
use kruntimes_objects::crd;
use kruntimes_objects::create::{self, Birth};
use kruntimes_objects::json;
use kruntimes_objects::registry::Registry;
use kruntimes_objects::resource::Resource;
use kruntimes_objects::schema::FieldError;
use kruntimes_objects::state::{Action, Change, Expect, State, Write};
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::update::{self, Part};
use rustls::crypto::SecureRandom;
use serde_json::{Value, json};

use crate::body::Budget;
use crate::disk::{Contents, Disk, DiskError};
use crate::logs::PodLogs;
use crate::service::ApiService;
use crate::shared::Shared;
use crate::user::{User, UserKind};
use crate::writer::Writer;

/// Watch events that are kept for each resource when nothing else is said: a client that was away for more lists anew.
const DEFAULT_HISTORY: usize = 1_000;
const NAME_ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// How a server is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where objects are kept; `None` keeps them in memory only.
    pub data_dir: Option<PathBuf>,
    /// CRDs that are installed or updated at start.
    pub crds: Vec<Value>,
    /// How many watch events are kept for each resource.
    pub history_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { data_dir: None, crds: Vec::new(), history_limit: DEFAULT_HISTORY }
    }
}

/// Why a server cannot be opened; each reads as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] DiskError),
    /// The store opened but could not be written.
    #[error("the store cannot be written: {0}")]
    Write(String),
    /// A CRD is not served.
    #[error("the CRD {name} is not served: {why}")]
    Crd {
        /// The CRD.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The writer thread did not start.
    #[error("cannot start the writer: {0}")]
    Thread(#[from] std::io::Error),
}

/// The API server.
#[derive(Debug)]
pub struct ApiServer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) bodies: Budget,
    tokens: RwLock<BTreeMap<String, Arc<User>>>,
    logs: RwLock<Option<Arc<dyn PodLogs>>>,
    random: &'static dyn SecureRandom,
}

impl ApiServer {
    /// Opens the store, installs the CRDs and starts the writer.
    pub fn open(options: Options) -> Result<Arc<Self>, OpenError> {
        match options.data_dir.as_deref().map(Disk::open).transpose()? {
            Some((disk, contents)) => Self::open_with(options, Some(disk), contents),
            None => Self::open_with(options, None, Contents::default()),
        }
    }

    /// `open` on a store that is open.
    pub(crate) fn open_with(
        options: Options,
        mut disk: Option<Disk>,
        contents: Contents,
    ) -> Result<Arc<Self>, OpenError> {
        let Options { data_dir, crds, history_limit } = options;
        let random = rustls::crypto::ring::default_provider().secure_random;
        let (mut state, mut registry) = load(data_dir.unwrap_or_default(), contents)?;
        let changes = boot(&mut state, &mut registry, &crds, random)?;
        if let Some(disk) = &mut disk
            && !changes.is_empty()
        {
            disk.commit(&changes).map_err(|e| OpenError::Write(e.to_string()))?;
        }
        let shared = Arc::new(Shared::new(&state, registry, history_limit));
        let writer = Writer::start(state, disk, shared.clone())?;
        Ok(Arc::new(Self {
            shared,
            writer,
            bodies: Budget::default(),
            tokens: RwLock::default(),
            logs: RwLock::default(),
            random,
        }))
    }

    /// The API as `user` has it.
    pub fn service(self: &Arc<Self>, user: User) -> ApiService {
        ApiService::new(self.clone(), Arc::new(user))
    }

    /// Lets the bearer of `token` act as `user`.
    pub fn add_token(&self, token: String, user: User) {
        let mut tokens = self.tokens.write().unwrap_or_else(PoisonError::into_inner);
        tokens.insert(token, Arc::new(user));
    }

    /// Forgets a token.
    pub fn remove_token(&self, token: &str) {
        self.tokens.write().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    /// Whose token it is. That of a pod ends with the pod, as Kubernetes has it for tokens that are bound to one.
    pub(crate) fn user_of(&self, token: &str) -> Option<Arc<User>> {
        let user =
            self.tokens.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()?;
        match &user.kind {
            UserKind::Admin => Some(user),
            UserKind::Runtimed { namespace, pod_name, pod_uid } => {
                let pod = self.shared.get(&Key::of("pods", namespace, pod_name))?;
                (pod.uid == *pod_uid).then_some(user)
            }
        }
    }

    /// Serves `pods/log` from here on.
    pub fn set_pod_logs(&self, logs: Arc<dyn PodLogs>) {
        *self.logs.write().unwrap_or_else(PoisonError::into_inner) = Some(logs);
    }

    pub(crate) fn pod_logs(&self) -> Option<Arc<dyn PodLogs>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the store fails, and says why. A home must then end: nothing is served any more.
    pub async fn failed(&self) -> String {
        let mut failures = self.shared.failures();
        // The borrow of the value ends here, so that the future can move between threads.
        let why = failures.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    pub(crate) fn birth(&self) -> Birth {
        birth(self.random)
    }
}

fn birth(random: &dyn SecureRandom) -> Birth {
    let mut bytes = [0u8; 21];
    random.fill(&mut bytes).expect("the system's random source answers");
    let (id, letters) = bytes.split_at_mut(16);
    id[6] = id[6] & 0x0f | 0x40;
    id[8] = id[8] & 0x3f | 0x80;
    let hex: String = id.iter().map(|b| format!("{b:02x}")).collect();
    let uid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    let suffix = letters
        .iter()
        .map(|b| char::from(NAME_ALPHABET[usize::from(*b) % NAME_ALPHABET.len()]))
        .collect();
    Birth { now: Timestamp::now(), uid, suffix }
}

/// Decodes what the store holds.
fn load(directory: PathBuf, contents: Contents) -> Result<(State, Registry), OpenError> {
    let mut registry = Registry::default();
    for (key, json) in contents.objects.iter().filter(|(k, _)| &*k.resource == CRDS) {
        let value: Value = serde_json::from_slice(json).unwrap_or_default();
        let version = json::text(&value, &["metadata", "resourceVersion"]).parse().unwrap_or(1);
        match crd::compile(&value) {
            Ok(resource) => {
                registry.install(Arc::new(resource), version);
            }
            Err(errors) => {
                tracing::warn!("the stored CRD {} is not served: {}", key.name, sentence(&errors));
            }
        }
    }
    let mut objects = Vec::with_capacity(contents.objects.len());
    for (key, json) in contents.objects {
        let fields = registry.by_id(&key.resource).map(|r| r.fields.clone()).unwrap_or_default();
        let name = format!("{} {}/{}", key.resource, key.namespace, key.name);
        let Some(stored) = Stored::decode(key, json, fields) else {
            let why = format!("the object {name} is malformed");
            return Err(OpenError::Store(DiskError::Corrupt { path: directory, why }));
        };
        objects.push(Arc::new(stored));
    }
    Ok((State::load(objects, contents.version), registry))
}

/// Makes what every server has: two namespaces and the given CRDs.
fn boot(
    state: &mut State,
    registry: &mut Registry,
    crds: &[Value],
    random: &dyn SecureRandom,
) -> Result<Vec<Change>, OpenError> {
    let mut changes = Vec::new();
    let find = |registry: &Registry, id: &str| {
        registry.by_id(id).cloned().expect("built-in resources are always registered")
    };
    let namespaces = find(registry, "namespaces");
    for name in ["default", "kube-system"] {
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        changes.extend(ensure(state, &namespaces, &body, random)?);
    }
    let crd_resource = find(registry, CRDS);
    for crd in crds {
        changes.extend(install(state, registry, &crd_resource, crd, random)?);
    }
    Ok(changes)
}

/// Installs a CRD, unless the very same is there. Compiling is what takes time at the start: it is done once.
fn install(
    state: &mut State,
    registry: &mut Registry,
    crd_resource: &Resource,
    crd: &Value,
    random: &dyn SecureRandom,
) -> Result<Vec<Change>, OpenError> {
    let name = json::text(crd, &["metadata", "name"]);
    let stored = state.get(&Key::new(crd_resource, "", name)).map(|s| s.value());
    let same = stored.is_some_and(|stored| stored.get("spec") == crd.get("spec"));
    if same && registry.by_id(name).is_some() {
        return Ok(Vec::new());
    }
    let resource = crd::compile(crd)
        .map_err(|errors| OpenError::Crd { name: name.to_owned(), why: sentence(&errors) })?;
    let changes = ensure(state, crd_resource, crd, random)?;
    state.reselect(&resource.id, &resource.fields);
    registry.install(Arc::new(resource), state.version());
    Ok(changes)
}

fn ensure(
    state: &mut State,
    res: &Resource,
    body: &Value,
    random: &dyn SecureRandom,
) -> Result<Vec<Change>, OpenError> {
    let name = json::text(body, &["metadata", "name"]).to_owned();
    let fail = |why: String| OpenError::Crd { name: name.clone(), why };
    let key = Key::new(res, "", &name);
    let birth = birth(random);
    let (expect, object) = match state.get(&key) {
        None => {
            let made = create::assemble(res, "", body.clone(), &birth);
            (Expect::Absent, made.map_err(|f| fail(f.message))?.object)
        }
        Some(stored) => {
            let old = stored.value();
            let mut new = old.clone();
            json::put(&mut new, "spec", body.get("spec").cloned().or(old.get("spec").cloned()));
            if new == old {
                return Ok(Vec::new());
            }
            let made = update::assemble(res, &old, new, Part::Main);
            (Expect::Version(stored.version), made.map_err(|f| fail(f.message))?.object)
        }
    };
    let selectable = res.fields.clone();
    let write = Write { key, expect, action: Action::Put(object), selectable };
    state.apply(write, birth.now).map_err(|refused| fail(refused.to_string()))
}

fn sentence(errors: &[FieldError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
