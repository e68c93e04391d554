//! Which pending Run goes to which pod: pools, load and the queue of a scheduler.
//!
//! Invariants: a placement is *assumed* from the decision on, so no pod is over its capacity; a decision costs the
//! logarithm of backlog and pods; Runs of one pool are placed in the order in which they were seen.

mod board;
mod pool;
mod view;

pub use board::{Board, Decision};
pub use view::{PodHealth, PodRef, PodView, PoolKey, RunKey, Waiting};

#[cfg(test)]
mod tests;
