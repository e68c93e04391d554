//! The Common Expression Language as validation rules use it: programs are parsed once by the `cel` crate and
//! evaluated here, on borrowed JSON and with a budget, so that no value and no rule can hang or crash the caller.
