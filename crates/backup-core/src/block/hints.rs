//! What a table has shown to be worth while.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many blocks a column stays a string for once a value did not parse as a number.
const NUMBER_PAUSE: u8 = 15;
/// After how many blocks rows and columns are compared again: at first, and once the answer was the same twice.
const FIRST_PAUSE: u32 = 32;
const LATER_PAUSE: u32 = 64;

/// What the blocks of one table have shown so far: whether regrouping by column pays, and which columns are
/// worth trying as numbers. Shared by all who encode rows of that table; it changes sizes, never content.
#[derive(Debug, Default)]
pub struct TableHints(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Which form the last comparison chose.
    form: Form,
    /// Blocks until the next comparison, and how many there were between the last two.
    left: u32,
    pause: u32,
    /// For how many blocks each column is not tried as a number.
    number_pauses: Vec<u8>,
}

/// How rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Form {
    #[default]
    Columns,
    Rows,
}

impl TableHints {
    /// Regroups by column without ever comparing, for measurements and tests.
    pub fn always_columns() -> Self {
        Self(Mutex::new(State { left: u32::MAX, ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The form for the next block, or `None` when both are to be compared.
    pub(super) fn next_form(&self) -> Option<Form> {
        let mut state = self.state();
        if state.left == 0 {
            return None;
        }
        state.left -= 1;
        Some(state.form)
    }

    /// Keeps the result of a comparison.
    pub(super) fn compared(&self, best: Form) {
        let mut state = self.state();
        state.pause = if state.pause > 0 && state.form == best { LATER_PAUSE } else { FIRST_PAUSE };
        state.left = state.pause - 1;
        state.form = best;
    }

    /// Takes a copy of the pauses of `columns` columns.
    pub(super) fn read_pauses(&self, columns: usize, pauses: &mut Vec<u8>) {
        pauses.clear();
        pauses.extend_from_slice(&self.state().number_pauses);
        pauses.resize(columns, 0);
    }

    /// Keeps the pauses of a block that was encoded.
    pub(super) fn write_pauses(&self, pauses: &[u8]) {
        let kept = &mut self.state().number_pauses;
        kept.clear();
        kept.extend_from_slice(pauses);
    }
}

/// Whether to try a column as numbers: counts its pause down.
pub(super) fn try_number(pause: &mut u8) -> bool {
    let try_it = *pause == 0;
    *pause = pause.saturating_sub(1);
    try_it
}

/// Says that a column did not parse.
pub(super) fn pause_number(pause: &mut u8) {
    *pause = NUMBER_PAUSE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_are_compared_first_and_then_every_32_or_64_blocks() {
        let hints = TableHints::default();
        let mut compared = Vec::new();
        for block in 0..200 {
            if hints.next_form().is_none() {
                compared.push(block);
                hints.compared(Form::Rows);
            }
        }
        assert_eq!(compared, [0, 32, 96, 160]);
        assert_eq!(hints.next_form(), Some(Form::Rows));
    }

    #[test]
    fn a_column_that_did_not_parse_is_left_alone_for_15_blocks() {
        let mut pause = 0;
        assert!(try_number(&mut pause));
        pause_number(&mut pause);
        assert_eq!((0..15).filter(|_| try_number(&mut pause)).count(), 0);
        assert!(try_number(&mut pause));
    }
}
