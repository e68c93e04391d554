//! The deciding code of scheduler, controller, runtimed and API server in one thread on virtual time, under every fault.
//!
//! Nodes are thin actors around what is shipped: `rules::{placement, leader, reaper, retention, fence, run}` and
//! `objects`. A world keeps the truth of what executes; after each step the promises are held against it. The same seed
//! gives the same world.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each node picks what is addressed to it out of all that can happen"
)]
#![expect(clippy::needless_pass_by_value, reason = "what happens to a node is handed over to it")]

mod client;
mod clock;
mod cluster;
mod controller;
mod core;
mod count;
mod faults;
mod finish;
mod leader;
mod message;
mod net;
mod oracle;
mod pod;
mod points;
mod random;
mod runtimed;
mod scheduler;
mod schema;
mod server;
mod sources;
mod status;
mod store;
mod strike;
mod trace;
mod watch;
mod workflows;
mod world;

pub use count::Counts;
pub use faults::{Fault, Faults};
pub use oracle::Violation;
pub use points::{Effect, Side};
pub use trace::Detail;
pub use world::{Report, run};
