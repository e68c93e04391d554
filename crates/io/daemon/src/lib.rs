//! What every long-lived role needs: shutdown, logs, health and metrics, the lifeline of the local home, the removal of what Runs leave.

pub mod boottime;
pub mod crash;
pub mod health;
mod http;
pub mod lifeline;
pub mod logs;
pub mod metrics;
mod shutdown;
mod spares;
mod trees;
mod watched;

pub use shutdown::{Shutdown, Trigger};
pub use spares::{Layout, Spares};
pub use trees::remove_tree;
pub use watched::watched;
