//! A controller's Workflows: the shipped `Keep` between watches and requests, as `roles/controller/src/workflows` has it.

use crate::core::Core;
use crate::message::Address;
use crate::points::{Effect as Point, Side};
use crate::schema::Kind;
use crate::store::{Code, NAMESPACE, Object as Stored, Op, Reply};
use crate::watch::Observed as Shown;
use jiff::Timestamp;
use kruntimes_api::{Run, Workflow};
use kruntimes_rules::observed::{ObjectKey, Observed};
use kruntimes_workflow::keep::{self, Done, Failure, Keep, Object, Request, Whose};
use kruntimes_workflow::{Answer, Child, Creation, Effect, Seen, superseded};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug)]
enum Call {
    Create { kind: Kind, creation: Creation },
    Find { kind: Kind, creation: Creation },
    Cancel(Effect),
    Write,
    Read,
    ReadEarlier,
}

/// One life of it.
#[derive(Debug)]
pub(crate) struct Driver {
    me: Address,
    keep: Keep,
    wall: Timestamp,
    started: Duration,
    calls: BTreeMap<u64, (Whose, Call)>,
}

impl Driver {
    pub(crate) fn start(core: &Core, me: Address) -> Self {
        let (wall, started) = (core.wall(me), core.monotonic(me));
        Self { me, keep: Keep::default(), wall, started, calls: BTreeMap::new() }
    }

    fn now(&self, core: &Core) -> Timestamp {
        let since = core.monotonic(self.me).saturating_sub(self.started);
        self.wall.checked_add(since).unwrap_or(self.wall)
    }

    pub(crate) fn workflow_seen(&mut self, core: &Core, shown: Shown) {
        let observed = observed(shown, |object| decoded::<Workflow>(&object));
        self.keep.workflow_seen(observed, self.now(core));
    }

    pub(crate) fn run_seen(&mut self, shown: Shown) {
        let run = |object: Stored| object.run.map(|run| Run::clone(&run));
        self.keep.run_seen(observed(shown, run));
    }

    /// When to come again, by the monotonic clock.
    pub(crate) fn go_on(&mut self, core: &mut Core) -> Option<Duration> {
        for (whose, request) in self.keep.advance(self.now(core)) {
            self.perform(core, whose, request);
        }
        let now = self.now(core);
        let wait = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let deadline = self.keep.deadline();
        deadline.map(|at| core.monotonic(self.me) + wait(at).max(Duration::from_millis(1)))
    }

    fn perform(&mut self, core: &mut Core, whose: Whose, request: Request) {
        let name = whose.key.name.clone();
        let (point, op, call) = match request {
            Request::Create { creation, object } => {
                let (kind, body) = match &object {
                    Object::Run(run) => (Kind::Run, json!(run)),
                    Object::Workflow(workflow) => (Kind::Workflow, json!(workflow)),
                };
                let call = Call::Create { kind, creation };
                (Some(Point::CreateChild), Op::Create(kind, body), call)
            }
            Request::Cancel { name, child, kind, why } => {
                let of = match kind {
                    kruntimes_workflow::Kind::Run => Kind::Run,
                    kruntimes_workflow::Kind::Workflow => Kind::Workflow,
                };
                let op = Op::Patch(of, name.clone(), why.patch());
                let cancel = Effect::Cancel { name, child, kind, why };
                (Some(Point::CancelChild), op, Call::Cancel(cancel))
            }
            Request::Supersede => {
                let op = Op::Patch(Kind::Workflow, name, superseded());
                (Some(Point::CancelChild), op, Call::Cancel(Effect::Supersede))
            }
            Request::Write(patch) => {
                let op = Op::PatchStatus(Kind::Workflow, name, patch);
                (Some(Point::WorkflowStatus), op, Call::Write)
            }
            Request::Read => (None, Op::Get(Kind::Workflow, name), Call::Read),
            Request::ReadEarlier(earlier) => {
                (None, Op::Get(Kind::Workflow, earlier), Call::ReadEarlier)
            }
        };
        if point.is_none_or(|point| core.gate(self.me, point, Side::Before)) {
            let number = core.request(self.me, op);
            self.calls.insert(number, (whose, call));
            if let Some(point) = point {
                core.gate(self.me, point, Side::After);
            }
        }
    }

