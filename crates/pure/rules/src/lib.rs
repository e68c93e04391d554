//! Every decision of kruntimes, as functions of plain data.
//!
//! No IO, no clock, no randomness: `now`, ids and random numbers are arguments.

pub mod admission;
pub mod artifact;
pub mod capacity;
pub mod fence;
pub mod leader;
pub mod mutant;
pub mod network;
pub mod observed;
pub mod placement;
pub mod pods;
pub mod pool;
#[cfg(test)]
mod random;
pub mod reaper;
pub mod retention;
pub mod run;
pub mod source;
