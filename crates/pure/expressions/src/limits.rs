//! What bounds an expression, its evaluation and its result.

/// Characters of a text with expressions: as many as a script may have.
pub const TEMPLATE_CHARS: usize = 262_144;
/// Bytes between `${{` and `}}`.
pub const EXPRESSION_BYTES: usize = 21_000;
/// Expressions in one text.
pub const EXPRESSIONS: usize = 256;
/// Parentheses, calls, indexes and operators within each other.
pub const DEPTH: usize = 50;
/// Nodes evaluated, elements visited and values compared in the evaluation of one text.
pub const STEPS: usize = 100_000;
/// Bytes of strings and values that the evaluation of one text may build, all in all.
pub const BUILT_BYTES: usize = 1 << 20;
/// Values in a JSON text that `fromJSON` reads.
pub const JSON_VALUES: usize = 20_000;
/// Bytes that a step of the evaluation may compare.
pub(crate) const BYTES_OF_A_STEP: usize = 64;
/// Names of a matrix whose values are combined.
pub const AXES: usize = 32;
/// Lists and objects within each other in a matrix.
pub const MATRIX_DEPTH: usize = 16;
/// Bytes of all values of all legs of a matrix together.
pub const LEGS_BYTES: usize = 256 << 10;
/// Values of `include` and `exclude`, times the combinations that each is compared with.
pub const COMPARISONS: usize = 4 << 20;
/// Characters of a leg's name: as many as a label may have.
pub const LEG_NAME_CHARS: usize = 63;
