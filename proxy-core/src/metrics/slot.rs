//! Where workers count: sets of cells that are only ever added.
//!
//! Each run of a backend has a row of slots of its own, one a worker, so that two backends can count side by side. A row is
//! lent again when the last worker that had it is gone; its cells go on from where they are. So sums never go backwards, and
//! there are no more rows than generations that lived at the same time.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_utils::CachePadded;

/// Rows that there can be: backends of few workers and of many, of which two or more run at the same time.
pub const ROWS_MAX: usize = 16;

/// Slots of the smallest row. Rows have powers of two, so that one fits nearly any next generation.
const ROW_SLOTS_MIN: usize = 4;

/// The most workers of one generation.
pub const ROW_SLOTS_MAX: usize = 32_768;

/// The place of one worker's cells in every [`PerWorker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    row: u8,
    row_slots: u16,
    index: u16,
}

impl Slot {
    /// The worker's index in its generation, which is the label `core`.
    pub fn index(self) -> usize {
        self.index.into()
    }
}

/// The rows of this process.
#[derive(Debug, Default)]
pub struct Slots(Arc<Mutex<Vec<Lent>>>);

#[derive(Debug)]
struct Lent {
    slots: u16,
    is_free: bool,
}

/// There is no row left: too many generations of workers have not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "workers of {ROWS_MAX} generations have not ended, or {workers} workers are too many: restart the process"
)]
pub struct NoSlots {
    workers: usize,
}

/// The slots of one generation of workers, until this is dropped.
#[derive(Debug)]
pub struct Row {
    rows: Arc<Mutex<Vec<Lent>>>,
    number: u8,
    row_slots: u16,
    workers: usize,
}

impl Slots {
    /// Lends a slot to each of `workers` workers.
    ///
    /// # Errors
    /// When [`ROWS_MAX`] rows are lent, or for more than [`ROW_SLOTS_MAX`] workers.
    pub fn lend(&self, workers: usize) -> Result<Row, NoSlots> {
        if workers > ROW_SLOTS_MAX {
            return Err(NoSlots { workers });
        }
        let wanted = workers.max(ROW_SLOTS_MIN).next_power_of_two() as u16;
        let mut rows = lock(&self.0);
        let fits = |row: &Lent| row.is_free && row.slots == wanted;
        let number = match rows.iter().position(fits) {
            Some(number) => number,
            None if rows.len() < ROWS_MAX => {
                rows.push(Lent {
                    slots: wanted,
                    is_free: true,
                });
                rows.len() - 1
            }
            // One that is larger does as well.
            None => rows
                .iter()
                .position(|row| row.is_free && row.slots > wanted)
                .ok_or(NoSlots { workers })?,
        };
        rows[number].is_free = false;
        Ok(Row {
            number: number as u8,
            row_slots: rows[number].slots,
            workers,
            rows: self.0.clone(),
        })
    }
}

impl Row {
    /// The slot of the worker with this index.
    ///
    /// # Panics
    /// If there is no such worker.
    pub fn slot(&self, worker: usize) -> Slot {
        assert!(worker < self.workers, "there is no worker {worker}");
        Slot {
            row: self.number,
            row_slots: self.row_slots,
            index: worker as u16,
        }
    }

    /// The rows that it is one of.
    pub fn slots(&self) -> Slots {
        Slots(self.rows.clone())
    }

    /// How many workers have a slot.
    pub fn workers(&self) -> usize {
        self.workers
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        lock(&self.rows)[usize::from(self.number)].is_free = true;
    }
}

fn lock(rows: &Mutex<Vec<Lent>>) -> MutexGuard<'_, Vec<Lent>> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One value a slot. A row of values is made when its first slot is used; a value never moves.
#[derive(Debug)]
pub struct PerSlot<T>([OnceLock<Box<[T]>>; ROWS_MAX]);

impl<T> Default for PerSlot<T> {
    fn default() -> Self {
        Self([const { OnceLock::new() }; ROWS_MAX])
    }
}

