//! The target's side of a transfer: what is needed, found, asked for, missing. It knows no links and no time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::list::ChunkList;
use super::plan::{Plan, Verified};
use crate::data::{Entry, ListRef, Manifest, Pick};
use crate::limits::{FETCH_WINDOW, LONG_WINDOW, MAX_MANIFEST, MAX_PATH, MAX_RANGES, MAX_REFETCH};
use crate::wire::codec::decode;
use crate::wire::{Announced, Hash, PartId, Range, SessionId, Text};
use crate::{Clause, Code, Rules, Violation};

/// How a session's data comes to a device that lacks some of it.
///
/// The manifest comes first; then, at most [`FETCH_WINDOW`] blobs at a time, each blob's chunk list if it has one,
/// and its content. Each is looked for on the device itself before it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fetch {
    rules: Rules,
    session: SessionId,
    root: Hash,
    manifest: Option<Manifest>,
    /// What is needed was named one by one, without a manifest.
    named: bool,
    /// The content that is complete.
    got: BTreeSet<Hash>,
    /// Of this what isn't long, until it is taken.
    short: BTreeSet<Hash>,
    held: BTreeSet<Hash>,
    /// The paths of what is needed and has a chunk list, by blob.
    paths: BTreeMap<Hash, Path>,
    /// What is being worked on, by the blob that is looked for or asked for now.
    active: BTreeMap<Hash, Item>,
    /// In the order in which they are got: the lower first, then as they were named.
    waiting: BTreeMap<(Turn, u64), Need>,
    /// How often something was made to wait.
    queued: u64,
    /// The content that is or was needed.
    blobs: BTreeSet<Hash>,
    /// The chunk lists that are or were needed.
    lists: BTreeSet<Hash>,
    /// What of the manifest's content is got.
    pick: Pick,
    /// What the user wants first.
    first: BTreeSet<Path>,
    outside: Outside,
    /// The needs that aren't met yet, here and in `active`.
    open: usize,
    done: u64,
    total: u64,
}

/// A path of a session.
pub(crate) type Path = Text<MAX_PATH>;

/// A blob to ask a peer for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The blob.
    pub blob: Hash,
    /// Its length in bytes.
    pub len: u64,
    /// What of it is wanted; empty means all of it, with GET.
    pub ranges: Vec<Range>,
    /// Its plan.
    pub plan: Arc<Plan>,
    /// Whether it is long content, or the chunk list of such.
    pub long: bool,
}

/// Requests of the same session that are outstanding and weren't made for this fetch. They take room in its windows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outside {
    /// The blobs whose answers are taken in from the same device, and whether each is long: they aren't asked for meanwhile.
    pub(crate) kept: BTreeMap<Hash, bool>,
    /// How many others there are to the same device.
    pub(crate) others: usize,
    /// How many others there are for long content, to whatever device.
    pub(crate) long: usize,
}

impl Wanted {
    /// How many bytes are wanted.
    pub fn bytes(&self) -> u64 {
        if self.ranges.is_empty() { self.len } else { self.ranges.iter().map(|range| range.len).sum() }
    }
}

/// How the answer to a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BulkEnd {
    /// All streams came to their ends.
    Finished,
    /// A stream broke off before its end.
    Lost,
    /// A chunk didn't match its plan.
    Corrupt,
}

impl Fetch {
    /// Starts to get the data that a peer announced for `session`, and of its content what is picked.
    ///
    /// Errors: DATA-MANIFEST-5, `LIMIT_MANIFEST`, if the manifest is empty or longer than [`MAX_MANIFEST`].
    pub fn new(rules: Rules, session: SessionId, data: Announced, pick: Pick) -> Result<Fetch, Violation> {
        let sized = (1..=MAX_MANIFEST).contains(&(data.manifest_len as usize));
        rules.ensure(Clause::DATA_MANIFEST_5, sized, Code::LIMIT_MANIFEST)?;
        let item = Item::new(
            Plan::meta(data.manifest, data.manifest_len),
            Then::Manifest,
            Turn { later: false, long: false, fresh: true, len: 0 },
        );
        let active = BTreeMap::from([(data.manifest, item)]);
        Ok(Fetch { root: data.root, active, named: false, pick, ..Fetch::contents(rules, session, []) })
    }

