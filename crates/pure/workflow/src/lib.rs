//! Every decision about a Workflow, as functions of plain data.
//!
//! [`Plan`] is what a spec means; [`Execution`] takes in what happens to the children and says what to create, to cancel
//! and to write. No IO, no clock, no randomness: `now` is an argument.

mod child;
mod execution;
pub mod groups;
pub mod keep;
pub mod names;
mod plan;
mod script;
mod values;

pub use child::{
    Child, LABEL_ATTEMPT, LABEL_JOB, LABEL_LEG, LABEL_STEP, LABEL_WORKFLOW, Use, use_template,
};
pub use execution::{
    After, Answer, Creation, Effect, End, Execution, How, Identity, Kind, NewChild, Seen, Stop,
    invalid, superseded, template,
};
pub use plan::{Invalid, JobPlan, Plan};
