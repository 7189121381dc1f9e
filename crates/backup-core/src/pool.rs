//! Scratch memory that is kept for the next who needs it.

use std::sync::{Mutex, PoisonError};

/// The most that a pool keeps. Who gives need not have taken, so that without it a pool would have no bound.
const KEPT: usize = 32;

/// Things that are dear to make and can be used again: as many as were ever in use at once, whatever threads used them. (Kept by
/// each thread, they would be as many as the runtime ever had threads that may block.)
pub(crate) struct Pool<T>(Mutex<Vec<T>>);

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// One that was used before, if there is one.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps one for the next.
    pub(crate) fn give(&self, thing: T) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_bound() {
        let pool = Pool::new();
        for thing in 0..1000 {
            pool.give(thing);
        }
        let mut kept = 0;
        while pool.take().is_some() {
            kept += 1;
        }
        assert_eq!(kept, KEPT);
    }
}
