//! The table: every field of a pod template that a pool carries, and what is said of the others.

use super::Shape::{self, And, Carried, Each, Empty, False, Fields, First, If, Never, Only, True};
use super::checks;

const UNKNOWN: &str = "a Runtime does not carry this field; leave it out";
const WINDOWS: &str = "the pods of a Runtime run on Linux; leave it out";
const HOST: &str = "a Run must not reach the node that it runs on; leave it out";
const RESTRICTED: &str =
    "Pod Security restricted, which the pods of a Runtime pass, does not allow it; leave it out";

pub(super) static TEMPLATE: Shape = Fields(&[("metadata", METADATA), ("spec", POD)], UNKNOWN);

const METADATA: Shape = Fields(
    &[("labels", If(checks::labels)), ("annotations", If(checks::annotations))],
    "a pod template has labels and annotations only; leave it out",
);

const POD: Shape = Fields(
    &[
        (
            "activeDeadlineSeconds",
            Never("a pod of a pool has no deadline; limit Runs by their spec.timeoutSeconds"),
        ),
        ("affinity", Carried),
        (
            "automountServiceAccountToken",
            False("no container but runtimed gets a token of the pod; leave it out"),
        ),
        ("containers", And(checks::containers, &First(&SERVER, &EXTRA))),
        ("dnsConfig", Carried),
        ("dnsPolicy", Carried),
        ("enableServiceLinks", Carried),
        ("ephemeralContainers", Empty("a Runtime has no ephemeral containers; leave them out")),
        ("hostAliases", Carried),
        ("hostIPC", False(HOST)),
        ("hostNetwork", False(HOST)),
        ("hostPID", False(HOST)),
        ("hostUsers", Carried),
        ("hostname", Carried),
        ("imagePullSecrets", Carried),
        ("initContainers", Each(&INIT)),
        (
            "nodeName",
            Never("the cluster's scheduler places the pods; use nodeSelector or affinity"),
        ),
        ("nodeSelector", Carried),
        ("os", Fields(&[("name", Only(&["linux"], WINDOWS))], UNKNOWN)),
        ("overhead", Never("the RuntimeClass says it; use runtimeClassName")),
        ("preemptionPolicy", Carried),
        ("priority", Never("the PriorityClass says it; use priorityClassName")),
        ("priorityClassName", Carried),
        ("readinessGates", Carried),
        ("resourceClaims", Carried),
        ("resources", Carried),
        (
            "restartPolicy",
            Only(&["Always"], "the pods of a pool are kept; write Always or leave it out"),
        ),
        ("runtimeClassName", Carried),
        ("schedulerName", Carried),
        ("schedulingGates", Carried),
        ("securityContext", POD_SECURITY),
        ("serviceAccount", Never("it has another name by now; use serviceAccountName")),
        ("serviceAccountName", Carried),
        ("setHostnameAsFQDN", Carried),
        (
            "shareProcessNamespace",
            False("a Run could read the files and the memory of runtimed; leave it out"),
        ),
        ("subdomain", Carried),
        (
            "terminationGracePeriodSeconds",
            Never(
                "a pod that ends waits for its Runs; use spec.drainTimeoutSeconds of the Runtime",
            ),
        ),
        ("tolerations", Carried),
        ("topologySpreadConstraints", Carried),
        ("volumes", Each(&VOLUME)),
    ],
    UNKNOWN,
);

const USER: Shape = If(checks::user);
const NON_ROOT: Shape = True("no container of a Runtime runs as root; leave it out or write true");
const SECCOMP: Shape = Fields(
    &[("localhostProfile", Carried), ("type", Only(&["RuntimeDefault", "Localhost"], RESTRICTED))],
    UNKNOWN,
);
const APP_ARMOR: Shape = SECCOMP;
const SE_LINUX: Shape = Fields(
    &[
        ("level", Carried),
        (
            "type",
            Only(
                &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"],
                RESTRICTED,
            ),
        ),
        ("role", Empty(RESTRICTED)),
        ("user", Empty(RESTRICTED)),
    ],
    UNKNOWN,
);

