//! The API server in process, through its tower service: one file a subject.
mod client;
mod deletion;
mod objects;
mod validation;
mod watches;
