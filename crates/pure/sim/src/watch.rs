//! A client's watch: list, watch, resume, list anew after 410, as kube's watcher does.

use crate::core::Core;
use crate::message::{Address, Body, Shown};
use crate::schema::Kind;
use crate::store::{Code, Object, Op, Reply};
use kruntimes_objects::fields::FieldSelector;
use kruntimes_objects::labels::LabelSelector;
use kruntimes_objects::window::Filter;
use kruntimes_rules::mutant::{self, Mutant};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a watch tells its node.
#[derive(Debug)]
pub(crate) enum Seen {
    ListBegins,
    Listed(Object),
    ListEnds,
    Applied(Object),
    Deleted(Object),
    Interrupted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Listing {
        call: u64,
    },
    Opening {
        call: u64,
        since: u64,
    },
    Open {
        session: u64,
        since: u64,
    },
    /// Waits; then resumes, or lists.
    Pausing(Option<u64>),
}

/// One watch.
#[derive(Debug)]
pub(crate) struct Watch {
    me: Address,
    slot: usize,
    kind: Kind,
    filter: Arc<Filter>,
    state: State,
    pause: Duration,
    beside: Option<u64>,
}

impl Watch {
    pub(crate) fn new(me: Address, slot: usize, kind: Kind, labels: &str, fields: &str) -> Self {
        let resource = crate::schema::resource(kind);
        let filter = Filter {
            namespace: None,
            labels: LabelSelector::parse(labels).expect("the selectors are constants"),
            fields: FieldSelector::parse(fields, &resource).expect("the selectors are constants"),
        };
        let state = State::Idle;
        Self { me, slot, kind, filter: Arc::new(filter), state, pause: FIRST_PAUSE, beside: None }
    }

    pub(crate) fn filter(&self) -> Arc<Filter> {
        Arc::clone(&self.filter)
    }

    pub(crate) fn start(&mut self, core: &mut Core) {
        let call = core.request(self.me, Op::List(self.kind, self.filter()));
        self.state = State::Listing { call };
    }

    /// A list beside the watch, which goes on: its answer is taken whenever it comes.
    pub(crate) fn list_beside(&mut self, core: &mut Core) {
        self.beside = Some(core.request(self.me, Op::List(self.kind, self.filter())));
    }

    fn open(&mut self, core: &mut Core, since: u64) {
        let (slot, kind, filter) = (self.slot, self.kind, self.filter());
        let call = core.request(self.me, Op::Watch { slot, kind, filter, since });
        self.state = State::Opening { call, since };
    }

    /// Takes an answer; none where it is not to this watch.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        call: u64,
        result: &Result<Reply, Code>,
    ) -> Option<Vec<Seen>> {
        if self.beside.take_if(|mine| *mine == call).is_some() {
            let Ok(Reply::List(objects, _)) = result else {
                self.list_beside(core);
                return Some(Vec::new());
            };
            let objects = objects.iter().cloned().map(Seen::Listed);
            let list = std::iter::once(Seen::ListBegins).chain(objects).chain([Seen::ListEnds]);
            return Some(list.collect());
        }
        match self.state {
            State::Listing { call: mine } if mine == call => Some(self.listed(core, result)),
            State::Opening { call: mine, since } if mine == call => match result {
                Ok(_) => {
                    self.state = State::Open { session: call, since };
                    self.pause = FIRST_PAUSE;
                    Some(Vec::new())
                }
                Err(410) => Some(self.interrupted(core, None)),
                Err(_) => Some(self.interrupted(core, Some(since))),
            },
            State::Idle
            | State::Listing { .. }
            | State::Opening { .. }
            | State::Open { .. }
            | State::Pausing(_) => None,
        }
    }

    fn listed(&mut self, core: &mut Core, result: &Result<Reply, Code>) -> Vec<Seen> {
        let Ok(Reply::List(objects, version)) = result else {
            return self.interrupted(core, None);
        };
        self.open(core, *version);
        let objects = objects.iter().cloned().map(Seen::Listed);
        std::iter::once(Seen::ListBegins).chain(objects).chain([Seen::ListEnds]).collect()
    }

    fn interrupted(&mut self, core: &mut Core, resume: Option<u64>) -> Vec<Seen> {
        self.state = State::Pausing(resume);
        let pause = self.pause + core.random.millis(0, 20);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        core.after(pause, self.me, Body::Rewatch { slot: self.slot });
        vec![Seen::Interrupted]
    }

    pub(crate) fn resume(&mut self, core: &mut Core) {
        if let State::Pausing(since) = self.state {
            match since {
                Some(since) => self.open(core, since),
                None => self.start(core),
            }
        }
    }

    /// Takes an event of the session.
    pub(crate) fn shown(&mut self, core: &mut Core, of: u64, event: Shown) -> Vec<Seen> {
        // The first events may overtake the answer that the watch is open.
        let since = match self.state {
            State::Open { session, since } if session == of => since,
            State::Opening { call, since } if call == of => since,
            State::Idle
            | State::Listing { .. }
            | State::Opening { .. }
            | State::Open { .. }
            | State::Pausing(_) => return Vec::new(),
        };
        let object = match &event {
            Shown::Broken => return self.interrupted(core, Some(since)),
            Shown::Expired if mutant::is(Mutant::LostWatchNotRelisted) => {
                let newest = core.api.version();
                return self.interrupted(core, Some(newest));
            }
            Shown::Expired => return self.interrupted(core, None),
            Shown::Applied(object) | Shown::Deleted(object) => object,
        };
        let since = since.max(object.stored.version);
        self.state = State::Open { session: of, since };
        match event {
            Shown::Deleted(object) => vec![Seen::Deleted(object)],
            Shown::Applied(object) => vec![Seen::Applied(object)],
            Shown::Broken | Shown::Expired => Vec::new(),
        }
    }
}

/// As `kruntimes_cluster::watch` tells it: after a list everything that disappeared meanwhile is gone.
#[derive(Debug)]
pub(crate) enum Observed {
    Applied(Object),
    Gone(String),
    Synced,
    Interrupted,
}

/// The names that were shown.
#[derive(Debug, Default)]
pub(crate) struct Known {
    shown: BTreeSet<String>,
    listing: BTreeSet<String>,
}

impl Known {
    pub(crate) fn observe(&mut self, seen: Seen) -> Vec<Observed> {
        match seen {
            Seen::Interrupted => vec![Observed::Interrupted],
            Seen::ListBegins => {
                self.listing.clear();
                Vec::new()
            }
            Seen::Listed(object) => {
                self.listing.insert(object.name().to_owned());
                self.shown.insert(object.name().to_owned());
                vec![Observed::Applied(object)]
            }
            Seen::ListEnds => {
                let listed = std::mem::take(&mut self.listing);
                let former = std::mem::replace(&mut self.shown, listed);
                let gone = former.difference(&self.shown).cloned().map(Observed::Gone);
                gone.chain([Observed::Synced]).collect()
            }
            Seen::Applied(object) => {
                self.shown.insert(object.name().to_owned());
                vec![Observed::Applied(object)]
            }
            Seen::Deleted(object) => {
                self.shown.remove(object.name());
                vec![Observed::Gone(object.name().to_owned())]
            }
        }
    }
}
