//! Conditions of a Runtime, and their reasons.

use crate::explain::reasons;

/// True when every pod of the pool is as the Runtime says and takes Runs.
pub const READY: &str = "Ready";
/// Whether the template is one that a pool can have.
pub const TEMPLATE_ACCEPTED: &str = "TemplateAccepted";
/// What the pods' kernel does for the isolation of Runs.
pub const ISOLATION: &str = "Isolation";

reasons! {
    RUNTIMES in Runtime:

    /// The template is carried to the pods.
    ACCEPTED = "Accepted";
    "The template is one that the pods of a Runtime can have, and is carried to them.";
    "Nothing.";

    /// The template has a field that no pool can have.
    TEMPLATE_REFUSED = "TemplateRefused";
    "`spec.template` has a field, or a value of one, that the pods of a Runtime can't have; the message names each with \
     its path. The pods stay as they were before.";
    "Change or leave out what the message names and apply the Runtime again.";

    /// Another part of the Runtime makes no sense.
    INVALID_RUNTIME = "InvalidRuntime";
    "A part of the Runtime beside its template makes no sense; the message names it. The pods stay as they were before.";
    "Change what the message names and apply the Runtime again.";

    /// Every pod is ready.
    PODS_READY = "PodsReady";
    "Every pod of the Runtime is of its current template and takes Runs.";
    "Nothing.";

    /// Pods are on their way.
    PODS_STARTING = "PodsStarting";
    "Not every pod of the Runtime is of its current template and ready yet; nothing is known to keep them.";
    "Wait; `kubectl wait --for=condition=Ready runtime/NAME` does so. If it takes longer than starting the image \
     should, `kubectl describe pods -l runtime=NAME` says how far they are.";

    /// An object of the pool's name belongs to somebody else.
    NAME_TAKEN = "NameTaken";
    "An object with the name that the controller would give to one of its own exists already and is not owned by this \
     Runtime; it is never overwritten. The message names it.";
    "Delete that object if nobody needs it, or give the Runtime another name. Right after a Runtime of the same name \
     was deleted this passes by itself.";

    /// The API server refused an object of the pool.
    APPLY_FAILED = "ApplyFailed";
    "The API server refused an object that the controller makes for the Runtime; the message holds its answer.";
    "Mend what the answer names, such as a quota or a right of the controller; it is tried again by itself.";

    /// The API server refused the pods.
    PODS_REFUSED = "PodsRefused";
    "The cluster refuses to create pods of the Runtime: a quota, a limit range or an admission policy; the message \
     holds its answer.";
    "Raise that quota or change what the answer names, in `spec.template` or `spec.replicas`; it is tried again by \
     itself.";

    /// No node takes a pod.
    PODS_UNSCHEDULABLE = "PodsUnschedulable";
    "No node of the cluster can take a pod of the Runtime: too little room, a selector that fits none, or a claim that \
     does not exist; the message holds the scheduler's answer.";
    "Add nodes, create what the answer says is missing, or ask for less in the Runtime's `spec.template`.";

    /// A volume can't be mounted.
    VOLUME_UNAVAILABLE = "VolumeUnavailable";
    "A volume of the Runtime's template can't be mounted, most often since its Secret, ConfigMap or claim does not \
     exist; the message says which.";
    "Create what the message names, in the namespace of the Runtime, or take the volume out of `spec.template`. The \
     pods go on by themselves.";

    /// A Runtime Server runs, and says that it can't take Runs.
    SERVER_UNHEALTHY = "ServerUnhealthy";
    "The Runtime Server of a pod runs, but says that it can't take Runs, and why: no Python was found, a module of \
     `--preload` could not be imported.";
    "Mend what the message names, in the image or the args of the Runtime's `spec.template`. A pod becomes ready by itself \
     as soon as its server can work.";

    /// The kernel keeps Runs apart.
    ISOLATION_FULL = "Full";
    "The kernel of all pods keeps the Runs of a pod apart in every way that the Runtime Server knows.";
    "Nothing.";

    /// The kernel lacks something.
    ISOLATION_DEGRADED = "Degraded";
    "The kernel of a pod lacks something that keeps the Runs of a pod apart; the message lists what they can reach of \
     each other.";
    "Run the pods on a newer kernel: Linux 6.12 has all of it (Landlock 6), and Landlock must be among the kernel's \
     `lsm`. Until then give the Runtime only to Runs that trust each other.";

    /// The Runtime asks for none.
    ISOLATION_OFF = "Off";
    "`spec.isolation` of the Runtime is none: nothing keeps the Runs of a pod apart.";
    "Give the Runtime only to Runs that trust each other, or leave `spec.isolation` out.";

    /// Nothing says what the pods' kernel does.
    NOT_REPORTED = "NotReported";
    "No pod of the Runtime says how it keeps Runs apart: none is ready yet, or the Runtime Server is one that keeps \
     nothing apart.";
    "Wait for the first pod. If it stays, give the Runtime only to Runs that trust each other.";
}
