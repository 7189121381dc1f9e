//! The B-tree of a table with rowids, page by page.
//!
//! <https://www.sqlite.org/fileformat2.html> describes it. Whatever is not exactly as it should be ends the walk: see [`Odd`].

use super::page::Pages;
use super::record::varint;

const LEAF: u8 = 0x0d;
const INTERIOR: u8 = 0x05;
/// Where a page's header has the number of its cells, and an interior page's the child behind them.
const COUNT_AT: usize = 3;
const LAST_CHILD_AT: usize = 8;
const LEAF_HEADER: usize = 8;
const INTERIOR_HEADER: usize = 12;
/// SQLite goes no deeper.
const DEEPEST: usize = 20;

/// The pages are not what they should be, or not what is understood here. SQLite itself has to read on, and to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd;

/// A page still to be visited, and which rowids may be in it (both ends included).
#[derive(Debug, Clone, Copy)]
struct Branch {
    page: u32,
    low: i64,
    high: i64,
    depth: usize,
}

/// Visits the leaves that may have rowids between `low` and `high`, from the lowest to the highest.
pub(super) struct Walk<'c> {
    pages: Pages<'c>,
    low: i64,
    high: i64,
    /// What is to be visited, the next one last.
    branches: Vec<Branch>,
    page: Vec<u8>,
}

/// One row as it lies in a leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    pub(super) rowid: i64,
    /// The length of its record.
    length: usize,
    /// Where the record begins in the page, and how much of it is there.
    start: usize,
    local: usize,
}

impl<'c> Walk<'c> {
    pub(super) fn from(root: u32, pages: Pages<'c>, low: i64, high: i64) -> Self {
        let all = Branch { page: root, low: i64::MIN, high: i64::MAX, depth: 0 };
        Self { pages, low, high, branches: vec![all], page: Vec::new() }
    }

    /// Goes to the next leaf and puts its rows into `cells`; `false` if there is none.
    pub(super) fn next_leaf(&mut self, cells: &mut Vec<Cell>) -> Result<bool, Odd> {
        while let Some(branch) = self.branches.pop() {
            let page = &mut self.page;
            page.clear();
            let copy = |image: &[u8]| {
                page.extend_from_slice(image);
                Some(())
            };
            self.pages.read(branch.page, copy).ok_or(Odd)?;
            match self.page.first() {
                Some(&LEAF) => return self.leaf(branch, cells).ok_or(Odd).map(|()| true),
                Some(&INTERIOR) if branch.depth < DEEPEST => self.interior(branch).ok_or(Odd)?,
                _ => return Err(Odd),
            }
        }
        Ok(false)
    }

    fn interior(&mut self, branch: Branch) -> Option<()> {
        let page = self.page.as_slice();
        let count = count(page)?;
        let first = self.branches.len();
        let mut low = branch.low;
        for i in 0..count {
            let at = pointer(page, INTERIOR_HEADER, count, i)?;
            let cell = page.get(at..)?;
            let (child, mut key) = cell.split_first_chunk()?;
            let high = varint(&mut key)?.cast_signed();
            if high < low || high >= branch.high {
                return None;
            }
            self.branches.push(Branch {
                page: u32::from_be_bytes(*child),
                low,
                high,
                depth: branch.depth + 1,
            });
            low = high + 1;
        }
        let last = u32::from_be_bytes(*page.get(LAST_CHILD_AT..)?.first_chunk()?);
        // An interior page has a cell.
        if count == 0 {
            return None;
        }
        self.branches.push(Branch { page: last, low, high: branch.high, depth: branch.depth + 1 });
        let (wanted_low, wanted_high) = (self.low, self.high);
        let children = self.branches.split_off(first);
        let wanted =
            children.into_iter().rev().filter(|child| child.low <= wanted_high && child.high >= wanted_low);
        self.branches.extend(wanted);
        Some(())
    }

    fn leaf(&self, branch: Branch, cells: &mut Vec<Cell>) -> Option<()> {
        let page = self.page.as_slice();
        let count = count(page)?;
        // Only a root may be empty.
        if count == 0 && branch.depth > 0 {
            return None;
        }
        cells.clear();
        let mut low = Some(branch.low);
        for i in 0..count {
            let at = pointer(page, LEAF_HEADER, count, i)?;
            let whole = page.get(at..)?;
            let mut rest = whole;
            let length = usize::try_from(u32::try_from(varint(&mut rest)?).ok()?).ok()?;
            let rowid = varint(&mut rest)?.cast_signed();
            // Each rowid is above the one before.
            if rowid < low? || rowid > branch.high {
                return None;
            }
            low = rowid.checked_add(1);
            let local = self.local(length)?;
            if rest.len() < local + if local < length { 4 } else { 0 } {
                return None;
            }
            cells.push(Cell { rowid, length, start: at + whole.len() - rest.len(), local });
        }
        Some(())
    }

    /// How many bytes of a record are in its leaf.
    fn local(&self, length: usize) -> Option<usize> {
        let usable = self.pages.usable();
        let most = usable.checked_sub(35)?;
        if length <= most {
            return Some(length);
        }
        let least = (usable.checked_sub(12)? * 32 / 255).checked_sub(23)?;
        let local = least + (length - least) % (usable - 4);
        Some(if local <= most { local } else { least })
    }

    /// The record of a row of the present leaf, if it has at most `most` bytes. One that does not fit into the leaf is put together in `whole`.
    pub(super) fn record<'a>(
        &'a mut self,
        cell: Cell,
        most: usize,
        whole: &'a mut Vec<u8>,
    ) -> Result<&'a [u8], Odd> {
        if cell.length > most {
            return Err(Odd);
        }
        if cell.local == cell.length {
            return self.page.get(cell.start..cell.start + cell.length).ok_or(Odd);
        }
        self.gather(cell, whole).ok_or(Odd)?;
        Ok(whole)
    }

    fn gather(&mut self, cell: Cell, whole: &mut Vec<u8>) -> Option<()> {
        let (local, rest) = self.page.get(cell.start..)?.split_at_checked(cell.local)?;
        whole.clear();
        whole.extend_from_slice(local);
        let mut next = u32::from_be_bytes(*rest.first_chunk()?);
        // Each page has some of the record, so a circle of pages comes to its end, too.
        while whole.len() < cell.length {
            next = self.pages.read(next, |image| {
                let (link, content) = image.split_first_chunk()?;
                whole.extend_from_slice(content.get(..content.len().min(cell.length - whole.len()))?);
                Some(u32::from_be_bytes(*link))
            })?;
        }
        Some(())
    }
}

/// How many cells a page has.
fn count(page: &[u8]) -> Option<usize> {
    Some(u16::from_be_bytes(*page.get(COUNT_AT..)?.first_chunk()?).into())
}

/// Where cell `i` of `count` begins: behind the header and all pointers.
fn pointer(page: &[u8], header: usize, count: usize, i: usize) -> Option<usize> {
    let at = usize::from(u16::from_be_bytes(*page.get(header + 2 * i..)?.first_chunk()?));
    (at >= header + 2 * count).then_some(at)
}
