//! Cuts an own update into ops that are short enough.
//!
//! Each piece is an update of its own that builds on the one before; a block that is too long is cut where the library
//! would cut it.

use super::read::Reader;
use super::wire::{self, Block, Content, HAS_KEY, HAS_ORIGIN, HAS_RIGHT, Kind, Source, Why};

/// The pieces, in order. `most` must leave room for a value and what stands around it.
///
/// # Errors
/// The update isn't one that a document of this kind writes.
pub(super) fn split(kind: Kind, update: Vec<u8>, most: usize) -> Result<Vec<Vec<u8>>, Why> {
    if update.len() <= most {
        return Ok(vec![update]);
    }
    let parsed = wire::parse(kind, Source::Op, &update)?;
    let mut pieces = Vec::new();
    for writer in &parsed.writers {
        let mut piece =
            Blocks { kind, client: writer.client, clock: writer.clock, next: writer.clock, count: 0, body: Vec::new() };
        for block in &writer.blocks {
            let mut left = Some(*block);
            while let Some(block) = left.take() {
                let room = most.saturating_sub(HEAD + piece.body.len());
                let (fits, rest) = cut(&block, piece.client, piece.next, room)?;
                left = rest;
                match fits {
                    Some(block) => piece.push(&block),
                    None if piece.count == 0 => return Err("a value that no op can hold"),
                    None => {}
                }
                if left.is_some() {
                    pieces.push(piece.take());
                }
            }
        }
        if piece.count > 0 {
            pieces.push(piece.take());
        }
    }
    let mut ranges = parsed.deletions.iter().flat_map(|d| d.ranges.iter().map(|range| (d.client, *range))).peekable();
    while ranges.peek().is_some() {
        // At most 10 bytes a range; a client of its own for each takes at most 9 more.
        pieces.push(deletions(ranges.by_ref().take(most.saturating_sub(HEAD) / 19)));
    }
    Ok(pieces)
}

/// What a piece holds besides its blocks: counts, client, clock, no deletions.
const HEAD: usize = 32;

struct Blocks {
    kind: Kind,
    client: u64,
    /// The first block's.
    clock: u32,
    /// The next block's.
    next: u32,
    count: u64,
    body: Vec<u8>,
}

impl Blocks {
    fn push(&mut self, block: &Block<'_>) {
        self.count += 1;
        self.next += block.len;
        write_block(self.kind, block, &mut self.body);
    }

    /// The update of what was pushed; empty again.
    fn take(&mut self) -> Vec<u8> {
        let mut out = vec![1];
        put(self.count, &mut out);
        put(self.client, &mut out);
        put(self.clock.into(), &mut out);
        out.append(&mut self.body);
        out.push(0);
        (self.clock, self.count) = (self.next, 0);
        out
    }
}

/// The update of one block.
pub(super) fn one(kind: Kind, client: u64, clock: u32, block: &Block<'_>) -> Vec<u8> {
    let mut piece = Blocks { kind, client, clock, next: clock, count: 0, body: Vec::with_capacity(HEAD) };
    piece.push(block);
    piece.take()
}

/// The part of a block that fits `room`, and the rest.
fn cut<'a>(
    block: &Block<'a>,
    client: u64,
    clock: u32,
    room: usize,
) -> Result<(Option<Block<'a>>, Option<Block<'a>>), Why> {
    // First byte, two ids, root and lengths.
    let around = 64 + block.key.map_or(0, str::len);
    let room = room.saturating_sub(around);
    let (first, second, len) = match block.content {
        Content::Gone => return Ok(if room > 0 { (Some(*block), None) } else { (None, Some(*block)) }),
        Content::Text(text) => {
            let (first, second) = text.split_at(text.floor_char_boundary(room));
            (Content::Text(first), Content::Text(second), first.encode_utf16().count() as u32)
        }
        Content::Values(bytes) => {
            let (first, second, count) = cut_values(bytes, room)?;
            (Content::Values(first), Content::Values(second), count)
        }
    };
    if len == 0 {
        return Ok((None, Some(*block)));
    }
    if len == block.len {
        return Ok((Some(*block), None));
    }
    let rest = Block {
        info: (block.info | HAS_ORIGIN) & !HAS_KEY,
        origin: Some((client, clock + len - 1)),
        right: block.right,
        key: None,
        content: second,
        len: block.len - len,
    };
    Ok((Some(Block { content: first, len, ..*block }), Some(rest)))
}

fn cut_values(bytes: &[u8], room: usize) -> Result<(&[u8], &[u8], u32), Why> {
    let mut reader = Reader::new(bytes);
    let (mut len, mut count) = (0, 0);
    while !reader.is_empty() {
        let next = reader.spanned(wire::value)?.len();
        if len + next > room {
            break;
        }
        len += next;
        count += 1;
    }
    let (first, second) = bytes.split_at(len);
    Ok((first, second, count))
}

fn write_block(kind: Kind, block: &Block<'_>, out: &mut Vec<u8>) {
    out.push(block.info);
    for (client, clock) in block.origin.iter().chain(&block.right) {
        put(*client, out);
        put((*clock).into(), out);
    }
    if block.info & (HAS_ORIGIN | HAS_RIGHT) == 0 {
        put(1, out);
        put_bytes(kind.root().as_bytes(), out);
        if let Some(key) = block.key {
            put_bytes(key.as_bytes(), out);
        }
    }
    match block.content {
        Content::Gone => put(block.len.into(), out),
        Content::Text(text) => put_bytes(text.as_bytes(), out),
        Content::Values(values) => {
            put(block.len.into(), out);
            out.extend_from_slice(values);
        }
    }
}

/// An update that only deletes.
fn deletions(ranges: impl Iterator<Item = (u64, (u32, u32))>) -> Vec<u8> {
    let mut clients: Vec<(u64, Vec<(u32, u32)>)> = Vec::new();
    for (client, range) in ranges {
        match clients.last_mut() {
            Some((last, ranges)) if *last == client => ranges.push(range),
            _ => clients.push((client, vec![range])),
        }
    }
    let mut out = vec![0];
    put(clients.len() as u64, &mut out);
    for (client, ranges) in clients {
        put(client, &mut out);
        put(ranges.len() as u64, &mut out);
        for (clock, len) in ranges {
            put(clock.into(), &mut out);
            put(len.into(), &mut out);
        }
    }
    out
}

fn put(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
