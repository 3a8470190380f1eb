//! The first encoding of yrs's updates, read strictly: what stands between a peer's bytes and the library.
//!
//! The library reserves memory for as many clients, blocks and values as an update claims, follows nested values by
//! recursion, and adds up clocks unchecked. None of it survives this parser: it reads minimal integers only, takes
//! nothing on credit, knows no nesting, and bounds every clock. It also knows only what a document of one kind writes
//! (one root; text, or single values, or keys), so most of the library's code is never reached by a peer.

use super::read::Reader;
use crate::limits::{MAX_CLOCK, MAX_KEY, MAX_VALUE};

/// Why bytes were refused.
pub(super) type Why = &'static str;

/// What a document of one kind writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Map,
    Array,
}

impl Kind {
    /// The name of the one root that the document has.
    pub(super) fn root(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Map => "map",
            Kind::Array => "array",
        }
    }
}

/// Where an update comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// An op: the edits of one client.
    Op,
    /// A snapshot: those of many, with gaps.
    Snapshot,
}

/// What an update holds, as far as it matters before the library has it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The clients that wrote in it.
    pub(super) clients: Vec<u64>,
    /// There is a character that takes two UTF-16 units.
    pub(super) astral: bool,
    /// Its one edit of a text, if it is one.
    pub(super) single: Option<Single>,
}

/// An edit in one place, as most are.
#[derive(Clone, Debug)]
pub(super) enum Single {
    /// From this id on.
    Insert(Id, String),
    /// From this id on, so many units, of which some may be gone already.
    Delete(Id, u32),
}

/// An update's blocks, then its deletions.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) writers: Vec<Writer<'a>>,
    pub(super) deletions: Vec<Deletions>,
}

/// The consecutive blocks of one client.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) client: u64,
    pub(super) clock: u32,
    pub(super) blocks: Vec<Block<'a>>,
}

/// What an update deletes of one client's.
#[derive(Debug)]
pub(super) struct Deletions {
    pub(super) client: u64,
    /// First clock and length, ascending.
    pub(super) ranges: Vec<(u32, u32)>,
}

/// A client and a clock.
pub(super) type Id = (u64, u32);

#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    /// Its first byte.
    pub(super) info: u8,
    pub(super) origin: Option<Id>,
    pub(super) right: Option<Id>,
    /// The key, if the block names it itself.
    pub(super) key: Option<&'a str>,
    pub(super) content: Content<'a>,
    /// In UTF-16 units or elements, at least 1.
    pub(super) len: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Content<'a> {
    /// A gap, what was collected, or what was deleted: only its length is left.
    Gone,
    Text(&'a str),
    /// So many values, in their encoding.
    Values(&'a [u8]),
}

pub(super) const SKIP: u8 = 10;
pub(super) const COLLECTED: u8 = 0;
pub(super) const DELETED: u8 = 1;
pub(super) const STRING: u8 = 4;
pub(super) const ANY: u8 = 8;
pub(super) const HAS_ORIGIN: u8 = 0x80;
pub(super) const HAS_RIGHT: u8 = 0x40;
pub(super) const HAS_KEY: u8 = 0x20;

/// Checks an update, and tells what it holds.
pub(super) fn look(kind: Kind, source: Source, update: &[u8]) -> Result<Seen, Why> {
    let parsed = parse(kind, source, update)?;
    let blocks = parsed.writers.iter().flat_map(|writer| &writer.blocks);
    let astral = blocks.into_iter().any(|block| matches!(block.content, Content::Text(text) if is_astral(text)));
    let clients = parsed.writers.iter().map(|writer| writer.client).collect();
    Ok(Seen { clients, astral, single: single(&parsed) })
}

fn single(parsed: &Parsed<'_>) -> Option<Single> {
    match (parsed.writers.as_slice(), parsed.deletions.as_slice()) {
        ([writer], []) => match writer.blocks.as_slice() {
            [Block { content: Content::Text(text), .. }] => {
                Some(Single::Insert((writer.client, writer.clock), (*text).into()))
            }
            _ => None,
        },
        ([], [Deletions { client, ranges }]) => match ranges.as_slice() {
            [(clock, len)] => Some(Single::Delete((*client, *clock), *len)),
            _ => None,
        },
        _ => None,
    }
}

/// There is a character outside the plane whose characters take one UTF-16 unit.
pub(super) fn is_astral(text: &str) -> bool {
    text.bytes().any(|byte| byte >= 0xf0)
}

/// Parses an update to its last byte.
pub(super) fn parse(kind: Kind, source: Source, update: &[u8]) -> Result<Parsed<'_>, Why> {
    let mut reader = Reader::new(update);
    let mut writers: Vec<Writer<'_>> = Vec::new();
    for _ in 0..reader.count()? {
        let writer = writer(kind, source, &mut reader)?;
        writers.push(writer);
    }
    if source == Source::Op && writers.len() > 1 {
        return Err("edits of more than one client");
    }
    distinct(writers.iter().map(|writer| writer.client))?;
    let mut deletions = Vec::new();
    for _ in 0..reader.count()? {
        deletions.push(deleted(&mut reader)?);
    }
    distinct(deletions.iter().map(|deletions| deletions.client))?;
    if !reader.is_empty() {
        return Err("bytes after the update");
    }
    if writers.is_empty() && deletions.is_empty() && source == Source::Op {
        return Err("an update without edits");
    }
    Ok(Parsed { writers, deletions })
}

