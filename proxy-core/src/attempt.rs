//! What a system call that doesn't wait found out.

/// What one non-blocking attempt found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt<T> {
    /// It worked, and trying again may work at once.
    Done(T),
    /// It worked and left no bytes, or no room: a short read, a short write. The scheduler may forget the readiness
    /// and save the call that would only say so. What it must not forget is that the stream has ended or failed:
    /// that may have been known before the last bytes were read, and won't be said again.
    Drained(T),
    /// Nothing could be done now.
    Blocked,
}
