//! Reasons that the local home writes on pods and Deployments, and runtimed on its pod. Where Kubernetes has a name
//! for the case it is Kubernetes' own.

use crate::explain::reasons;

reasons! {
    PODS in Pod:

    /// The image is none of those that the local home stands in for.
    IMAGE_NOT_SERVED_LOCALLY = "ImageNotServedLocally";
    "The local home starts processes, not images, and krt stands in for no image of this name.";
    "Name the command of the container `runtime` in the annotation `kruntimes.io/local-command` of the Runtime's \
     `spec.template` (a JSON array of strings), or use a cluster.";

    /// The annotation with the command can't be read.
    INVALID_LOCAL_COMMAND = "InvalidLocalCommand";
    "The annotation `kruntimes.io/local-command` is not a JSON array of strings with the program first.";
    "Write it like [\"python3\", \"server.py\"] and apply the Runtime again.";

    /// The pod asks for something that the local home does not have.
    NOT_SERVED_LOCALLY = "NotServedLocally";
    "The pod template asks for something that the local home does not do; the message names it.";
    "Leave it out of the Runtime's `spec.template`, or use a cluster.";

    /// No loopback address has the pod's ports free.
    NO_LOOPBACK_ADDRESS = "NoLoopbackAddress";
    "A pod of the local home needs its ports (9091, 9093, 9094) on a loopback address of its own, and they are taken \
     on every address that was tried: a program listens on one of them on all addresses.";
    "Stop that program or make it listen on 127.0.0.1 only; `krt doctor` says which port it is.";

    /// Somebody killed the processes of the pod.
    PROCESSES_GONE = "PodProcessesGone";
    "The processes of the pod were killed from outside.";
    "Nothing: another pod takes its place. If it repeats, look for what kills them, such as the system's \
     out-of-memory killer.";

    /// An earlier home ran the pod.
    NODE_RESTARTED = "NodeRestarted";
    "The local home that ran the pod has ended.";
    "Nothing: the home that runs now starts another pod in its place.";

    /// Nobody saw how the process ended.
    CONTAINER_STATUS_UNKNOWN = "ContainerStatusUnknown";
    "The container's process is gone and nobody saw how it ended: its home ended first.";
    "Nothing: another pod takes its place.";

    /// The container starts.
    CONTAINER_CREATING = "ContainerCreating";
    "The container's process has not been started yet.";
    "Wait: this takes less than a second in the local home.";

    /// The container can't be made from its spec.
    CREATE_CONTAINER_CONFIG_ERROR = "CreateContainerConfigError";
    "The container's settings can't be made into a process, for example an environment variable with a name that no \
     process can have; the message names it.";
    "Mend that part of the Runtime's `spec.template`.";

    /// The pod's files can't be made.
    CREATE_CONTAINER_ERROR = "CreateContainerError";
    "The local home can't make the pod's directories; the message holds the system's error.";
    "Make room on the disk or mend the permissions of the data directory; `krt doctor` looks at both.";

    /// The program could not be started.
    START_ERROR = "StartError";
    "The container's program could not be started; the message holds the system's error.";
    "See that the program of `kruntimes.io/local-command` exists and may be executed.";

    /// The process failed.
    ERROR = "Error";
    "The container's process has exited with another code than 0, or a signal has ended it.";
    "`kubectl logs POD -c CONTAINER` shows what it wrote. It is started again by itself.";

    /// The process failed again and again.
    CRASH_LOOP_BACK_OFF = "CrashLoopBackOff";
    "The container's process ends soon after each start; the next start waits, longer each time.";
    "`kubectl logs POD -c CONTAINER` shows what it wrote before it ended; mend the Runtime's command or arguments.";

    /// A container is not ready.
    CONTAINERS_NOT_READY = "ContainersNotReady";
    "At least one container of the pod is not ready; the message names them.";
    "Wait if the pod is new; else look at the state of those containers with `kubectl describe pod`.";

    /// A readiness gate is closed.
    READINESS_GATES_NOT_READY = "ReadinessGatesNotReady";
    "All containers are ready, but a condition that the pod's `readinessGates` name is not True; the message names it.";
    "Wait for it: `kruntimes.io/RuntimedReady` becomes True as soon as runtimed and the Runtime Server answer.";

    /// The pod has failed.
    POD_FAILED = "PodFailed";
    "The pod has ended and at least one container has failed.";
    "Nothing: another pod takes its place. `status.reason` and the containers' states say why.";

    /// The pod has ended well.
    POD_COMPLETED = "PodCompleted";
    "All containers of the pod have exited with 0.";
    "Nothing.";

    /// runtimed and its Runtime Server take Runs.
    RUNTIMED_READY = "Ready";
    "runtimed and the Runtime Server of the pod answer: the pod takes Runs.";
    "Nothing.";

    /// runtimed or its Runtime Server take no Runs.
    RUNTIMED_NOT_READY = "NotReady";
    "runtimed says that the pod takes no Runs: its Runtime Server does not answer or is not healthy, or the pod ends; \
     the message says which.";
    "Wait if the pod is new or ends; else read `kubectl logs POD -c runtime` for what the Runtime Server says.";
}

reasons! {
    DEPLOYMENTS in Deployment:

    /// Enough pods are available.
    MINIMUM_REPLICAS_AVAILABLE = "MinimumReplicasAvailable";
    "As many pods of the Runtime are available as a rollout may leave at the least.";
    "Nothing.";

    /// Too few pods are available.
    MINIMUM_REPLICAS_UNAVAILABLE = "MinimumReplicasUnavailable";
    "Fewer pods of the Runtime are available than a rollout may leave at the least.";
    "Wait if they were just created; else `kubectl describe pods -l runtime=NAME` says what keeps them.";

    /// The rollout is complete.
    NEW_REPLICA_SET_AVAILABLE = "NewReplicaSetAvailable";
    "All pods of the current template are available.";
    "Nothing.";

    /// The rollout goes on.
    REPLICA_SET_UPDATED = "ReplicaSetUpdated";
    "Pods of the current template replace those of an older one.";
    "Nothing: it goes on by itself.";

    /// The rollout is stuck.
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded";
    "No pod of the current template became available within `progressDeadlineSeconds`.";
    "`kubectl describe pods -l runtime=NAME` says what keeps them; a change of the Runtime that mends it goes on at \
     once.";
}
