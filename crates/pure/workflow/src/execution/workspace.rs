//! Workspaces that the steps of a leg share: each is held by a Run of its own, from the leg's first step to its end.
//!
//! Invariant: whatever holds a workspace is in `holders` until its end is seen, and the Workflow has not ended before.

use super::legs::failed;
use super::state::{Leg, Stop};
use super::{Creation, Effect, End, Execution, How, LegId, NewChild, Seen};
use crate::child::{self, Child};
use crate::plan::{JobPlan, Work};
use kruntimes_api::{JobPhase, Workspace};

/// A Run that holds a workspace.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) child: Child,
    /// The leg, until it needs it no more.
    leg: Option<LegId>,
    /// Whether it is known to exist: what may not exist yet can't be cancelled.
    exists: bool,
}

/// The workspace of a leg that shares one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Held {
    /// Nobody holds it yet.
    #[default]
    No,
    /// This Run does.
    By(String),
    /// That one ended, and why.
    Lost(String),
}

impl Held {
    /// Why no step can run any more.
    pub(super) const fn is_lost(&self) -> Option<Stop> {
        match self {
            Self::Lost(_) => Some(Stop::Lost),
            Self::No | Self::By(_) => None,
        }
    }
}

impl Execution {
    /// Has the workspace of a leg held. What held it before a restart goes on.
    pub(super) fn hold(&mut self, id: LegId) {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        if plan.workspace == Workspace::Separate || leg.held != Held::No {
            return;
        }
        let child = leg.child(plan, None);
        let name = match self.early.remove(&child) {
            Some(Seen { end: Some(end), .. }) => {
                self.jobs[job].legs[index].held = Held::Lost(end.message);
                return;
            }
            Some(Seen { name, .. }) => {
                let holder = Holder { child, leg: Some(id), exists: true };
                self.holders.insert(name.clone(), holder);
                name
            }
            None => {
                let name = self.free_name(&child);
                self.create_holder(
                    id,
                    Creation { name: name.clone(), child, after: None, may_exist: false },
                );
                name
            }
        };
        self.jobs[job].legs[index].held = Held::By(name);
    }

    /// The first name of a child; the other one where another child of this Workflow has the first just now.
    pub(super) fn free_name(&self, child: &Child) -> String {
        let [first, other] = child.names(&self.identity);
        let is_step = self.active.get(&first).is_some_and(|active| active.child != *child);
        let is_holder = self.holders.get(&first).is_some_and(|holder| holder.child != *child);
        if is_step || is_holder { other } else { first }
    }

    /// After a restart: what holds, or held, the workspace of a leg. Where something was done in it and nothing holds it
    /// any more it is lost: an empty one must not stand in for it.
    pub(super) fn take_up_holders(&mut self, id: LegId) {
        let (job, index) = id;
        let (plan, leg) = (&self.plan.jobs[job], &self.jobs[job].legs[index]);
        let (own, is_over) = (leg.child(plan, None), leg.phase.is_terminal());
        let of_leg = |child: &Child| child.job == own.job && child.leg == own.leg;
        let holders = self.early.keys().filter(|child| of_leg(child) && self.is_holder(child));
        for child in holders.cloned().collect::<Vec<_>>() {
            if child == own && !is_over {
                self.hold(id);
            } else if let Some(seen) = self.early.remove(&child).filter(|seen| seen.end.is_none()) {
                self.end_child(seen);
            }
        }
        let leg = &self.jobs[job].legs[index];
        if is_over || self.plan.jobs[job].workspace == Workspace::Separate || leg.held != Held::No {
            return;
        }
        let of_attempt = |child: &Child| of_leg(child) && child.attempt == own.attempt;
        let steps = || self.early.iter().filter(|(child, _)| of_attempt(child));
        let has_run = leg.steps[..leg.at].iter().any(|step| step.phase != JobPhase::Skipped);
        if has_run || steps().any(|(_, seen)| seen.placed || seen.end.is_some()) {
            let why = "the Run that held it was deleted".to_owned();
            self.jobs[job].legs[index].held = Held::Lost(why);
        } else if steps().next().is_some() {
            self.hold(id);
        }
    }

    fn create_holder(&mut self, id: LegId, creation: Creation) {
        let holder = Holder { child: creation.child.clone(), leg: Some(id), exists: false };
        self.holders.insert(creation.name.clone(), holder);
        self.effects.push(Effect::Create(creation));
    }