const POD_SECURITY: Shape = Fields(
    &[
        ("appArmorProfile", APP_ARMOR),
        ("fsGroup", Carried),
        ("fsGroupChangePolicy", Carried),
        ("runAsGroup", Carried),
        ("runAsNonRoot", NON_ROOT),
        ("runAsUser", USER),
        ("seLinuxChangePolicy", Carried),
        ("seLinuxOptions", SE_LINUX),
        ("seccompProfile", SECCOMP),
        ("supplementalGroups", Carried),
        ("supplementalGroupsPolicy", Carried),
        ("sysctls", Empty("a Runtime sets no kernel parameters; leave them out")),
        ("windowsOptions", Never(WINDOWS)),
    ],
    UNKNOWN,
);

const SECURITY: Shape = Fields(
    &[
        ("allowPrivilegeEscalation", False(RESTRICTED)),
        ("appArmorProfile", APP_ARMOR),
        ("capabilities", Fields(&[("add", Empty(RESTRICTED)), ("drop", Carried)], UNKNOWN)),
        ("privileged", False(RESTRICTED)),
        ("procMount", Only(&["Default"], RESTRICTED)),
        ("readOnlyRootFilesystem", Carried),
        ("runAsGroup", Carried),
        ("runAsNonRoot", NON_ROOT),
        ("runAsUser", USER),
        ("seLinuxOptions", SE_LINUX),
        ("seccompProfile", SECCOMP),
        ("windowsOptions", Never(WINDOWS)),
    ],
    UNKNOWN,
);

/// What is the same for each kind of container; a macro, since a constant list can't be a part of another.
macro_rules! container {
    ($($own:tt)*) => {
        Fields(
            &[
                ("args", Carried),
                ("command", Carried),
                ("env", Each(&Fields(
                    &[("name", Carried), ("value", Carried), ("valueFrom", VALUE_FROM)],
                    UNKNOWN,
                ))),
                ("envFrom", Each(&Fields(
                    &[("configMapRef", Carried), ("prefix", Carried), ("secretRef", If(checks::secret))],
                    UNKNOWN,
                ))),
                ("image", Carried),
                ("imagePullPolicy", Carried),
                ("readinessProbe", PROBE),
                ("resizePolicy", Carried),
                ("resources", Carried),
                ("securityContext", SECURITY),
                ("startupProbe", PROBE),
                ("stdin", Carried),
                ("stdinOnce", Carried),
                ("terminationMessagePath", Carried),
                ("terminationMessagePolicy", Carried),
                ("tty", Carried),
                ("volumeDevices", Empty("a Runtime has no raw block devices; mount the volume")),
                ("workingDir", Carried),
                $($own)*
            ],
            UNKNOWN,
        )
    };
}

const RESTARTS: &str = "the containers of a pool are kept; leave it out";

static SERVER: Shape = container!(
    (
        "lifecycle",
        Fields(
            &[
                ("postStart", HANDLER),
                ("preStop", Never("kruntimes waits here for the pod's Runs to end; leave it out")),
                ("stopSignal", Carried),
            ],
            UNKNOWN,
        )
    ),
    (
        "livenessProbe",
        Never("kruntimes asks /livez/runtime of runtimed; use readinessProbe or startupProbe"),
    ),
    ("name", Only(&["runtime"], "the first container is the Runtime Server: name it runtime")),
    ("ports", Each(&SERVER_PORT)),
    ("restartPolicy", Only(&["Always"], RESTARTS)),
    ("volumeMounts", Each(&SERVER_MOUNT)),
);

static EXTRA: Shape = container!(
    ("lifecycle", LIFECYCLE),
    ("livenessProbe", PROBE),
    ("name", If(checks::container_name)),
    ("ports", Each(&PORT)),
    ("restartPolicy", Only(&["Always"], RESTARTS)),
    ("volumeMounts", Each(&MOUNT)),
);

static INIT: Shape = container!(
    ("lifecycle", LIFECYCLE),
    ("livenessProbe", PROBE),
    ("name", If(checks::container_name)),
    ("ports", Each(&PORT)),
    (
        "restartPolicy",
        Only(&["Always"], "an init container ends, or is a sidecar: write Always or leave it out")
    ),
    ("volumeMounts", Each(&MOUNT)),
);

const VALUE_FROM: Shape = Fields(
    &[
        ("configMapKeyRef", Carried),
        ("fieldRef", FIELD_REF),
        ("fileKeyRef", Carried),
        ("resourceFieldRef", Carried),
        ("secretKeyRef", If(checks::secret)),
    ],
    UNKNOWN,
);
const FIELD_REF: Shape =
    Fields(&[("apiVersion", Carried), ("fieldPath", If(checks::field_path))], UNKNOWN);