    /// Starts to get the content of entries that sync brought.
    pub fn contents(rules: Rules, session: SessionId, entries: impl IntoIterator<Item = Entry>) -> Fetch {
        let mut fetch = Fetch {
            rules,
            session,
            root: Hash::ZERO,
            manifest: None,
            named: true,
            got: BTreeSet::new(),
            short: BTreeSet::new(),
            held: BTreeSet::new(),
            paths: BTreeMap::new(),
            active: BTreeMap::new(),
            waiting: BTreeMap::new(),
            queued: 0,
            blobs: BTreeSet::new(),
            lists: BTreeSet::new(),
            pick: Pick::all(),
            first: BTreeSet::new(),
            outside: Outside::default(),
            open: 0,
            done: 0,
            total: 0,
        };
        fetch.need(entries);
        fetch
    }

    /// Gets the content of more entries that sync brought, too. Meaningful for [`Fetch::contents`] alone.
    pub fn more(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.need(entries);
    }

    /// What lies at these paths is got before all else that isn't being got yet (TRANSFER-ORDER-1).
    pub(crate) fn want_first(&mut self, paths: BTreeSet<Path>) {
        self.first = paths;
        for ((turn, at), need) in core::mem::take(&mut self.waiting) {
            let path = match &need {
                Need::Blob { path, .. } => Some(path),
                Need::Content(plan) => self.paths.get(&plan.blob()),
            };
            let later = !path.is_some_and(|path| self.first.contains(path));
            self.waiting.insert((Turn { later, ..turn }, at), need);
        }
    }

    /// From now on this is outstanding besides (TRANSFER-ORDER-2).
    pub(crate) fn leave_room(&mut self, outside: Outside) {
        self.outside = if self.rules.keeps(Clause::TRANSFER_ORDER_2) { outside } else { Outside::default() };
    }

    /// Whether a blob is or was needed, or may turn out to be, as the manifest isn't here.
    pub(crate) fn may_need(&self, blob: &Hash) -> bool {
        let known = self.named || self.manifest.is_some();
        !known || self.blobs.contains(blob) || self.lists.contains(blob)
    }

    /// The blobs of [`Fetch::contents`] that are complete.
    pub fn got(&self) -> BTreeSet<Hash> {
        self.got.clone()
    }

    /// The blobs that came since the last call, once nothing is waited for any more but long content.
    pub fn take_short(&mut self) -> BTreeSet<Hash> {
        let active = self.active.values().filter(|item| item.missing > 0).map(|item| item.turn);
        // What waits is in order: if its first is of the last class, so is all of it.
        let mut rest = active.chain(self.waiting.keys().next().map(|(turn, _)| *turn));
        if self.short.is_empty() || !rest.all(Turn::is_last) {
            return BTreeSet::new();
        }
        core::mem::take(&mut self.short)
    }

    /// Goes on without a blob that the peer doesn't have. Meaningful for [`Fetch::contents`] alone.
    pub fn skip(&mut self, blob: Hash) {
        if self.active.remove(&blob).is_some_and(|item| item.missing > 0) {
            self.met();
        }
    }

    /// Whether something of a blob is missing that is looked for or asked for.
    pub fn wants(&self, blob: &Hash) -> bool {
        self.active.get(blob).is_some_and(|item| item.missing > 0)
    }

    /// Gets no content any more that isn't among this, and goes on with the rest. The blobs that were looked for or asked
    /// for of what is left out, and whether anything is. Meaningful for [`Fetch::contents`] alone.
    pub(crate) fn keep_only(&mut self, wanted: &BTreeSet<Hash>) -> (BTreeSet<Hash>, bool) {
        let mut left = BTreeMap::new();
        let (mut lists, mut asked) = (Vec::new(), BTreeSet::new());
        for (_, need) in self.waiting.extract_if(.., |_, need| !wanted.contains(&need.content().0)) {
            left.extend([need.content()]);
            lists.push(need.key());
            self.open = self.open.saturating_sub(1);
        }
        let unwanted = |key: &Hash, item: &Item| {
            item.missing > 0 && item.content(key).is_some_and(|(blob, _)| !wanted.contains(&blob))
        };
        for (key, item) in self.active.extract_if(.., |key, item| unwanted(key, item)) {
            left.extend(item.content(&key));
            lists.push(key);
            asked.insert(key);
            self.open = self.open.saturating_sub(1);
            self.done = self.done.saturating_sub(item.held());
        }
        let any = !lists.is_empty();
        for list in &lists {
            self.lists.remove(list);
        }
        for (blob, len) in left {
            self.paths.remove(&blob);
            // One whose list alone was lacking is here.
            if !self.got.contains(&blob) && !self.held.contains(&blob) && self.blobs.remove(&blob) {
                self.total = self.total.saturating_sub(len);
            }
        }
        (asked, any)
    }