fn writer<'a>(kind: Kind, source: Source, reader: &mut Reader<'a>) -> Result<Writer<'a>, Why> {
    let count = reader.count()?;
    let (client, clock) = reader.id()?;
    let mut next = clock;
    let mut blocks = Vec::new();
    for _ in 0..count {
        let block = block(kind, source, reader)?;
        for (other, at) in block.origin.iter().chain(&block.right) {
            if *other == client && *at >= next {
                return Err("a block beside a later one of its own client");
            }
        }
        next = end(next, block.len)?;
        blocks.push(block);
    }
    if blocks.is_empty() {
        return Err("a client without blocks");
    }
    Ok(Writer { client, clock, blocks })
}

fn block<'a>(kind: Kind, source: Source, reader: &mut Reader<'a>) -> Result<Block<'a>, Why> {
    let info = reader.byte()?;
    if info == SKIP || info == COLLECTED {
        if source == Source::Op {
            return Err("a gap");
        }
        return Ok(Block { info, origin: None, right: None, key: None, content: Content::Gone, len: reader.len()? });
    }
    let origin = if info & HAS_ORIGIN != 0 { Some(reader.id()?) } else { None };
    let right = if info & HAS_RIGHT != 0 { Some(reader.id()?) } else { None };
    let key = if origin.is_none() && right.is_none() { parent(kind, info, reader)? } else { None };
    let (content, len) = content(kind, info & 0x1f, reader)?;
    Ok(Block { info, origin, right, key, content, len })
}

/// A block without neighbours names its parent; one with neighbours takes theirs.
fn parent<'a>(kind: Kind, info: u8, reader: &mut Reader<'a>) -> Result<Option<&'a str>, Why> {
    if reader.u32()? != 1 || reader.text()? != kind.root() {
        return Err("a parent that isn't the document");
    }
    if (info & HAS_KEY != 0) != (kind == Kind::Map) {
        return Err("a key where there is none, or none where there is one");
    }
    if kind != Kind::Map {
        return Ok(None);
    }
    let key = reader.text()?;
    if key.len() > MAX_KEY {
        return Err("a key that is too long");
    }
    Ok(Some(key))
}

fn content<'a>(kind: Kind, form: u8, reader: &mut Reader<'a>) -> Result<(Content<'a>, u32), Why> {
    match (form, kind) {
        (DELETED, _) => Ok((Content::Gone, reader.len()?)),
        (STRING, Kind::Text) => {
            let text = reader.text()?;
            let units = text.encode_utf16().count();
            if units == 0 {
                return Err("an empty text");
            }
            Ok((Content::Text(text), u32::try_from(units).map_err(|_| "a text that is too long")?))
        }
        (ANY, Kind::Map | Kind::Array) => {
            let len = reader.len()?;
            if kind == Kind::Map && len != 1 {
                return Err("a key with more than one value");
            }
            let values = reader.spanned(|reader| (0..len).try_for_each(|_| value(reader)))?;
            Ok((Content::Values(values), len))
        }
        _ => Err("content of another kind of document"),
    }
}

/// Reads over one value: those that [`super::value`] writes, in its form.
pub(super) fn value(reader: &mut Reader<'_>) -> Result<(), Why> {
    match reader.byte()? {
        126 | 121 | 120 => Ok(()),
        125 => reader.signed(),
        124 => reader.take(4).map(|_| ()),
        123 => reader.take(8).map(|_| ()),
        119 => match reader.text()?.len() {
            0..=MAX_VALUE => Ok(()),
            _ => Err("a value that is too long"),
        },
        116 => match reader.bytes()? {
            [super::value::WIDE, rest @ ..] if rest.len() == 8 => Ok(()),
            [super::value::PLAIN, rest @ ..] if rest.len() <= MAX_VALUE => Ok(()),
            _ => Err("a value that is too long, or unknown"),
        },
        _ => Err("a value of an unknown kind"),
    }
}

fn deleted(reader: &mut Reader<'_>) -> Result<Deletions, Why> {
    let client = reader.client()?;
    let mut ranges = Vec::new();
    let mut from = 0;
    for _ in 0..reader.count()? {
        let (clock, len) = (reader.u32()?, reader.len()?);
        if clock < from {
            return Err("deletions out of order");
        }
        from = end(clock, len)?;
        ranges.push((clock, len));
    }
    if ranges.is_empty() {
        return Err("a client without deletions");
    }
    Ok(Deletions { client, ranges })
}

fn end(clock: u32, len: u32) -> Result<u32, Why> {
    clock.checked_add(len).filter(|end| *end <= MAX_CLOCK).ok_or("a clock beyond the limit")
}

fn distinct(clients: impl Iterator<Item = u64>) -> Result<(), Why> {
    let mut clients: Vec<u64> = clients.collect();
    clients.sort_unstable();
    if clients.windows(2).any(|pair| pair[0] == pair[1]) { Err("a client twice") } else { Ok(()) }
}
