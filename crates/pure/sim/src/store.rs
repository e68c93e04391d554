//! The API server: the shipped meaning of objects over a store on a simulated disk.
//!
//! Invariant: a write is visible and answered only after it is on the disk; a restart finds what is there.

use crate::schema::{self, Kind};
use jiff::Timestamp;
use kruntimes_api::Run;
use kruntimes_objects::create::{self, Birth};
use kruntimes_objects::delete::{self, Deletion, Options};
use kruntimes_objects::json;
use kruntimes_objects::patch;
use kruntimes_objects::state::{Action, Change, Expect, Refused, State, Write};
use kruntimes_objects::status::Failure;
use kruntimes_objects::stored::{Key, Stored};
use kruntimes_objects::update::{self, Part};
use kruntimes_objects::window::{Event, Filter, Window};
use kruntimes_rules::mutant::{self, Mutant};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An HTTP status, or one of these two.
pub(crate) type Code = u16;
/// No answer came.
pub(crate) const SILENT: Code = 0;
/// No connection.
pub(crate) const UNREACHABLE: Code = 1;
/// Events that the window of one kind holds: few, so that watches meet 410.
const WINDOW_EVENTS: usize = 300;
/// The namespace of everything.
pub(crate) const NAMESPACE: &str = "default";

/// A request.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create(Kind, Value),
    Replace(Kind, String, Value),
    PatchStatus(Kind, String, Value),
    Patch(Kind, String, Value),
    Delete { kind: Kind, name: String, uid: Option<String>, grace: Option<i64> },
    Get(Kind, String),
    List(Kind, Arc<Filter>),
    Watch { slot: usize, kind: Kind, filter: Arc<Filter>, since: u64 },
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Object(Object),
    List(Vec<Object>, u64),
    Done,
}

/// An object as a client gets it.
#[derive(Debug, Clone)]
pub(crate) struct Object {
    pub(crate) stored: Arc<Stored>,
    /// Decoded once for all who read it.
    pub(crate) run: Option<Arc<Run>>,
}

impl Object {
    pub(crate) fn name(&self) -> &str {
        &self.stored.key.name
    }

    pub(crate) fn version(&self) -> String {
        self.stored.version.to_string()
    }
}

/// A watch that is open.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) kind: Kind,
    pub(crate) filter: Arc<Filter>,
    /// How late it is.
    pub(crate) lag: Duration,
    /// When the last event that is on its way arrives.
    pub(crate) busy_until: Duration,
    /// Drops everything from now on; it ends with 410.
    pub(crate) deaf: bool,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Api {
    state: State,
    /// What is durable.
    disk: BTreeMap<Arc<Key>, Arc<Stored>>,
    windows: BTreeMap<Kind, Window>,
    /// By client and slot: its latest session.
    pub(crate) sessions: BTreeMap<(crate::message::Address, usize), (u64, Session)>,
    decoded: BTreeMap<u64, Arc<Run>>,
    births: u64,
}

impl Api {
    pub(crate) fn new() -> Self {
        let disk: BTreeMap<_, _> =
            schema::bootstrap().iter().map(|s| (Arc::clone(&s.key), Arc::clone(s))).collect();
        let mut api = Self {
            state: State::default(),
            disk,
            windows: BTreeMap::new(),
            sessions: BTreeMap::new(),
            decoded: BTreeMap::new(),
            births: 0,
        };
        api.restart();
        api
    }

    /// Comes up with what the disk holds; watches are gone, and windows begin anew.
    pub(crate) fn restart(&mut self) {
        let version = self.state.version();
        self.state = State::load(self.disk.values().cloned(), version);
        let start = self.state.version();
        self.windows = Kind::ALL.map(|kind| (kind, Window::new(start, WINDOW_EVENTS))).into();
        self.sessions.clear();
    }