impl<T: Default> PerSlot<T> {
    /// The value of a slot.
    pub fn of(&self, slot: Slot) -> &T {
        let row = self.0[usize::from(slot.row)].get_or_init(|| make_row(slot.row_slots));
        &row[usize::from(slot.index)]
    }
}

#[cold]
fn make_row<T: Default>(slots: u16) -> Box<[T]> {
    (0..slots).map(|_| T::default()).collect()
}

impl<T> PerSlot<T> {
    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.rows().flatten()
    }

    /// The values of the workers with this index, in whatever generation.
    pub fn of_core(&self, core: usize) -> impl Iterator<Item = &T> {
        self.rows().filter_map(move |row| row.get(core))
    }

    fn rows(&self) -> impl Iterator<Item = &[T]> {
        self.0.iter().filter_map(|row| row.get().map(Box::as_ref))
    }
}

/// One value a worker, on cache lines of its own.
#[derive(Debug)]
pub struct PerWorker<T>(PerSlot<CachePadded<T>>);

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self(PerSlot::default())
    }
}

impl<T: Default> PerWorker<T> {
    /// The value of the worker that has this slot. Without a lock, once its row is there.
    pub fn of(&self, slot: Slot) -> &T {
        self.0.of(slot)
    }
}

impl<T> PerWorker<T> {
    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &**padded)
    }

    /// The sum of what `read` takes from each worker there ever was.
    pub fn sum(&self, read: impl Fn(&T) -> u64) -> u64 {
        self.iter().map(read).fold(0, u64::wrapping_add)
    }

    /// One more than the highest index that a worker may have had.
    pub fn cores(&self) -> usize {
        self.0.rows().map(<[_]>::len).max().unwrap_or(0)
    }

    /// The sum over the workers with this index, in whatever generation.
    pub fn sum_of_core(&self, core: usize, read: impl Fn(&T) -> u64) -> u64 {
        let values = self.0.of_core(core).map(|padded| read(padded));
        values.fold(0, u64::wrapping_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counter;

    #[test]
    fn generations_count_side_by_side_and_a_row_is_lent_again() {
        let (slots, cells) = (Slots::default(), PerWorker::<Counter>::default());
        let first = slots.lend(2).expect("there is room");
        cells.of(first.slot(1)).add(5);
        let kept: *const Counter = cells.of(first.slot(1));
        let second = slots.lend(3).expect("there is room");
        assert_ne!(first.slot(1), second.slot(1));
        cells.of(second.slot(1)).add(7);
        assert_eq!(cells.sum_of_core(1, Counter::get), 12);
        assert_eq!(cells.sum_of_core(0, Counter::get), 0);
        drop(first);
        let third = slots.lend(4).expect("there is room");
        assert!(std::ptr::eq(kept, cells.of(third.slot(1))), "cells stay");
        cells.of(third.slot(1)).add(1);
        assert_eq!(cells.sum(Counter::get), 13);
    }

    #[test]
    fn rows_are_bounded_and_come_back() {
        let slots = Slots::default();
        let mut lent: Vec<_> = (0..ROWS_MAX)
            .map(|_| slots.lend(100).expect("there is room"))
            .collect();
        assert_eq!(slots.lend(1).expect_err("none is left").workers, 1);
        lent.pop();
        let smaller = slots.lend(1).expect("a larger row does");
        slots.lend(1).expect_err("it is lent");
        drop(smaller);
        slots.lend(100).expect("it has come back");
        slots.lend(1000).expect_err("none is as large");
        slots.lend(ROW_SLOTS_MAX + 1).expect_err("too many");
    }

    #[test]
    fn any_sequence_of_switches_needs_few_rows() {
        let slots = Slots::default();
        let mut running = slots.lend(1).expect("there is room");
        for workers in (1..200).chain((1..200).rev()) {
            running = slots
                .lend(workers)
                .expect("the one before last has come back");
        }
        assert_eq!(running.workers(), 1);
    }
}