    /// The leg needs its workspace no more.
    pub(super) fn let_go(&mut self, id: LegId) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        let Held::By(name) = std::mem::take(&mut leg.held) else { return };
        let Some(holder) = self.holders.get_mut(&name) else { return };
        holder.leg = None;
        if holder.exists {
            let child = holder.child.clone();
            self.cancel_child(child, name, Stop::Cancelled);
        }
    }

    /// A Run that holds a workspace which no leg needs.
    pub(super) fn end_holder(&mut self, seen: Seen) {
        let holder = Holder { child: seen.child.clone(), leg: None, exists: true };
        self.holders.insert(seen.name.clone(), holder);
        self.cancel_child(seen.child, seen.name, Stop::Cancelled);
    }

    /// Whether a child holds a workspace, by its labels.
    pub(super) fn is_holder(&self, child: &Child) -> bool {
        let job = self.plan.by_name.get(&child.job).map(|id| &self.plan.jobs[*id]);
        child.step.is_none() && job.is_some_and(|job| matches!(job.work, Work::Steps { .. }))
    }

    /// It is like this now.
    pub(super) fn see_holder(&mut self, seen: Seen) {
        match seen.end {
            Some(end) => self.holder_ended(&seen.name, end.message),
            None => self.holder_exists(&seen.name),
        }
    }

    /// It is there: if its leg has ended while it was on its way, it is told only now.
    pub(super) fn holder_exists(&mut self, name: &str) {
        let Some(holder) = self.holders.get_mut(name).filter(|holder| !holder.exists) else {
            return;
        };
        holder.exists = true;
        if holder.leg.is_none() {
            let child = holder.child.clone();
            self.cancel_child(child, name.to_owned(), Stop::Cancelled);
        }
    }

    /// It has ended, or can't be. The leg that still needs it fails: what was in there is lost.
    pub(super) fn holder_ended(&mut self, name: &str, why: String) {
        let Some(Holder { leg: Some(id), .. }) = self.holders.remove(name) else { return };
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        leg.held = Held::Lost(why);
        let running = leg.steps.get(leg.at).and_then(|step| step.child.clone());
        if let Some(name) = running
            && let Some(active) = self.active.get(&name).filter(|active| active.exists)
        {
            self.cancel_child(active.child.clone(), name, Stop::Lost);
        }
    }

    /// Its name is somebody else's: it takes the other one, or the leg goes without.
    pub(super) fn holder_is_taken(&mut self, creation: &Creation) {
        let Some(holder) = self.holders.remove(&creation.name) else { return };
        let [first, other] = holder.child.names(&self.identity);
        let Some(id) = holder.leg else { return };
        let (job, index) = id;
        if creation.name == first {
            self.jobs[job].legs[index].held = Held::By(other.clone());
            self.create_holder(id, Creation { name: other, may_exist: false, ..creation.clone() });
            return;
        }
        self.holders.insert(creation.name.clone(), holder);
        let why = format!("both names of its Run belong to others: {first} and {other}");
        self.holder_ended(&creation.name, why);
    }

    /// The Run that holds a workspace; none where it is not needed any more. What may exist is created all the same: then
    /// it can be cancelled, and its end waited for.
    pub(super) fn holding(&self, creation: &Creation) -> Option<NewChild> {
        let holder = self.holders.get(&creation.name)?;
        if holder.leg.is_none() && !creation.may_exist {
            return None;
        }
        let plan = &self.plan.jobs[*self.plan.by_name.get(&holder.child.job)?];
        let Work::Steps { runs_on, .. } = &plan.work else { return None };
        let metadata = holder.child.metadata(&self.identity, creation.name.clone());
        let group = self.group_of(&holder.child);
        Some(NewChild::Run(Box::new(child::holder(metadata, runs_on.clone(), group))))
    }

    /// The group of the Runs that share the workspace of this leg.
    pub(super) fn workspace_group(&self, plan: &JobPlan, leg: &Leg) -> Option<String> {
        (plan.workspace == Workspace::Shared).then(|| self.group_of(&leg.child(plan, None)))
    }

    /// No other leg, attempt or Workflow has it.
    fn group_of(&self, child: &Child) -> String {
        let Child { job, leg, attempt, .. } = child;
        format!("{}/{job}/{}/{attempt}", self.identity.uid, leg.as_deref().unwrap_or_default())
    }

    /// The step that a leg is at can't run: its workspace is lost.
    pub(super) fn step_is_lost(&mut self, id: LegId) {
        let (job, index) = id;
        let leg = &mut self.jobs[job].legs[index];
        leg.stop = Some(Stop::Lost);
        let message = leg.why(&self.plan.jobs[job]);
        self.step_ended(id, End { how: How::Cancelled(Stop::Lost), ..failed(message) });
        self.due.pop_back();
    }
}
