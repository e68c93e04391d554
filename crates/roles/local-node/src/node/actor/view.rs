//! What a pod's status is to say at each stage.

use super::{Actor, Stage};
use crate::node::container::{Container, waiting};
use crate::node::lost;
use crate::node::status::{ContainerView, Observed};
use jiff::Timestamp;
use kruntimes_api::pods;

impl Actor {
    pub(super) fn observe(&self) -> Observed {
        let (phase, why) = match &self.stage {
            Stage::Over { phase, why } => (*phase, why.clone()),
            Stage::Pending(_) => ("Pending", None),
            Stage::Stopping(_) if self.containers.is_empty() => ("Pending", None),
            Stage::Live | Stage::Stopping(_) | Stage::Done => ("Running", None),
        };
        let over = matches!(self.stage, Stage::Over { .. });
        let containers = if self.containers.is_empty() {
            self.views_without_processes(over)
        } else {
            // Nothing of a pod that is to end is started again.
            let stops = matches!(self.stage, Stage::Stopping(_))
                && !self.containers.iter().any(Container::is_running);
            self.containers.iter().map(|container| container.view(over || stops)).collect()
        };
        let address = self.place.as_ref().map(|place| place.address);
        Observed { phase, why, address, started: self.started, containers }
    }

    fn views_without_processes(&self, over: bool) -> Vec<ContainerView> {
        let refusal = match &self.stage {
            Stage::Pending(refusal) => refusal.as_ref(),
            Stage::Live | Stage::Stopping(_) | Stage::Over { .. } | Stage::Done => None,
        };
        if over {
            return lost::views(self.writer.pod(), Timestamp::now());
        }
        let spec = self.writer.pod().spec.as_ref();
        let containers = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let views = containers.iter().map(|container| {
            let refused = refusal.filter(|refusal| refusal.container == container.name);
            let state = refused.map_or_else(
                || waiting(pods::CONTAINER_CREATING, String::new()),
                |refusal| waiting(refusal.reason, refusal.message.clone()),
            );
            ContainerView {
                name: container.name.clone(),
                image: container.image.clone().unwrap_or_default(),
                id: None,
                state,
                last: None,
                restarts: 0,
                ready: false,
            }
        });
        views.collect()
    }
}
