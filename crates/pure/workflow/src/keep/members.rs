//! Workflows of concurrency groups: who begins, and who gives way.

use super::Keep;
use super::flow::{Flow, State};
use crate::groups::{Decision, Member};
use jiff::Timestamp;
use kruntimes_api::Workflow;
use kruntimes_rules::mutant::{self, Mutant};
use kruntimes_rules::observed::ObjectKey;
use std::collections::BTreeSet;

impl Keep {
    pub(super) fn leave_group(&mut self, key: &ObjectKey, now: Timestamp) {
        if let Some(next) = self.groups.leave(key) {
            self.decide(Decision::Admit(next), now);
        }
    }

    fn decide(&mut self, decision: Decision<ObjectKey>, now: Timestamp) {
        let (key, is_admitted) = match decision {
            Decision::Admit(key) => (key, true),
            Decision::Cancel(key) => (key, false),
        };
        if let Some(State::Runs(execution)) = self.flows.get_mut(&key).map(|flow| &mut flow.state) {
            if is_admitted {
                execution.admit();
            } else {
                execution.supersede(now);
            }
            self.due.insert(key);
        }
    }

    /// Who has begun is first in its group, though another one's name comes before; then who is older.
    pub(super) fn enter_groups(&mut self, now: Timestamp) {
        if self.entering.is_empty() {
            return;
        }
        let mut entering = std::mem::take(&mut self.entering);
        entering.sort_by(|(_, one), (_, other)| {
            let order = |member: &Member<ObjectKey>| {
                (!member.has_begun && !mutant::is(Mutant::GroupsByName), member.created)
            };
            order(one).cmp(&order(other)).then_with(|| one.key.cmp(&other.key))
        });
        let has_begun = |flow: &Flow| match &flow.state {
            State::New(workflow) => is_begun(workflow) || self.children.are_known(&flow.uid),
            State::Runs(_) | State::Said => false,
        };
        // A group is of one namespace: nobody of another holds it up.
        let begun = self.flows.iter().filter(|(_, flow)| has_begun(flow));
        let begun: BTreeSet<String> = begun.map(|(key, _)| key.namespace.clone()).collect();
        for (group, member) in entering {
            if begun.contains(&member.key.namespace) && !member.has_begun {
                self.entering.push((group, member));
                continue;
            }
            let decisions = self.groups.enter(group, member);
            decisions.into_iter().for_each(|decision| self.decide(decision, now));
        }
    }
}

fn is_begun(workflow: &Workflow) -> bool {
    workflow.status.as_ref().is_some_and(|status| status.start_time.is_some())
}