    /// Tells, before anything else, which blobs the device holds complete and durable because its own data of the
    /// session names them: chunk lists too. They are neither looked for nor asked for.
    pub fn hold(&mut self, blobs: impl IntoIterator<Item = Hash>) {
        self.held.extend(blobs);
    }

    /// The next blob to look for on the device itself. Each is named once; [`Fetch::on_searched`] answers.
    pub fn next_search(&mut self) -> Option<Arc<Plan>> {
        self.fill();
        let item = self.active.values_mut().find(|item| item.phase == Phase::New)?;
        item.phase = Phase::Searching;
        Some(item.plan.clone())
    }

    /// The path of content that is needed and has a chunk list: what lay there before may share chunks with it.
    pub(crate) fn path_of(&self, blob: &Hash) -> Option<&Path> {
        self.paths.get(blob)
    }

    /// The search for a blob is over: what was found came by [`Fetch::on_chunk`].
    pub fn on_searched(&mut self, blob: Hash) {
        let item = self.active.get_mut(&blob).filter(|item| item.phase == Phase::Searching);
        item.into_iter().for_each(|item| item.phase = Phase::Wanted);
    }

    /// Takes in a verified chunk, found or received. One that isn't needed changes nothing.
    ///
    /// Errors: those of [`Manifest::open`] and DATA-ROOT-1 for the manifest, those of [`Plan::listed`] and WIRE-* for a
    /// chunk list. The fetch can't complete then.
    pub fn on_chunk(&mut self, chunk: &Verified) -> Result<(), Violation> {
        let Some(item) = self.active.get_mut(&chunk.blob()) else { return Ok(()) };
        if !item.take(chunk) {
            return Ok(());
        }
        if !item.plan.is_meta() {
            self.done = self.done.saturating_add(u64::from(chunk.len()));
        }
        if item.missing > 0 {
            return Ok(());
        }
        let (then, turn) = (item.then, item.turn);
        // While the answer to a request lasts, its blob stays, so that streams still on their way are expected.
        if !matches!(item.phase, Phase::Asked { .. }) {
            self.active.remove(&chunk.blob());
        }
        match then {
            Then::Manifest => self.unfold(chunk.bytes().unwrap_or_default()),
            Then::List { blob, len, content } => {
                self.got.insert(chunk.blob());
                let list: ChunkList = decode(self.rules, chunk.bytes().unwrap_or_default())?;
                let plan = Plan::listed(self.rules, blob, len, &list)?;
                if content {
                    self.wait(Turn { fresh: false, ..turn }, Need::Content(Arc::new(plan)));
                } else {
                    self.met()
                }
                Ok(())
            }
            Then::Nothing => {
                self.got.insert(chunk.blob());
                if !turn.is_last() {
                    self.short.insert(chunk.blob());
                }
                self.met();
                Ok(())
            }
        }
    }

