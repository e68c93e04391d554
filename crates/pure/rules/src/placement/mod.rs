//! Which pending Run goes to which pod: pools, load and the queue of a scheduler.
//!
//! Invariants: a placement is *assumed* from the decision on, so no pod is over its capacity in any resource; a decision
//! costs the logarithm of backlog and pods; of the Runs of one pool the oldest that fits is placed first (ADR 0002).

mod answers;
mod board;
mod decision;
mod pods;
mod pool;
mod shared;
mod view;

pub use board::Board;
pub use decision::Decision;
pub use pool::unschedulable;
pub use view::{PodHealth, PodRef, PodView, PoolKey, RunKey, RuntimeView, Waiting};

#[cfg(test)]
mod answers_tests;
#[cfg(test)]
mod board_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod shapes_tests;
#[cfg(test)]
mod shared_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod view_tests;
