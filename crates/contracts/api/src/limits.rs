//! Limits of the API, each in the unit of its name. The CRDs, the CLI and the rules take them from here.

/// `spec.args`: items.
pub const ARGS_ITEMS: u32 = 256;
/// One of `spec.args`: characters.
pub const ARG_CHARS: u32 = 8192;
/// All of `spec.args`, and all names and values of `spec.env`: characters. Leaves room below etcd's 1.5 MiB.
pub const TEXT_TOTAL_CHARS: u32 = 131_072;
/// `spec.env`: items.
pub const ENV_ITEMS: u32 = 256;
/// Characters of a variable's name.
pub const ENV_NAME_CHARS: u32 = 4096;
/// One variable of `spec.env` with a value from a Secret or ConfigMap: bytes of name and value. Linux takes 131,072 of
/// `name=value` with its closing zero (`MAX_ARG_STRLEN`).
pub const ENV_VARIABLE_BYTES: usize = 131_070;
/// `spec.env[].valueFrom.fieldRef.fieldPath`: characters of `metadata.labels['<the longest label key>']`.
pub const FIELD_PATH_CHARS: u32 = 336;
/// Name of a Secret or ConfigMap, and a key of one: characters.
pub const OBJECT_NAME_CHARS: u32 = 253;
/// `spec.allowedSecrets` and `spec.allowedConfigMaps` of a Runtime: items each. Every one is a volume of its pods.
pub const ALLOWED_ITEMS: u32 = 64;
/// `spec.egress` of a Runtime: peers.
pub const EGRESS_ITEMS: u32 = 64;
/// `spec.drainTimeoutSeconds` of a Runtime, unless it says another.
pub const DRAIN_SECONDS: i64 = 300;
/// `spec.drainTimeoutSeconds` at most: a day.
pub const DRAIN_SECONDS_MAX: i64 = 86_400;
/// `spec.entrypoint`: characters.
pub const ENTRYPOINT_CHARS: u32 = 4096;
/// `spec.handler`: characters.
pub const HANDLER_CHARS: u32 = 512;
/// `spec.source.inline`: characters.
pub const INLINE_CHARS: u32 = 262_144;
/// `spec.source.repoURL`: characters.
pub const REPO_URL_CHARS: u32 = 2048;
/// `spec.source.commitSHA`: characters.
pub const COMMIT_SHA_CHARS: u32 = 256;
/// A Git source, its files and its history together: bytes.
pub const SOURCE_BYTES: u64 = 100 << 20;
/// Files of a Git source.
pub const SOURCE_FILES: u64 = 100_000;
/// Directories that a file of a Git source may stand in.
pub const SOURCE_DEPTH: usize = 64;
/// How long fetching a Git source may take: seconds.
pub const SOURCE_SECONDS: u64 = 30;
/// `spec.workspaceGroup` of a Run: characters.
pub const WORKSPACE_GROUP_CHARS: u32 = 253;
/// `spec.timeoutSeconds`: a year.
pub const TIMEOUT_SECONDS: i64 = 31_536_000;
/// `spec.retryPolicy.maxAttempts`.
pub const MAX_ATTEMPTS: i32 = 100;
/// `status.message`: characters.
pub const MESSAGE_CHARS: u32 = 4096;
/// What runtimed keeps of a message: bytes.
pub const MESSAGE_BYTES: usize = 1024;
/// `status.outputs`: names.
pub const OUTPUTS_ITEMS: u32 = 64;
/// Name of an output: bytes.
pub const OUTPUT_NAME_BYTES: usize = 128;
/// Value of an output: bytes.
pub const OUTPUT_VALUE_BYTES: usize = 8192;
/// All names and values of `status.outputs`: bytes.
pub const OUTPUTS_BYTES: usize = 65_536;
/// The file at `$KRUNTIME_OUTPUTS`, with comments and what later lines replace: bytes.
pub const OUTPUTS_FILE_BYTES: u64 = 262_144;
/// `status.artifactRefs`: artifacts of a Run.
pub const ARTIFACTS_ITEMS: u32 = 32;
/// Name of an artifact: bytes.
pub const ARTIFACT_NAME_BYTES: usize = 255;
/// One artifact, before and after it is packed: bytes.
pub const ARTIFACT_BYTES: u64 = 1 << 30;
/// All artifacts of a Run: bytes.
pub const ARTIFACTS_BYTES: u64 = 10 << 30;
/// Files and directories in all artifacts of a Run.
pub const ARTIFACT_FILES: usize = 50_000;
/// Directories that a file of an artifact may stand in.
pub const ARTIFACT_DEPTH: usize = 64;
/// `spec.inputs`: artifacts of earlier Runs.
pub const INPUTS_ITEMS: u32 = 32;
/// `spec.inputs[].path`: characters.
pub const INPUT_PATH_CHARS: u32 = 1024;
/// `status.attempts`: the last attempts that are kept.
pub const ATTEMPT_RECORDS: usize = 10;
/// Slots of a pod whose Runtime names no capacity.
pub const DEFAULT_CAPACITY_RUNS: u32 = 2;
/// `runs` of a pod, and of a Run's request.
pub const CAPACITY_RUNS: u32 = 10_000;
/// Amount of any other resource, of a pod and of a Run's request.
pub const RESOURCE_AMOUNT: u64 = 1_000_000_000_000_000;
/// Different resources of a pod, and of a Run's request.
pub const RESOURCE_ITEMS: u32 = 16;
/// Name of a resource: characters. It is part of the name of an annotation (63) after `capacity.`.
pub const RESOURCE_NAME_CHARS: u32 = 54;
/// Name of a Runtime: characters. `app=kruntimes-<name>` must be a label value (63).
pub const RUNTIME_NAME_CHARS: u32 = 53;
/// Labels, and annotations, of a Runtime's template.
pub const TEMPLATE_KEYS: u32 = 64;
/// Characters of a label's value.
pub const LABEL_CHARS: u32 = 63;
/// A pod that could not renew its Lease for so long kills what executes: seconds.
pub const FENCE_AFTER_SECONDS: u64 = 30;
/// `--fence-after-seconds` at least: a few renewals must fit.
pub const FENCE_AFTER_SECONDS_MIN: u64 = 5;
/// A pod whose Lease stood unchanged for so long loses its Runs: seconds.
pub const REAP_AFTER_SECONDS: u64 = 60;
/// How much longer than a pod waits the controller waits at least: the time to kill, and clocks that differ.
pub const REAP_BEYOND_FENCE_SECONDS: u64 = 8;
/// `--fence-after-seconds` and `--reap-after-seconds` at most: a day.
pub const LOSS_SECONDS_MAX: u64 = 86_400;

