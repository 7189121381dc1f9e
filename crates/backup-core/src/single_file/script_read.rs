//! Scripts that are read again: checked from end to end, told from those of other programs, and taken apart at
//! the places that their manifest names.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::script_write::{ANY_FIRST_LINE, COMMENT, End, FIRST_LINE, LAST_LINE};
use super::source::{FileSource, into_error};
use crate::block::{BLOCK_SIZE, RawChunk, Segment, SegmentKind};
use crate::codec::sniff;
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::part::{Part, PartKind};
use crate::progress::Event;
use crate::reader::{PartReader, Piece};
use crate::repository::{Body, Hash32, Header, PartRecord, parse_parts};
use crate::rows::RowLayout;
use crate::script::PlaceKind;

/// The last line is no longer.
const LAST_LINE_MAX: usize = 4096;
/// Nor the manifest.
pub(super) const MANIFEST_MAX: u64 = 1 << 30;

/// A script file, whether of a repository or carried from elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct ScriptFile {
    source: FileSource,
}

/// A script whose every byte fits its hash, with its manifest.
#[derive(Debug)]
pub(crate) struct CheckedScript {
    pub(crate) header: Header,
    pub(crate) body: Body,
    pub(crate) parts: Vec<PartRecord>,
}

type Decoded = Box<dyn Read + Send>;

impl ScriptFile {
    pub(crate) fn new(source: FileSource) -> Self {
        Self { source }
    }

    /// What it holds, decoded, from the start; to be read on a thread that may block.
    fn decoded(&self, ctx: &Ctx) -> Result<Decoded> {
        let mut reader = self.source.reader(ctx);
        let head = reader.fill_buf().map_err(into_error)?;
        sniff(head)?.reader(Box::new(reader))
    }

    /// Reads it all, and returns its manifest if every byte is what was written.
    pub(crate) async fn check(&self, ctx: &Ctx) -> Result<CheckedScript> {
        let (script, context) = (self.clone(), ctx.clone());
        // Readers hold a handle of the runtime, so they are made here and used there.
        ctx.blocking(move || {
            let first = &mut [0; 512];
            let n = fill(&mut *script.decoded(&context)?, first).unwrap_or(0);
            let head = first.get(..n).unwrap_or_default();
            if !head.starts_with(FIRST_LINE.as_bytes()) {
                let begun = !head.is_empty() && FIRST_LINE.as_bytes().starts_with(head);
                return Err(if begun { cut_off() } else { foreign(head) });
            }
            let end = read_to_end(&context, &mut *script.decoded(&context)?)?;
            let mut decoded = script.decoded(&context)?;
            let start = end.script.checked_sub(end.manifest).filter(|_| end.manifest <= MANIFEST_MAX);
            skip(&mut *decoded, start.ok_or_else(cut_off)?)?;
            let mut manifest = Vec::new();
            decoded.take(end.manifest).read_to_end(&mut manifest).map_err(unreadable)?;
            parse_manifest(&manifest)
        })
        .await
        .during(|| format!("read the script {}", self.source.name()))
    }

    /// What it holds, decoded, piece by piece.
    pub(crate) fn pieces(&self, ctx: &Ctx) -> mpsc::Receiver<Result<Vec<u8>>> {
        let (sender, receiver) = mpsc::channel(2);
        let (script, context) = (self.clone(), ctx.clone());
        tokio::task::spawn_blocking(move || {
            let read = || {
                let mut decoded = script.decoded(&context)?;
                loop {
                    let mut piece = vec![0; BLOCK_SIZE];
                    let n = fill(&mut *decoded, &mut piece).map_err(unreadable)?;
                    piece.truncate(n);
                    // Nobody listens any more: the reader was dropped.
                    if n == 0 || sender.blocking_send(Ok(piece)).is_err() {
                        return Ok(());
                    }
                }
            };
            if let Err(error) = read() {
                let _ = sender.blocking_send(Err(error));
            }
        });
        receiver
    }

    /// A reader of parts, in the order of the script.
    pub(crate) fn sequential(&self) -> ScriptParts {
        ScriptParts { script: self.clone(), open: Arc::default() }
    }
}

fn cut_off() -> Error {
    Error::damaged("the script is cut off: its last line is not ours")
        .hint("fetch the file again, or use another backup")
}

fn unreadable(error: io::Error) -> Error {
    match into_error(error) {
        error if error.kind() == ErrorKind::Io => {
            Error::damaged("the script cannot be decompressed to its end")
                .because(error)
                .hint("fetch the file again, or use another backup")
        }
        error => error,
    }
}

