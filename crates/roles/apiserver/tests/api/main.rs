//! The API server in process, through its tower service: one file a subject.
mod client;
mod deletion;
mod objects;
mod policy;
mod validation;
mod watches;
