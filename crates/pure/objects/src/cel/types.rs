//! Static types of expressions.
use super::decl::Decl;
use std::fmt;
use std::sync::Arc;

/// What the checker knows about an expression.
#[derive(Clone, Debug)]
pub(super) enum Ty {
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Str,
    Bytes,
    Duration,
    Timestamp,
    Type,
    List(Box<Ty>),
    Map(Box<Ty>, Box<Ty>),
    Object(Arc<Decl>),
    Optional(Box<Ty>),
}

impl Ty {
    pub(super) fn of(decl: &Arc<Decl>) -> Self {
        match &**decl {
            Decl::Dyn | Decl::Opaque => Self::Dyn,
            Decl::Bool => Self::Bool,
            Decl::Int => Self::Int,
            Decl::Double => Self::Double,
            Decl::Str => Self::Str,
            Decl::Bytes => Self::Bytes,
            Decl::Duration => Self::Duration,
            Decl::Date | Decl::DateTime => Self::Timestamp,
            Decl::List(items, _) => Self::List(Box::new(Self::of(items))),
            Decl::Map(values) => Self::Map(Box::new(Self::Str), Box::new(Self::of(values))),
            Decl::Object(_) => Self::Object(Arc::clone(decl)),
        }
    }

    pub(super) fn list(item: Self) -> Self {
        Self::List(Box::new(item))
    }

    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double)
    }

    /// Whether a value of one type may stand where the other is wanted.
    pub(super) fn fits(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (
                Self::Null,
                Self::Object(_) | Self::Duration | Self::Timestamp | Self::Optional(_),
            )
            | (
                Self::Object(_) | Self::Duration | Self::Timestamp | Self::Optional(_),
                Self::Null,
            ) => true,
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a.fits(b),
            (Self::Map(ak, av), Self::Map(bk, bv)) => ak.fits(bk) && av.fits(bv),
            (Self::Object(a), Self::Object(b)) => Arc::ptr_eq(a, b) || a == b,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other) && self.is_simple(),
        }
    }

    fn is_simple(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(..) | Self::Object(_) | Self::Optional(_))
    }

    /// The type of both branches of a conditional, or of all items of a literal.
    pub(super) fn join(self, other: &Self) -> Self {
        if matches!(self, Self::Null) {
            return other.clone();
        }
        if self.fits(other) && !other.is_dyn() { self } else { Self::Dyn }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::Str => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Type => f.write_str("type"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Object(_) => f.write_str("object"),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
        }
    }
}
