//! Our Kubernetes API server: the subset of design.md §6, with kube-apiserver's meaning.
//!
//! `ApiServer` holds the objects (durable with a data directory, in memory without); `ApiService` answers requests as one
//! user, in process; `serve_tls` puts it on a socket with bearer tokens. What objects mean stands in `kruntimes-objects`.

mod body;
mod call;
mod disk;
mod fault;
#[cfg(test)]
mod faulty;
mod hub;
mod identity;
mod info;
mod kubeconfig;
mod logs;
mod negotiate;
mod page;
mod parse;
mod patient;
mod policy;
mod queue;
mod read;
mod remove;
mod respond;
mod server;
mod service;
mod shared;
mod tls;
mod user;
mod watch;
mod write;
mod writer;

pub use body::Body;
pub use disk::DiskError;
pub use identity::{Identity, IdentityError};
pub use kubeconfig::kubeconfig;
pub use logs::{LogRequest, LogStream, PodLogs};
pub use server::{ApiServer, OpenError, Options};
pub use service::ApiService;
pub use tls::{Patience, ServeError, TlsConfig, serve_tls, serve_tls_patiently};
pub use user::{POD_NAME, POD_UID, User, UserKind};
