//! Workflows: what their users do, the controllers that carry them out, and what must be true of them.

mod draw;
mod driver;
mod end;
mod expected;
mod promises;
mod script;
mod strike;

pub(crate) use draw::{Do, draw, has, op};
pub(crate) use driver::Driver;
pub(crate) use end::{check, is_settled};
pub(crate) use promises::{Flows, on_run, on_workflow};
pub(crate) use script::Script;
pub(crate) use strike::strike;