    /// Forgets all events, as a compaction does.
    pub(crate) fn compact(&mut self, kind: Kind) {
        self.windows.insert(kind, Window::new(self.state.version(), WINDOW_EVENTS));
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Stored>> {
        self.state.get(&Key::new(&schema::resource(kind), NAMESPACE, name))
    }

    pub(crate) fn object(&mut self, stored: &Arc<Stored>) -> Object {
        let run = (*stored.key.resource == *schema::resource(Kind::Run).id)
            .then(|| Arc::clone(self.decoded.entry(stored.version).or_insert_with(|| run(stored))));
        Object { stored: Arc::clone(stored), run }
    }

    /// As it was before it went out of sight: it has the version of what made it go.
    pub(crate) fn last_seen(stored: &Arc<Stored>) -> Object {
        let is_run = *stored.key.resource == *schema::resource(Kind::Run).id;
        Object { stored: Arc::clone(stored), run: is_run.then(|| run(stored)) }
    }

    pub(crate) fn list(&mut self, kind: Kind, filter: &Filter) -> Vec<Object> {
        let id = Arc::clone(&schema::resource(kind).id);
        let selected = |s: &&Arc<Stored>| *s.key.resource == *id && filter.selects(s);
        let found: Vec<_> = self.state.iter().filter(selected).cloned().collect();
        found.iter().map(|stored| self.object(stored)).collect()
    }

    pub(crate) fn version(&self) -> u64 {
        self.state.version()
    }

    /// The events after a version, or 410.
    pub(crate) fn since(&self, kind: Kind, version: u64) -> Result<Vec<Arc<Event>>, Code> {
        let Some(window) = self.windows.get(&kind) else { return Err(410) };
        window.since(version).map(|events| events.cloned().collect()).map_err(|_| 410)
    }

    /// What a write would do: the compare-and-set that the writer gets.
    pub(crate) fn compute(&mut self, op: &Op, now: Timestamp) -> Result<Computed, Code> {
        let computed = match op {
            Op::Create(kind, body) => {
                self.births += 1;
                let uid = format!("uid-{:06}", self.births);
                let birth = Birth { now, uid, suffix: format!("{:05}", self.births) };
                let resource = schema::resource(*kind);
                let made = create::prepare(&resource, NAMESPACE, body.clone(), &birth);
                let object = made.map_err(code)?.object;
                let name = json::text(&object, &["metadata", "name"]).to_owned();
                let key = Key::new(&resource, NAMESPACE, &name);
                Computed { kind: *kind, key, expect: Expect::Absent, old: None, new: Some(object) }
            }
            Op::Replace(kind, name, body) => {
                if body.pointer("/metadata/resourceVersion").is_none() {
                    return Err(422);
                }
                self.change(*kind, name, Part::Main, |_| body.clone())?
            }
            Op::Patch(kind, name, body) => self.change(*kind, name, Part::Main, merged(body))?,
            Op::PatchStatus(kind, name, body) => {
                self.change(*kind, name, Part::Status, merged(body))?
            }
            Op::Delete { kind, name, uid, grace } => {
                self.deletion(*kind, name, uid.as_deref(), *grace, now)?
            }
            Op::Get(..) | Op::List(..) | Op::Watch { .. } => return Err(405),
        };
        Ok(computed)
    }

    fn change(
        &self,
        kind: Kind,
        name: &str,
        part: Part,
        compute: impl Fn(&Value) -> Value,
    ) -> Result<Computed, Code> {
        let resource = schema::resource(kind);
        let stored = self.get(kind, name).ok_or(404_u16)?;
        let old = stored.value();
        let prepare =
            if mutant::is(Mutant::NoRulesInTheCrd) { update::assemble } else { update::prepare };
        let new = prepare(&resource, &old, compute(&old), part).map_err(code)?.object;
        let ended = delete::is_complete(&resource.id, &new);
        let expect = Expect::Version(stored.version);
        let key = Key::new(&resource, NAMESPACE, name);
        Ok(Computed { kind, key, expect, old: Some(old), new: (!ended).then_some(new) })
    }

    fn deletion(
        &self,
        kind: Kind,
        name: &str,
        uid: Option<&str>,
        grace: Option<i64>,
        now: Timestamp,
    ) -> Result<Computed, Code> {
        let resource = schema::resource(kind);
        let stored = self.get(kind, name).ok_or(404_u16)?;
        let old = stored.value();
        let options = Options { grace, uid: uid.map(str::to_owned), ..Options::default() };
        options.check(&resource, name, &old).map_err(code)?;
        let new = match delete::decide(&resource.id, &old, &options, now) {
            Deletion::Remove => None,
            Deletion::Update(marked) => Some(marked),
            Deletion::Unchanged => Some(old.clone()),
        };
        let expect = Expect::Version(stored.version);
        let key = Key::new(&resource, NAMESPACE, name);
        Ok(Computed { kind, key, expect, old: Some(old), new })
    }

    /// Makes it durable and visible. The first change is the answer's.
    pub(crate) fn commit(
        &mut self,
        computed: Computed,
        now: Timestamp,
        at: Duration,
    ) -> Result<Vec<(Kind, Arc<Event>)>, Code> {
        if computed.old.is_some() && computed.old == computed.new {
            return Ok(Vec::new());
        }
        let resource = schema::resource(computed.kind);
        let action = computed.new.map_or(Action::Remove, Action::Put);
        let selectable = resource.fields.clone();
        let write = Write { key: computed.key, expect: computed.expect, action, selectable };
        let changes = self.state.apply(write, now).map_err(|refused| match refused {
            Refused::Exists | Refused::Version => 409,
            Refused::Missing | Refused::NoKind | Refused::NoNamespace => 404_u16,
            Refused::NamespaceTerminating | Refused::KindTerminating => 403,
        })?;
        Ok(changes.into_iter().filter_map(|change| self.persist(change, at)).collect())
    }

    fn persist(&mut self, change: Change, at: Duration) -> Option<(Kind, Arc<Event>)> {
        match (&change.old, &change.new) {
            (_, Some(new)) => drop(self.disk.insert(Arc::clone(&new.key), Arc::clone(new))),
            (Some(old), None) => drop(self.disk.remove(&old.key)),
            (None, None) => {}
        }
        let kind = schema::kind_of(&change.key()?.resource)?;
        let event = Arc::new(Event::new(change));
        self.windows.get_mut(&kind)?.push(Arc::clone(&event), at);
        Some((kind, event))
    }
}

/// A compare-and-set that is ready.
#[derive(Debug, Clone)]
pub(crate) struct Computed {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    pub(crate) expect: Expect,
    pub(crate) old: Option<Value>,
    pub(crate) new: Option<Value>,
}

fn run(stored: &Stored) -> Arc<Run> {
    Arc::new(serde_json::from_slice(&stored.json).unwrap_or_default())
}

fn merged(body: &Value) -> impl Fn(&Value) -> Value {
    |old| {
        let mut new = old.clone();
        patch::merge(&mut new, body);
        new
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what errors are mapped by")]
fn code(failure: Failure) -> Code {
    failure.code
}
