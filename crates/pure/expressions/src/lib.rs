//! The expression language of Workflows: `${{ }}` in texts, conditions, matrices, and scripts that values reach safely.
//!
//! Parsing checks all that can be known before a Workflow runs; evaluating asks a [`Context`] for what only the run
//! knows. Whatever the text and the values are, both end soon, in little memory and on a small stack: [`limits`].

mod budget;
mod call;
mod context;
mod error;
mod evaluate;
mod fold;
mod functions;
pub mod github;
mod lexer;
pub mod limits;
mod matrix;
mod nearest;
mod number;
mod parser;
mod references;
mod script;
mod template;
mod tree;
mod value;

pub use budget::Budget;
pub use context::{Context, StatusFunction, descend};
pub use error::{ExpressionError, Kind, Position, Problem};
pub use matrix::{Leg, Matrix, MatrixError, MatrixProblem};
pub use parser::CONTEXTS;
pub use references::Reference;
pub use script::{Interpreter, Place, Script};
pub use template::{Expression, Template};
pub use value::is_true;
