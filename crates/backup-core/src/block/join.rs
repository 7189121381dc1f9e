//! Makes rows of fields again: the inverse of `split`.

use super::split::{Cell, Grid};
use crate::rows::{RowLayout, tag, write_varint};

/// Appends the rows of `grid`, whose cells point into `arena`, to `bytes`, and where each ends to `ends`.
pub(super) fn join(grid: &Grid, arena: &[u8], layout: RowLayout, bytes: &mut Vec<u8>, ends: &mut Vec<u32>) {
    for row in 0..grid.rows {
        match layout {
            // Never regrouped.
            RowLayout::Opaque => {}
            RowLayout::LengthEncoded => {
                for cell in grid.row(row) {
                    if cell.is_null() {
                        bytes.push(0xfb);
                    } else {
                        push_length(cell.length, bytes);
                        bytes.extend_from_slice(cell.of(arena));
                    }
                }
            }
            RowLayout::CopyText => {
                for (column, cell) in grid.row(row).enumerate() {
                    if column > 0 {
                        bytes.push(b'\t');
                    }
                    bytes.extend_from_slice(if cell.is_null() { b"\\N" } else { cell.of(arena) });
                }
                bytes.push(b'\n');
            }
            RowLayout::Tagged => {
                for (cell, tag) in grid.row(row).zip(grid.row_tags(row)) {
                    push_tagged(cell, tag, arena, bytes);
                }
            }
        }
        ends.push(bytes.len() as u32);
    }
}

fn push_length(length: u32, bytes: &mut Vec<u8>) {
    match length {
        0..=0xfa => bytes.push(length as u8),
        0xfb..=0xffff => {
            bytes.push(0xfc);
            bytes.extend_from_slice(&(length as u16).to_le_bytes());
        }
        0x1_0000..=0xff_ffff => {
            let [a, b, c, _] = length.to_le_bytes();
            bytes.extend_from_slice(&[0xfd, a, b, c]);
        }
        _ => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&u64::from(length).to_le_bytes());
        }
    }
}

fn push_tagged(cell: Cell, field_tag: u8, arena: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(field_tag);
    if field_tag == tag::NULL || cell.is_null() {
        return;
    }
    if matches!(field_tag, tag::TEXT | tag::BYTES) {
        write_varint(bytes, cell.length.into());
    }
    bytes.extend_from_slice(cell.of(arena));
}
