//! How a pod starts: bound first, then its place is made, then its processes.

use super::{Actor, Stage};
use crate::node::container::Container;
use crate::node::directories::Access;
use crate::node::launch::Place;
use crate::node::plan::{PodPlan, Refusal, plan};
use crate::node::sources::Sources;
use crate::node::write::Written;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kruntimes_api::{names, pods};

impl Actor {
    pub(super) async fn try_start(&mut self) {
        if let Written::Gone = self.bind().await {
            return;
        }
        if self.retry.is_some() {
            return;
        }
        let plan = match plan(self.writer.pod()) {
            Ok(plan) => plan,
            Err(refusal) => {
                self.stage = Stage::Pending(Some(refusal));
                return;
            }
        };
        let prepared = match self.prepare(&plan) {
            Ok(place) => self.fill(&plan, place).await,
            Err(refusal) => Err(refusal),
        };
        match prepared {
            Ok(place) => self.start(plan, place),
            Err(refusal) => {
                self.stage = Stage::Pending(Some(refusal));
                let observed = self.observe();
                let written = self.writer.status(&observed).await;
                self.take(written);
                self.take(Written::Failed);
            }
        }
    }

    async fn bind(&mut self) -> Written {
        let written = self.writer.bind().await;
        self.take(written);
        written
    }

    fn prepare(&mut self, plan: &PodPlan) -> Result<Place, Refusal> {
        let refuse = |reason, message: String| {
            let first = plan.containers.first().map(|container| container.name.clone());
            Refusal { container: first.unwrap_or_default(), reason, message }
        };
        let directories = self.directories().ok_or_else(|| {
            refuse(pods::CREATE_CONTAINER_ERROR, "the pod's UID is no file name".to_owned())
        })?;
        let token = self.token.get_or_insert_with(|| self.node.tokens.issue(&self.identity));
        let access = Access {
            api_url: &self.node.config.api_url,
            ca_pem: &self.node.config.ca_pem,
            namespace: &self.identity.namespace,
            token,
        };
        directories.create().and_then(|()| directories.write_access(&access)).map_err(|error| {
            refuse(
                pods::CREATE_CONTAINER_ERROR,
                format!("the pod's directories can't be made: {error}"),
            )
        })?;
        let ports: Vec<u16> =
            plan.containers.iter().flat_map(|container| &container.ports).copied().collect();
        let address = self.node.addresses.take(&ports).ok_or_else(|| {
            let message = "the pod's ports are taken on every loopback address that was tried: \
                           a program listens on one of them on all addresses";
            refuse(pods::NO_LOOPBACK_ADDRESS, message.to_owned())
        })?;
        Ok(Place { address, directories })
    }

    /// Writes the Secrets and ConfigMaps that runtimed is to have before it starts.
    async fn fill(&mut self, plan: &PodPlan, place: Place) -> Result<Place, Refusal> {
        if plan.sources.is_empty() {
            return Ok(place);
        }
        let (client, namespace) = (&self.node.client, &self.identity.namespace);
        match Sources::start(client, namespace, &place.directories, &plan.sources).await {
            Ok(sources) => {
                self.sources = Some(sources);
                Ok(place)
            }
            Err(message) => {
                self.node.addresses.release(place.address);
                let container = names::RUNTIMED_CONTAINER.to_owned();
                Err(Refusal { container, reason: pods::CREATE_CONTAINER_ERROR, message })
            }
        }
    }

    fn start(&mut self, plan: PodPlan, place: Place) {
        self.started = Some(Timestamp::now());
        (self.policy, self.grace) = (plan.restart, plan.grace);
        self.stage = Stage::Live;
        for (index, plan) in plan.containers.into_iter().enumerate() {
            let owner = (self.identity.namespace.as_str(), self.identity.name.as_str());
            let log = self.node.logs.add(owner, &plan.name, place.directories.logs());
            let image = image(self.writer.pod(), &plan.name);
            let mut container = Container::new(plan, image, index, log, self.events.clone());
            container.start(&self.node.config, &self.identity, &place, self.policy);
            self.containers.push(container);
        }
        self.place = Some(place);
    }
}

fn image(pod: &Pod, container: &str) -> String {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let mut found = containers.filter(|candidate| candidate.name == container);
    found.next().and_then(|container| container.image.clone()).unwrap_or_default()
}