/// Fills `buffer` as far as the input goes.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

fn skip(input: &mut dyn Read, bytes: u64) -> Result<()> {
    let skipped = io::copy(&mut input.take(bytes), &mut io::sink()).map_err(unreadable)?;
    if skipped == bytes { Ok(()) } else { Err(cut_off()) }
}

/// Reads to the end, and returns what the last line says if it fits all that came before it.
fn read_to_end(ctx: &Ctx, input: &mut dyn Read) -> Result<End> {
    let mut hasher = blake3::Hasher::new();
    let mut length = 0u64;
    let mut tail = Vec::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = fill(input, &mut buffer).map_err(unreadable)?;
        ctx.emit(Event::Advanced { rows: 0, bytes: n as u64 });
        tail.extend_from_slice(buffer.get(..n).unwrap_or_default());
        if n == 0 {
            break;
        }
        // All but what may be the last line is hashed.
        let hashed = tail.len().saturating_sub(LAST_LINE_MAX);
        hasher.update(&tail[..hashed]);
        length += hashed as u64;
        tail.drain(..hashed);
    }
    let body = tail.strip_suffix(b"\n").ok_or_else(cut_off)?;
    let start = body.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let line = body[start..].strip_prefix(LAST_LINE.as_bytes()).ok_or_else(cut_off)?;
    let end: End = serde_json::from_slice(line).map_err(|error| cut_off().because(error))?;
    hasher.update(&tail[..start]);
    length += start as u64;
    let hash = Hash32(*hasher.finalize().as_bytes());
    // Nothing proves the last line, so no other way to say the same is taken for it.
    if length != end.script || hash != end.hash || tail[start..] != *end.line()?.as_bytes() {
        return Err(Error::damaged("the script is not what was written")
            .hint("fetch the file again, or use another backup"));
    }
    Ok(end)
}

fn parse_manifest(manifest: &[u8]) -> Result<CheckedScript> {
    let malformed = || Error::damaged("the script's manifest is malformed");
    let json: Vec<u8> = manifest
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_prefix(COMMENT.as_bytes()).ok_or_else(malformed))
        .collect::<Result<Vec<_>>>()?
        .concat();
    let mut lines = json.splitn(3, |byte| *byte == b'\n');
    let mut next = || lines.next().ok_or_else(malformed);
    let parse = |error: serde_json::Error| malformed().because(error);
    let header = serde_json::from_slice(next()?).map_err(parse)?;
    let body = serde_json::from_slice(next()?).map_err(parse)?;
    Ok(CheckedScript { header, body, parts: parse_parts(next()?)? })
}

/// Refuses somebody else's file, naming the program that loads it.
fn foreign(head: &[u8]) -> Error {
    if let Some(rest) = head.strip_prefix(ANY_FIRST_LINE.as_bytes())
        && let Some(version) = rest.split(|byte| *byte == b'\n').next()
        && version.iter().all(u8::is_ascii_digit)
        && version.len() < 10
    {
        let message = format!("the script has format {}; this program reads 1", version.escape_ascii());
        return Error::new(ErrorKind::NewerFormat, message)
            .hint("use a newer lifeboat: the manifest at the end of the file says which wrote it; or load it with the client of its database");
    }
    let text = String::from_utf8_lossy(head);
    let has = |mark: &str| text.contains(mark);
    let what = if head.starts_with(b"SQLite format 3\0") {
        "it is a SQLite database; copy the file itself"
    } else if head.starts_with(b"PGDMP") {
        "it is an archive of pg_dump; load it with `pg_restore -d DATABASE FILE`"
    } else if has("PostgreSQL database") {
        "it is a script of pg_dump; load it with `psql -d DATABASE -f FILE`"
    } else if has("MariaDB dump") {
        "it is a script of mariadb-dump; load it with `mariadb DATABASE < FILE`"
    } else if has("MySQL dump") {
        "it is a script of mysqldump; load it with `mysql DATABASE < FILE`"
    } else if has("PRAGMA foreign_keys") || has("BEGIN TRANSACTION") {
        "it looks like a script of sqlite3; load it with `sqlite3 NEW.db < FILE`"
    } else if has("USE [") || has("\nGO") || has("\r\nGO") {
        "it looks like a script for SQL Server; load it with `sqlcmd -i FILE`"
    } else {
        "load it with the client of its database: sqlite3, psql, mysql, sqlcmd or sqlplus"
    };
    Error::new(ErrorKind::Foreign, "this file was not written by lifeboat").hint(what)
}

