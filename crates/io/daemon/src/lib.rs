//! What every long-lived role needs: shutdown, logs, the lifeline of the local home.

pub mod health;
pub mod lifeline;
pub mod logs;
mod shutdown;

pub use shutdown::{Shutdown, Trigger};
