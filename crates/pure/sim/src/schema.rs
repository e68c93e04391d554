//! The kinds that the simulation stores; those of CRDs are compiled from the shipped CRDs, once a process.

use kruntimes_objects::builtin::{self, CRDS};
use kruntimes_objects::crd;
use kruntimes_objects::resource::Resource;
use kruntimes_objects::stored::{Key, Stored};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// A kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Run,
    Runtime,
    Pod,
    Lease,
    Workflow,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Run, Self::Runtime, Self::Pod, Self::Lease, Self::Workflow];

    const fn id(self) -> &'static str {
        match self {
            Self::Run => "runs.kruntimes.io",
            Self::Runtime => "runtimes.kruntimes.io",
            Self::Pod => "pods",
            Self::Lease => "leases.coordination.k8s.io",
            Self::Workflow => "workflows.kruntimes.io",
        }
    }
}

/// The kind of a resource's id.
pub(crate) fn kind_of(resource: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.id() == resource)
}

/// The resource of a kind.
pub(crate) fn resource(kind: Kind) -> Arc<Resource> {
    static ALL: OnceLock<[Arc<Resource>; 5]> = OnceLock::new();
    let all = ALL.get_or_init(|| Kind::ALL.map(|kind| Arc::new(compiled(kind))));
    Arc::clone(&all[kind as usize])
}

fn compiled(kind: Kind) -> Resource {
    let definitions = kruntimes_api::crd::all();
    let definition = definitions.iter().find(|crd| crd["metadata"]["name"] == kind.id());
    match definition {
        Some(definition) => crd::compile(definition).expect("the shipped CRDs compile"),
        None => builtin::resources()
            .into_iter()
            .find(|resource| resource.is(kind.id()))
            .expect("pods and Leases are built in"),
    }
}

/// What stands in an empty store: the namespace, and the CRDs as far as the store looks at them.
pub(crate) fn bootstrap() -> &'static [Arc<Stored>] {
    static ALL: OnceLock<Vec<Arc<Stored>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": crate::store::NAMESPACE, "uid": "namespace"}});
        let mut all = vec![stored("namespaces", namespace, 1)];
        for (at, mut crd) in kruntimes_api::crd::all().into_iter().enumerate() {
            if let Some(versions) = crd.pointer_mut("/spec/versions").and_then(Value::as_array_mut)
            {
                versions.iter_mut().filter_map(Value::as_object_mut).for_each(|version| {
                    version.remove("schema");
                });
            }
            all.push(stored(CRDS, crd, 2 + at as u64));
        }
        all
    })
}

fn stored(resource: &str, object: Value, version: u64) -> Arc<Stored> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let key = Arc::new(Key::of(resource, "", &name));
    Arc::new(Stored::new(key, version, object, Arc::default()))
}
