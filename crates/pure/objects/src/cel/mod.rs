//! The Common Expression Language as validation rules use it: programs are parsed once by the `cel` crate, checked
//! against the declared types and evaluated here, on borrowed JSON and with a budget, so that no value and no rule can
//! hang or crash the caller.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "values and types are dynamic: whatever is not named has no such operation"
)]

mod base64;
mod calls;
mod decl;
mod equal;
mod escape;
mod eval;
mod ir;
mod lower;
mod program;
pub mod re2;
mod signature;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod types;
mod value;

pub use base64::decode as decode_base64;
pub use decl::{Decl, ListKind};
pub use escape::{escape, unescape};
pub use program::{Failure, Inputs, Program, Wanted};
pub use time::{parse_date, parse_duration, parse_spoken_duration, parse_timestamp};