    /// The next blob to ask for, if there is room in the window. `resume`: the link has RANGES, from generation 2.
    pub fn next_request(&mut self, resume: bool) -> Option<Wanted> {
        self.fill();
        let asked = self.active.values().filter(|item| matches!(item.phase, Phase::Asked { .. })).count();
        let outside = &self.outside;
        if asked.saturating_add(outside.kept.len()).saturating_add(outside.others) >= FETCH_WINDOW {
            return None;
        }
        let ordered = self.rules.keeps(Clause::TRANSFER_ORDER_1);
        let unasked = self.active.iter_mut().filter(|(blob, _)| !outside.kept.contains_key(*blob));
        let unasked = unasked.map(|(_, item)| item).filter(|item| !matches!(item.phase, Phase::Asked { .. }));
        let turn = |item: &Item| if ordered { item.turn } else { item.turn.reversed() };
        // What goes first and is still looked for is waited for: it is asked for next, if it isn't here.
        let next = unasked.min_by_key(|item| (turn(item).class(), item.phase != Phase::Wanted, turn(item)));
        let item = next.filter(|item| item.phase == Phase::Wanted)?;
        let (blob, len) = (item.plan.blob(), item.plan.len());
        let resume = resume && self.rules.keeps(Clause::TRANSFER_RESUME_1) && item.missing < item.plan.chunks();
        let whole = || Vec::from([Range { offset: 0, len }]);
        let ranges = if resume { item.missing_ranges() } else { whole() };
        item.phase = Phase::Asked { ranges: ranges.clone(), brought: false };
        let (plan, long) = (item.plan.clone(), item.turn.long);
        Some(Wanted { blob, len, ranges: if resume { ranges } else { Vec::new() }, plan, long })
    }

    /// The plan, the first chunk and the number of chunks of a stream that brings `len` bytes from `offset`.
    ///
    /// Errors: TRANSFER-BYTES-1, `WIRE_STATE`, if they weren't asked for; TRANSFER-BYTES-2, `WIRE_VALUE`, if they
    /// don't start and end at chunks.
    pub fn accepts(&self, blob: Hash, offset: u64, len: u64) -> Result<(Arc<Plan>, u32, u32), Violation> {
        let unknown = Violation::new(Code::WIRE_STATE, Clause::TRANSFER_BYTES_1);
        let item = self.active.get(&blob).ok_or(unknown)?;
        let (first, count) = item.plan.accepts(self.rules, item.asked(), offset, len)?;
        Ok((item.plan.clone(), first, count))
    }

    /// The whole answer to the request for a blob is over. What is missing can be asked for again.
    ///
    /// Errors: TRANSFER-REFETCH-1 after too many answers that were corrupt (`DATA_HASH`) or came to their end without
    /// bringing anything (`DATA_UNAVAILABLE`).
    pub fn on_end(&mut self, blob: Hash, end: BulkEnd) -> Result<(), Violation> {
        let Some(item) = self.active.get_mut(&blob) else { return Ok(()) };
        let Some(brought) = item.end_answer() else { return Ok(()) };
        if item.missing == 0 {
            self.active.remove(&blob);
            return Ok(());
        }
        let code = match end {
            BulkEnd::Corrupt => Code::DATA_HASH,
            BulkEnd::Finished if !brought => Code::DATA_UNAVAILABLE,
            // Links break without anybody's fault, as often as they like.
            BulkEnd::Finished | BulkEnd::Lost => return Ok(()),
        };
        item.bad = item.bad.saturating_add(1);
        self.rules.ensure(Clause::TRANSFER_REFETCH_1, item.bad <= MAX_REFETCH, code)
    }

    /// The link is gone: all that was asked for and is missing can be asked for again.
    pub fn on_link_down(&mut self) {
        for item in self.active.values_mut() {
            let _ = item.end_answer();
        }
        self.active.retain(|_, item| item.missing > 0);
    }

    /// The manifest, once it is known and checked.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Whether every blob that is needed is held, or was skipped.
    pub fn is_complete(&self) -> bool {
        (self.manifest.is_some() || self.named) && self.open == 0
    }

    /// Bytes of content held, and in all; 0 of 0 before the manifest is known.
    pub fn progress(&self) -> (u64, u64) {
        (self.done, self.total)
    }

    /// Reads the manifest and notes what it needs.
    fn unfold(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let manifest = Manifest::open(self.rules, bytes, &self.session)?;
        self.rules.ensure(Clause::DATA_ROOT_1, manifest.root() == self.root, Code::DATA_ROOT)?;
        let (pick, session) = (core::mem::take(&mut self.pick), self.session);
        let all = !self.rules.keeps(Clause::HO_PICK_2);
        let picked = |part: &PartId, entry: &Entry| all || pick.picks(&session, part, &entry.path);
        let files = manifest.parts.iter().flat_map(|part| part.entries().map(move |entry| (part.part, entry)));
        let files = files.filter(|(part, entry)| entry.is_file() && picked(part, entry)).map(|(_, entry)| entry);
        self.need(files);
        self.pick = pick;
        self.manifest = Some(manifest);
        Ok(())
    }