    pub(crate) fn answered(&mut self, core: &mut Core, call: u64, result: &Result<Reply, Code>) {
        let Some((whose, call)) = self.calls.remove(&call) else { return };
        let done = match call {
            Call::Create { kind, creation } => match result {
                Err(409) => {
                    let op = Op::Get(kind, creation.name.clone());
                    let number = core.request(self.me, op);
                    self.calls.insert(number, (whose, Call::Find { kind, creation }));
                    return;
                }
                Ok(_) => Done::Created { creation, answer: Answer::Made, there: None },
                Err(code) if keep::is_final(*code, "") => {
                    let answer = Answer::Refused(format!("{code}"));
                    Done::Created { creation, answer, there: None }
                }
                Err(_) => Done::Again(Effect::Create(creation)),
            },
            Call::Find { kind, creation } => match result {
                Ok(Reply::Object(there)) => match found(kind, there, &whose.uid, &creation.child) {
                    Some((answer, there)) => Done::Created { creation, answer, there },
                    None => Done::Again(Effect::Create(creation)),
                },
                _ => Done::Again(Effect::Create(creation)),
            },
            Call::Cancel(effect) => match result {
                Err(code) if !keep::is_asked(*code) => Done::Again(effect),
                _ => Done::Cancelled,
            },
            Call::Write => Done::Written(read(result).map_err(failure).and_then(present)),
            Call::Read => Done::Read(optional(result)),
            Call::ReadEarlier => Done::Earlier(optional(result)),
        };
        self.keep.done(whose, done, self.now(core));
    }
}

fn found(kind: Kind, there: &Stored, uid: &str, child: &Child) -> Option<(Answer, Option<Seen>)> {
    if kind == Kind::Run {
        let run = there.run.as_ref()?;
        return Some(keep::found(run.as_ref(), Seen::run(run), uid, child));
    }
    let workflow: Workflow = decoded(there)?;
    Some(keep::found(&workflow, Seen::workflow(&workflow), uid, child))
}

fn read(result: &Result<Reply, Code>) -> Result<Option<Workflow>, Code> {
    match result {
        Ok(Reply::Object(object)) => Ok(decoded(object)),
        Ok(_) => Ok(None),
        Err(code) => Err(*code),
    }
}

fn optional(result: &Result<Reply, Code>) -> Result<Option<Workflow>, Failure> {
    match read(result) {
        Err(404) => Ok(None),
        read => read.map_err(failure),
    }
}

fn present(workflow: Option<Workflow>) -> Result<Workflow, Failure> {
    workflow.ok_or(Failure::Missing)
}

const fn failure(code: Code) -> Failure {
    match code {
        404 => Failure::Missing,
        409 => Failure::Conflict,
        _ => Failure::Other,
    }
}

fn decoded<K: DeserializeOwned>(object: &Stored) -> Option<K> {
    serde_json::from_slice(&object.stored.json).ok()
}

fn observed<K>(shown: Shown, decode: impl Fn(Stored) -> Option<K>) -> Observed<K> {
    let key = |name: String| ObjectKey { namespace: NAMESPACE.to_owned(), name };
    match shown {
        Shown::Applied(object) => {
            let name = object.name().to_owned();
            decode(object).map_or_else(|| Observed::Gone(key(name)), Observed::Applied)
        }
        Shown::Gone(name) => Observed::Gone(key(name)),
        Shown::Synced => Observed::Synced,
        Shown::Interrupted => Observed::Interrupted,
    }
}
