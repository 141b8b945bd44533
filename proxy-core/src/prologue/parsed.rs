//! What a parser says of the bytes that came so far.

/// The answer of a parser that is asked again whenever more bytes have come.
///
/// A parser gets everything since the beginning each time, and decides as early as the bytes allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed<T, E> {
    /// It is still open what this is: more bytes are needed.
    More,
    /// It is whole.
    Done {
        /// What it says.
        value: T,
        /// How many of the bytes are part of it. The rest belongs to what comes next.
        consumed: usize,
    },
    /// This is something else. Nothing of it was consumed.
    Not,
    /// It began like this and broke the rules.
    Bad(E),
}

impl<T, E> Parsed<T, E> {
    /// The same with another value.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Parsed<U, E> {
        match self {
            Self::More => Parsed::More,
            Self::Done { value, consumed } => Parsed::Done {
                value: to(value),
                consumed,
            },
            Self::Not => Parsed::Not,
            Self::Bad(reason) => Parsed::Bad(reason),
        }
    }
}