    /// Notes what entries need.
    fn need(&mut self, entries: impl IntoIterator<Item = Entry>) {
        // Empty content needs nothing, and neither does a directory.
        for entry in entries.into_iter().filter(|entry| entry.len > 0) {
            let list = entry.chunks.get().cloned();
            let new = |list: &ListRef| self.lists.insert(list.hash) && !self.held.contains(&list.hash);
            let new_list = list.as_ref().is_some_and(new);
            let new_blob = self.blobs.insert(entry.blob);
            let held = self.held.contains(&entry.blob);
            if new_blob {
                self.total = self.total.saturating_add(entry.len);
                self.done = self.done.saturating_add(if held { entry.len } else { 0 });
            }
            // Whoever holds content longer than a chunk holds its list, to serve it.
            if (new_blob && !held) || new_list {
                let content = new_blob && !held;
                let (later, long) = (!self.first.contains(&entry.path), list.is_some());
                if content && list.is_some() {
                    self.paths.insert(entry.blob, entry.path.clone());
                }
                let Entry { path, len, blob, .. } = entry;
                self.wait(Turn { later, long, fresh: true, len }, Need::Blob { path, blob, len, list, content });
                self.open += 1;
            }
        }
    }

    fn wait(&mut self, turn: Turn, need: Need) {
        self.queued = self.queued.saturating_add(1);
        self.waiting.insert((turn, self.queued), need);
    }

    /// Moves what waits into the window. Long content leaves room in it for what is short and comes later
    /// (TRANSFER-ORDER-2).
    fn fill(&mut self) {
        let most = if self.rules.keeps(Clause::TRANSFER_ORDER_2) { LONG_WINDOW } else { FETCH_WINDOW };
        let (mut all, mut long) = self.in_window();
        while all < FETCH_WINDOW {
            // A file may have the bytes of another's chunk list. The two are got one after the other, so that a blob's
            // hash always names one of them only.
            let full = long >= most;
            let waiting = self.waiting.iter().take_while(|((turn, _), _)| !(full && turn.is_last()));
            let mut first = waiting.filter(|((turn, _), _)| !(full && turn.long)).take(FETCH_WINDOW);
            let Some(at) = first.find(|(_, need)| !self.active.contains_key(&need.key())).map(|(at, _)| *at) else {
                return;
            };
            let Some(need) = self.waiting.remove(&at) else { return };
            if !self.outside.kept.contains_key(&need.key()) {
                all += 1;
                long += usize::from(at.0.long);
            }
            self.active.insert(need.key(), need.into_item(at.0));
        }
    }

    /// How many blobs are worked on or outstanding, and how many of these are long.
    fn in_window(&self) -> (usize, usize) {
        let beside = self.outside.kept.iter().filter(|(blob, _)| !self.active.contains_key(*blob));
        let long = self.active.values().map(|item| item.turn.long).chain(beside.map(|(_, long)| *long));
        let own = long.fold((0, 0), |(all, of_long), long| (all + 1, of_long + usize::from(long)));
        (own.0 + self.outside.others, own.1 + self.outside.long)
    }

    fn met(&mut self) {
        self.open = self.open.saturating_sub(1);
    }
}

/// What has to be got yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Need {
    /// A blob, its chunk list first; or with `content` false that list alone.
    Blob { path: Path, blob: Hash, len: u64, list: Option<ListRef>, content: bool },
    /// Content whose chunk list is known.
    Content(Arc<Plan>),
}

impl Need {
    /// The blob that is got first.
    fn key(&self) -> Hash {
        match self {
            Need::Blob { blob, list, .. } => list.as_ref().map_or(*blob, |list| list.hash),
            Need::Content(plan) => plan.blob(),
        }
    }

    /// The content that it is for, and its length.
    fn content(&self) -> (Hash, u64) {
        match self {
            Need::Blob { blob, len, .. } => (*blob, *len),
            Need::Content(plan) => (plan.blob(), plan.len()),
        }
    }

    fn into_item(self, turn: Turn) -> Item {
        match self {
            Need::Blob { blob, len, list: Some(list), content, .. } => {
                Item::new(Plan::meta(list.hash, list.len), Then::List { blob, len, content }, turn)
            }
            Need::Blob { blob, len, list: None, .. } => Item::new(Plan::small(blob, len), Then::Nothing, turn),
            Need::Content(plan) => Item::shared(plan, Then::Nothing, turn),
        }
    }
}