const ADDRESS: &str = "the kubelet would ask another machine; leave it out";
const HTTP_GET: Shape = Fields(
    &[
        ("host", Empty(ADDRESS)),
        ("httpHeaders", Carried),
        ("path", Carried),
        ("port", Carried),
        ("scheme", Carried),
    ],
    UNKNOWN,
);
const TCP_SOCKET: Shape = Fields(&[("host", Empty(ADDRESS)), ("port", Carried)], UNKNOWN);
const HANDLER: Shape = Fields(
    &[("exec", Carried), ("httpGet", HTTP_GET), ("sleep", Carried), ("tcpSocket", TCP_SOCKET)],
    UNKNOWN,
);
const LIFECYCLE: Shape =
    Fields(&[("postStart", HANDLER), ("preStop", HANDLER), ("stopSignal", Carried)], UNKNOWN);
const PROBE: Shape = Fields(
    &[
        ("exec", Carried),
        ("failureThreshold", Carried),
        ("grpc", Carried),
        ("httpGet", HTTP_GET),
        ("initialDelaySeconds", Carried),
        ("periodSeconds", Carried),
        ("successThreshold", Carried),
        ("tcpSocket", TCP_SOCKET),
        ("terminationGracePeriodSeconds", Carried),
        ("timeoutSeconds", Carried),
    ],
    UNKNOWN,
);

const HOST_PORT: Shape = If(checks::host_port);
const PORT_FIELDS: Shape = Fields(
    &[
        ("containerPort", Carried),
        ("hostIP", Empty(HOST)),
        ("hostPort", HOST_PORT),
        ("name", Carried),
        ("protocol", Carried),
    ],
    UNKNOWN,
);
static PORT: Shape = And(checks::port, &PORT_FIELDS);
static SERVER_PORT: Shape = And(checks::server_port, &PORT_FIELDS);

const MOUNT_FIELDS: Shape = Fields(
    &[
        ("mountPath", If(checks::path)),
        (
            "mountPropagation",
            Only(
                &["None", "HostToContainer"],
                "a Runtime mounts nothing on its node; leave it out",
            ),
        ),
        ("name", If(checks::mounted_volume)),
        ("readOnly", Carried),
        ("recursiveReadOnly", Carried),
        ("subPath", Carried),
        ("subPathExpr", Carried),
    ],
    UNKNOWN,
);
static MOUNT: Shape = MOUNT_FIELDS;
static SERVER_MOUNT: Shape = And(checks::server_mount, &MOUNT_FIELDS);

const TOKENS: &str = "no container but runtimed gets a credential of the pod; leave it out";
const DOWNWARD_ITEM: Shape = Fields(
    &[("fieldRef", FIELD_REF), ("mode", Carried), ("path", Carried), ("resourceFieldRef", Carried)],
    UNKNOWN,
);
const DOWNWARD: Shape =
    Fields(&[("defaultMode", Carried), ("items", Each(&DOWNWARD_ITEM))], UNKNOWN);

static VOLUME: Shape = Fields(
    &[
        ("configMap", Carried),
        ("csi", Carried),
        ("downwardAPI", DOWNWARD),
        ("emptyDir", Carried),
        ("ephemeral", Carried),
        ("hostPath", Never(HOST)),
        ("name", If(checks::volume_name)),
        ("persistentVolumeClaim", Carried),
        (
            "projected",
            Fields(
                &[
                    ("defaultMode", Carried),
                    (
                        "sources",
                        Each(&Fields(
                            &[
                                ("clusterTrustBundle", Carried),
                                ("configMap", Carried),
                                ("downwardAPI", DOWNWARD),
                                ("podCertificate", Never(TOKENS)),
                                ("secret", If(checks::secret)),
                                ("serviceAccountToken", Never(TOKENS)),
                            ],
                            UNKNOWN,
                        )),
                    ),
                ],
                UNKNOWN,
            ),
        ),
        ("secret", If(checks::secret)),
    ],
    "the volumes of a Runtime are configMap, csi, downwardAPI, emptyDir, ephemeral, persistentVolumeClaim, projected and \
     secret; use one of these",
);
