//! Makes rows of fields again: the inverse of `split`.

use super::grid::Grid;
use crate::rows::{RowLayout, tag, write_varint};

/// Appends the rows of `grid`, whose cells point into `arena`, to `bytes`, and where each ends to `ends`.
pub(super) fn join(
    grid: &mut Grid,
    arena: &[u8],
    layout: RowLayout,
    bytes: &mut Vec<u8>,
    ends: &mut Vec<u32>,
) {
    grid.rewind();
    for i in 0..grid.rows {
        let row = grid.row(i);
        match layout {
            // Never regrouped.
            RowLayout::Opaque => {}
            RowLayout::LengthEncoded => {
                for field in row {
                    match field {
                        None => bytes.push(0xfb),
                        Some((cell, _)) => {
                            push_length(cell.length, bytes);
                            cell.append_to(arena, bytes);
                        }
                    }
                }
            }
            RowLayout::CopyText => {
                for (column, field) in row.enumerate() {
                    if column > 0 {
                        bytes.push(b'\t');
                    }
                    bytes.extend_from_slice(field.map_or(b"\\N", |(cell, _)| cell.of(arena)));
                }
                bytes.push(b'\n');
            }
            RowLayout::Tagged => {
                for field in row {
                    let Some((cell, tag)) = field else {
                        bytes.push(tag::NULL);
                        continue;
                    };
                    match tag {
                        tag::TEXT | tag::BYTES if cell.length < 0x80 => {
                            bytes.extend_from_slice(&[tag, cell.length as u8]);
                        }
                        tag::TEXT | tag::BYTES => {
                            bytes.push(tag);
                            write_varint(bytes, cell.length.into());
                        }
                        _ => bytes.push(tag),
                    }
                    cell.append_to(arena, bytes);
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