/// Which of what is needed is got first: the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Turn {
    /// The user doesn't want it first.
    later: bool,
    /// It is longer than a chunk: content, or its chunk list.
    long: bool,
    /// Its chunk list isn't here yet, if it has one.
    fresh: bool,
    len: u64,
}

impl Turn {
    /// What is asked for only after all of a lower class.
    fn class(self) -> (bool, bool) {
        (self.later, self.long)
    }

    fn is_last(self) -> bool {
        self.later && self.long
    }

    /// What a receiver does that doesn't care.
    fn reversed(self) -> Turn {
        Turn { long: !self.long, ..self }
    }
}

/// A blob that is looked for or asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Item {
    plan: Arc<Plan>,
    then: Then,
    turn: Turn,
    phase: Phase,
    /// One bit a chunk: whether it is held.
    have: Vec<u64>,
    /// The chunks not held.
    missing: u32,
    /// The bad answers so far.
    bad: u32,
}

/// What a complete blob leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    Manifest,
    List { blob: Hash, len: u64, content: bool },
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    New,
    Searching,
    Wanted,
    Asked { ranges: Vec<Range>, brought: bool },
}

impl Item {
    fn new(plan: Plan, then: Then, turn: Turn) -> Item {
        Item::shared(Arc::new(plan), then, turn)
    }

    fn shared(plan: Arc<Plan>, then: Then, turn: Turn) -> Item {
        let missing = plan.chunks();
        let have = alloc::vec![0; (missing as usize).div_ceil(64)];
        Item { plan, then, turn, phase: Phase::New, have, missing, bad: 0 }
    }

    /// The content that it is for, and its length, by the blob that is looked for or asked for; none for a manifest.
    fn content(&self, key: &Hash) -> Option<(Hash, u64)> {
        match self.then {
            Then::Manifest => None,
            Then::List { blob, len, .. } => Some((blob, len)),
            Then::Nothing => Some((*key, self.plan.len())),
        }
    }

    /// The bytes of content that it holds.
    fn held(&self) -> u64 {
        let chunks = (0..self.plan.chunks()).filter(|index| !self.plan.is_meta() && self.has(*index));
        chunks.filter_map(|index| self.plan.chunk(index)).map(|chunk| u64::from(chunk.len)).sum()
    }

    fn has(&self, index: u32) -> bool {
        self.have.get(index as usize / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Notes a chunk; false if it is held already or isn't one of this very plan.
    fn take(&mut self, chunk: &Verified) -> bool {
        let index = chunk.index();
        let is_ours = self.plan.is_meta() == chunk.bytes().is_some() && self.plan.chunk(index) == Some(chunk.chunk());
        if !is_ours || self.has(index) {
            return false;
        }
        let Some(word) = self.have.get_mut(index as usize / 64) else { return false };
        *word |= 1 << (index % 64);
        self.missing = self.missing.saturating_sub(1);
        if let Phase::Asked { brought, .. } = &mut self.phase {
            *brought = true;
        }
        true
    }

    /// What was asked for and isn't answered.
    fn asked(&self) -> &[Range] {
        if let Phase::Asked { ranges, .. } = &self.phase { ranges } else { &[] }
    }

    /// Makes what was asked for askable again; none if nothing was, else whether the answer brought anything.
    fn end_answer(&mut self) -> Option<bool> {
        let Phase::Asked { brought, .. } = self.phase else { return None };
        self.phase = Phase::Wanted;
        Some(brought)
    }

    /// The first ranges of chunks not held, as many as fit a request.
    fn missing_ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for chunk in (0..self.plan.chunks()).filter(|index| !self.has(*index)).filter_map(|at| self.plan.chunk(at)) {
            let full = ranges.len() == MAX_RANGES;
            match ranges.last_mut().filter(|last| last.offset + last.len == chunk.offset) {
                Some(last) => last.len += u64::from(chunk.len),
                None if full => break,
                None => ranges.push(Range { offset: chunk.offset, len: u64::from(chunk.len) }),
            }
        }
        ranges
    }
}
