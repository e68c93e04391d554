//! What every long-lived role needs: shutdown, logs, the lifeline of the local home, the removal of what Runs leave.

pub mod health;
pub mod lifeline;
pub mod logs;
mod shutdown;
mod trees;

pub use shutdown::{Shutdown, Trigger};
pub use trees::remove_tree;
