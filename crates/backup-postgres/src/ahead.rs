//! Small tables, read many at a time: a message to the server and back is most of what a table of a few rows costs.
//!
//! Core dumps parts that are near each other in the plan one after the other, so that those behind a part are likely to be wanted next; where
//! they are not, another session reads them again, and what was held is let go of.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use backup_core::{Part, PartId, PartKind};

use crate::connect::HeldRows;

/// A part of more bytes than this is read alone.
const SMALL: u64 = 64 << 10;
/// How many parts are read at a time.
const PARTS: usize = 32;
/// How many bytes of rows are held, at a time and all in all.
pub(crate) const HELD: usize = 2 << 20;

/// What was read ahead.
#[derive(Debug)]
pub(crate) struct Ahead {
    places: HashMap<PartId, usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<PartId, HeldRows>,
    size: usize,
    /// What was asked for.
    asked: HashSet<PartId>,
    is_stopped: bool,
}

impl Ahead {
    pub(crate) fn new(parts: &[Part]) -> Self {
        let places = parts.iter().enumerate().map(|(place, part)| (part.id, place)).collect();
        Self { places, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of a part that is asked for, if they are there.
    pub(crate) fn take(&self, part: PartId) -> Option<HeldRows> {
        let mut state = self.state();
        state.asked.insert(part);
        let rows = state.held.remove(&part)?;
        state.size -= rows.size();
        Some(rows)
    }

    /// The parts to read together with `part`, that one first; none if it is better read alone.
    pub(crate) fn choose<'a>(&self, parts: &'a [Part], part: PartId) -> Vec<&'a Part> {
        let is_small = |part: &&Part| matches!(part.kind, PartKind::Rows { .. }) && part.size_hint <= SMALL;
        let state = self.state();
        let Some(place) = self.places.get(&part).filter(|_| !state.is_stopped && state.size < HELD) else {
            return Vec::new();
        };
        let is_wanted = |other: &&Part| {
            other.id == part || !state.asked.contains(&other.id) && !state.held.contains_key(&other.id)
        };
        let near = parts.iter().skip(*place).take_while(is_small).take_while(is_wanted);
        let chosen: Vec<&Part> = near.take(PARTS).collect();
        if chosen.len() > 1 { chosen } else { Vec::new() }
    }

    /// Keeps what was read of `parts`, and gives the rows of the first, if they were not too many to be held.
    pub(crate) fn keep(&self, parts: &[&Part], held: Vec<HeldRows>) -> Option<HeldRows> {
        let mut held = parts.iter().zip(held);
        let (_, first) = held.next()?;
        let mut state = self.state();
        for (part, rows) in held {
            // Somebody else may have read it meanwhile.
            if !state.asked.contains(&part.id) {
                state.size += rows.size();
                state.held.insert(part.id, rows);
            }
        }
        Some(first)
    }

    /// From here on each part is read alone.
    pub(crate) fn stop(&self) {
        self.state().is_stopped = true;
    }
}