/// The parts of a script, which must be asked for in the script's order.
#[derive(Clone)]
pub(crate) struct ScriptParts {
    script: ScriptFile,
    open: Arc<Mutex<Option<Open>>>,
}

struct Open {
    decoded: Decoded,
    position: u64,
}

impl ScriptParts {
    /// The part as an engine gets it: rows that are said in statements come as SQL.
    pub(crate) fn part_of(record: &PartRecord) -> Part {
        let mut part = record.part.clone();
        let as_rows =
            record.script.iter().flat_map(|span| &span.places).any(|place| place.kind == PlaceKind::Rows);
        if !as_rows {
            part.kind = PartKind::Sql;
        }
        part
    }

    /// A reader of the part `record`.
    pub(crate) fn open(&self, ctx: &Ctx, record: &PartRecord) -> PartReader {
        let (sender, receiver) = mpsc::channel(1);
        let is_said =
            matches!(record.part.kind, PartKind::Rows { .. }) && Self::part_of(record).kind == PartKind::Sql;
        let said_rows = is_said.then(|| record.rows());
        let (parts, record, context) = (self.clone(), record.clone(), ctx.clone());
        tokio::spawn(async move {
            let open = Arc::clone(&parts.open).lock_owned().await;
            let failed = sender.clone();
            let reading = context.clone();
            let read = context.blocking(move || {
                let mut open = open;
                parts.read(&reading, &mut open, &record, &sender)
            });
            if let Err(error) = read.await {
                // Nobody listens any more: the part was dropped.
                let _ = failed.send(Err(error)).await;
            }
        });
        PartReader::of_said_rows(ctx, receiver, said_rows)
    }

    fn read(
        &self,
        ctx: &Ctx,
        open: &mut Option<Open>,
        record: &PartRecord,
        pieces: &mpsc::Sender<Result<Piece>>,
    ) -> Result<()> {
        let Some(span) = &record.script else {
            return Err(Error::damaged(format!(
                "the manifest says nothing of where {} is",
                record.part.object
            )));
        };
        let open = match open {
            Some(open) => open,
            None => open.insert(Open { decoded: self.script.decoded(ctx)?, position: 0 }),
        };
        let mut batch = Batch { ctx, pieces, chunk: RawChunk::recycled() };
        for place in &span.places {
            let start = span.offset + place.offset;
            let gap = start
                .checked_sub(open.position)
                .ok_or_else(|| Error::internal("a script was read out of order"))?;
            skip(&mut *open.decoded, gap)?;
            match place.kind {
                PlaceKind::Statement => batch.statement(&mut *open.decoded, place.length)?,
                PlaceKind::Rows => batch.rows(&mut *open.decoded, place.length, &record.part)?,
            }
            open.position = start + place.length;
        }
        batch.send()
    }
}

/// Statements and rows of a script on their way to the engine.
struct Batch<'a> {
    ctx: &'a Ctx,
    pieces: &'a mpsc::Sender<Result<Piece>>,
    chunk: RawChunk,
}