/// Processes that a limit of a Run may allow.
pub const RUN_PROCESSES: i64 = 1_000_000;
/// `spec.artifactStore.s3.prefix`: characters. A key has at most 1,024 bytes, of which a namespace, a UID and a name take 400.
pub const S3_PREFIX_CHARS: u32 = 512;
/// `spec.artifactStore.s3.uploadPartSize`: bytes that S3 takes at least.
pub const S3_PART_BYTES_MIN: i64 = 5 << 20;
/// `spec.artifactStore.s3.uploadPartSize`: bytes. A pod holds parts in memory.
pub const S3_PART_BYTES_MAX: i64 = 32 << 20;
/// `spec.artifactStore.s3.uploadConcurrency`.
pub const S3_CONCURRENCY_MAX: i32 = 16;
/// Jobs of a Workflow.
pub const JOBS: u32 = 64;
/// Steps of a job.
pub const STEPS: u32 = 128;
/// Legs of all jobs of a Workflow, where a job without a matrix is one.
pub const LEGS: u32 = 1024;
/// Steps of all legs of a Workflow: its status must stay below etcd's 1.5 MiB, with its spec.
pub const LEG_STEPS: usize = 2048;
/// All outputs of steps that the status of a Workflow holds: bytes as JSON.
pub const WORKFLOW_OUTPUTS_BYTES: usize = 98_304;
/// All messages of steps and legs that the status of a Workflow holds: bytes as JSON. Those beyond stand in the Runs alone.
pub const WORKFLOW_MESSAGES_BYTES: usize = 49_152;
/// The spec of a Workflow as JSON: bytes. Its status comes on top of it.
pub const WORKFLOW_SPEC_BYTES: usize = 786_432;
/// Inputs of a Workflow, and options of a choice.
pub const INPUTS: u32 = 64;
/// `spec.inputs.NAME.description`: characters.
pub const DESCRIPTION_CHARS: u32 = 1024;
/// An `if` of a Workflow: characters.
pub const EXPRESSION_CHARS: u32 = 8192;
/// Name of a Workflow: characters. It is a label of its Runs.
pub const WORKFLOW_NAME_CHARS: u32 = 63;
/// Workflows that use each other, the first one included.
pub const WORKFLOW_DEPTH: u32 = 8;
/// Workflows that are used at one depth below one that nobody uses.
pub const WORKFLOWS_OF_A_DEPTH: usize = 1024;
