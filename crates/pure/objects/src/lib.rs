//! The meaning of Kubernetes API objects, without IO.
//!
//! Keys, selectors, metadata rules, deletion and garbage collection, patches, tables, watch windows and discovery, exactly
//! as kube-apiserver has them. Clocks and random values are arguments; HTTP and storage stand in `kruntimes-apiserver`.

pub mod builtin;
mod cascade;
pub mod cel;
pub mod columns;
mod containers;
pub mod crd;
pub mod create;
pub mod delete;
pub mod discovery;
pub mod fields;
pub mod json;
pub mod jsonpatch;
pub mod jsonpath;
mod kinds;
pub mod labels;
pub mod meta;
pub mod names;
pub mod openapi;
pub mod openapi_v2;
pub mod patch;
pub mod protobuf;
pub mod registry;
pub mod resource;
pub mod schema;
pub mod state;
pub mod status;
pub mod stored;
pub mod table;
pub mod update;
pub mod window;
pub mod yaml;