impl Batch<'_> {
    fn statement(&mut self, input: &mut dyn Read, length: u64) -> Result<()> {
        let kind = SegmentKind::Rows { layout: RowLayout::Opaque, columns: 0 };
        if length <= BLOCK_SIZE as u64 {
            read(input, length, &mut self.chunk.bytes)?;
            return self.end_row(kind);
        }
        self.send()?;
        let mut left = length;
        while left > 0 {
            let n = left.min(BLOCK_SIZE as u64);
            read(input, n, &mut self.chunk.bytes)?;
            let first = left == length;
            left -= n;
            self.fragment(first, left == 0)?;
        }
        Ok(())
    }

    fn rows(&mut self, input: &mut dyn Read, length: u64, part: &Part) -> Result<()> {
        let PartKind::Rows { layout: layout @ RowLayout::CopyText, columns } = &part.kind else {
            return Err(Error::damaged(format!("the script has bare rows of {}", part.object)));
        };
        let kind = SegmentKind::Rows { layout: *layout, columns: columns.len() as u16 };
        let mut lines = io::BufReader::with_capacity(1 << 17, input.take(length));
        while self.row(&mut lines, kind)? {}
        if lines.get_ref().limit() > 0 { Err(cut_off()) } else { Ok(()) }
    }

    /// Passes on a row, in pieces if it is larger than a block. Whether there was one.
    fn row(&mut self, lines: &mut impl BufRead, kind: SegmentKind) -> Result<bool> {
        let start = self.chunk.bytes.len();
        if !self.piece_of_row(lines)? {
            return Ok(false);
        }
        if self.is_end_of_row(lines)? {
            return self.end_row(kind).map(|()| true);
        }
        let piece = self.chunk.bytes.split_off(start);
        self.send()?;
        self.chunk.bytes.extend_from_slice(&piece);
        let mut first = true;
        loop {
            let last = self.is_end_of_row(lines)?;
            self.fragment(first, last)?;
            if last {
                return Ok(true);
            }
            first = false;
            self.piece_of_row(lines)?;
        }
    }

    /// Reads on to the end of the row, or as much of it as a block holds. Whether there was anything.
    fn piece_of_row(&mut self, lines: &mut impl BufRead) -> Result<bool> {
        let mut piece = lines.take(BLOCK_SIZE as u64);
        Ok(piece.read_until(b'\n', &mut self.chunk.bytes).map_err(unreadable)? > 0)
    }

    fn is_end_of_row(&self, lines: &mut impl BufRead) -> Result<bool> {
        Ok(self.chunk.bytes.ends_with(b"\n") || lines.fill_buf().map_err(unreadable)?.is_empty())
    }

    /// What was read into the chunk is a piece of a row, and all that there is in it.
    fn fragment(&mut self, first: bool, last: bool) -> Result<()> {
        self.chunk.segments.push(Segment {
            kind: SegmentKind::Fragment { first, last },
            bytes: 0..self.chunk.bytes.len(),
            rows: 0..0,
        });
        self.send()
    }

    /// What was read into the chunk since its last row is a row.
    fn end_row(&mut self, kind: SegmentKind) -> Result<()> {
        let chunk = &mut self.chunk;
        chunk.ends.push(chunk.bytes.len() as u32);
        let (bytes, rows) = (0..chunk.bytes.len(), 0..chunk.ends.len());
        match chunk.segments.last_mut() {
            Some(segment) => (segment.bytes, segment.rows) = (bytes, rows),
            None => chunk.segments.push(Segment { kind, bytes, rows }),
        }
        if chunk.bytes.len() >= BLOCK_SIZE { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        if self.chunk.segments.is_empty() {
            return Ok(());
        }
        self.ctx.check()?;
        let chunk = Arc::new(std::mem::replace(&mut self.chunk, RawChunk::recycled()));
        let segments = 0..chunk.segments.len();
        self.pieces.blocking_send(Ok(Piece { chunk, segments })).map_err(|_| Error::cancelled())
    }
}

/// Appends the next `length` bytes of the input to `bytes`.
fn read(input: &mut dyn Read, length: u64, bytes: &mut Vec<u8>) -> Result<()> {
    let read = input.take(length).read_to_end(bytes).map_err(unreadable)?;
    if read as u64 == length { Ok(()) } else { Err(cut_off()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::{Column, Object};

    #[tokio::test]
    async fn a_row_that_is_larger_than_a_block_is_passed_on_in_pieces() {
        let rows: [Vec<u8>; 4] = [
            b"a\n".to_vec(),
            [vec![b'x'; 5 * BLOCK_SIZE], b"\n".to_vec()].concat(),
            b"b\n".to_vec(),
            vec![b'y'; 2 * BLOCK_SIZE],
        ];
        let text = rows.concat();
        let part =
            Part::rows(0, Object::new("table", "t"), RowLayout::CopyText, vec![Column::new("c", "text")]);
        let (sender, mut receiver) = mpsc::channel(1);
        let (length, input) = (text.len() as u64, text.clone());
        let ctx = Ctx::new();
        let reading = ctx.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut batch = Batch { ctx: &reading, pieces: &sender, chunk: RawChunk::recycled() };
            batch.rows(&mut &*input, length, &part)?;
            batch.send()
        });
        let (mut all, mut begun, mut ended) = (Vec::new(), 0, 0);
        while let Some(piece) = receiver.recv().await {
            let chunk = piece.unwrap().chunk;
            assert!(chunk.bytes.len() <= 2 * BLOCK_SIZE, "{} bytes at once", chunk.bytes.len());
            all.extend_from_slice(&chunk.bytes);
            for segment in &chunk.segments {
                match segment.kind {
                    SegmentKind::Fragment { first, last } => {
                        begun += usize::from(first);
                        ended += usize::from(last);
                    }
                    _ => (begun, ended) = (begun + segment.rows.len(), ended + segment.rows.len()),
                }
            }
        }
        read.await.unwrap().unwrap();
        assert_eq!((begun, ended), (4, 4));
        assert!(all == text);
    }
}
