//! What holds in both homes: these tests run on the shared local home, and on a cluster when its kubeconfig is named.

mod bad_input;
mod runs;
mod show;
