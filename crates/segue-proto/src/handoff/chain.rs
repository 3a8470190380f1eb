//! The chain of records: what follows from what, and which record is the head.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::hash::{Hash as Hashable, Hasher};

use crate::clause::{Clause, Rules};
use crate::data::session_id;
use crate::limits::{MAX_CHAIN, MAX_RECORDS};
use crate::wire::{DeviceId, Hash, Kind, Proven, Record, SessionId, Signed};
use crate::{Code, Violation};

/// The records of a session that this device knows, all branches, and the highest of them.
///
/// Only records that follow from their parents get in, so whatever is in it was signed by the key that its parent
/// names, back to the genesis (a takeover: by a member).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    session: SessionId,
    nodes: BTreeMap<Hash, Arc<Node>>,
    head: Arc<Node>,
    /// From the genesis to the head, so that a record's place is its `n`. A view of the session shares it.
    line: Arc<Vec<Arc<Proven<Record>>>>,
    /// Ascending. The genesis names them, and every owner becomes one.
    members: Arc<Vec<DeviceId>>,
    /// Ascending: whom any record names as grantor.
    grantors: Arc<Vec<DeviceId>>,
}

/// The records say all; the rest of a chain follows from them.
impl Hashable for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nodes.hash(state);
        self.head.hash(state);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Node {
    record: Arc<Proven<Record>>,
    /// The takeover that opened the term; zero in term 0.
    opener: Hash,
}

/// What a record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// It wasn't known before.
    pub new: bool,
    /// It is the head now, and was not before.
    pub head: bool,
    /// Another record of the same signer with the same parent in the same term: evidence against the signer.
    pub rival: Option<Hash>,
}

impl Chain {
    /// Starts a chain with its genesis.
    pub fn start(rules: Rules, genesis: Proven<Record>) -> Result<Chain, Violation> {
        check_genesis(rules, genesis.body())?;
        let session = genesis.body().session;
        let id = genesis.id();
        let record = Arc::new(genesis);
        let head = Arc::new(Node { record: record.clone(), opener: Hash::ZERO });
        let mut chain = Chain {
            session,
            nodes: BTreeMap::from([(id, head.clone())]),
            head,
            line: Arc::new(alloc::vec![record.clone()]),
            members: Arc::default(),
            grantors: Arc::default(),
        };
        chain.count(record.body());
        Ok(chain)
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The head: the highest record.
    pub fn head(&self) -> &Proven<Record> {
        &self.head.record
    }

    /// A record by its id.
    pub fn get(&self, id: &Hash) -> Option<&Proven<Record>> {
        self.nodes.get(id).map(|node| &*node.record)
    }

    /// Every record, in the order of their ids.
    pub fn records(&self) -> impl Iterator<Item = &Proven<Record>> {
        self.nodes.values().map(|node| &*node.record)
    }

    /// Takes a record in, if it follows from one that is known.
    pub fn admit(&mut self, rules: Rules, record: Proven<Record>) -> Result<Admitted, Violation> {
        let id = record.id();
        if self.nodes.contains_key(&id) {
            return Ok(Admitted { new: false, head: false, rival: None });
        }
        let parent = self.check(rules, &record)?.clone();
        let rival = self.rival(&record);
        let opener = if record.body().kind == Kind::Takeover.number() { id } else { parent.opener };
        let node = Arc::new(Node { record: Arc::new(record), opener });
        let higher = node.rank() > self.head.rank() || !rules.keeps(Clause::HO_HEAD_1);
        self.count(node.record.body());
        self.nodes.insert(id, node.clone());
        if higher {
            self.lead(node);
        }
        Ok(Admitted { new: true, head: higher, rival })
    }

    /// Makes a record that is known the head.
    fn lead(&mut self, head: Arc<Node>) {
        if head.record.body().parent == self.head.record.id() {
            Arc::make_mut(&mut self.line).push(head.record.clone());
        } else {
            let behind = |node: &&Arc<Node>| self.nodes.get(&node.record.body().parent);
            let mut line: Vec<_> =
                core::iter::successors(Some(&head), behind).map(|node| node.record.clone()).collect();
            line.reverse();
            self.line = Arc::new(line);
        }
        self.head = head;
    }

    /// Those whom a record makes members, or grantors.
    fn count(&mut self, record: &Record) {
        let listed = record.genesis.iter().flat_map(|genesis| genesis.members.iter());
        listed.chain([&record.owner]).for_each(|device| note(&mut self.members, device));
        note(&mut self.grantors, &record.grantor);
    }

    /// The takeover that opened the head's term; none in the first.
    pub fn opener(&self) -> Option<&Proven<Record>> {
        self.get(&self.head.opener)
    }

    /// Whether [`Chain::admit`] would take the record in.
    pub fn admits(&self, rules: Rules, record: &Proven<Record>) -> Result<(), Violation> {
        self.check(rules, record).map(|_| ())
    }

    /// The record's parent, if the record follows from it.
    fn check(&self, rules: Rules, record: &Proven<Record>) -> Result<&Arc<Node>, Violation> {
        let parent = match self.nodes.get(&record.body().parent) {
            Some(parent) => parent,
            None if rules.keeps(Clause::HO_CHAIN_1) => {
                return Err(Violation::new(Code::HO_CHAIN, Clause::HO_CHAIN_1));
            }
            None => &self.head,
        };
        rules.ensure(Clause::HO_CHAIN_1, record.body().session == self.session, Code::HO_CHAIN)?;
        self.check_follows(rules, parent.record.body(), record.body())?;
        if self.nodes.len() >= MAX_CHAIN {
            return Err(Violation::new(Code::LIMIT_ROOM, Clause::HO_CHAIN_1));
        }
        Ok(parent)
    }

    /// Whether `id` is the head or one of its ancestors.
    pub fn leads_to_head(&self, id: &Hash) -> bool {
        self.place(id).is_some()
    }

    /// From the genesis to the head, oldest first.
    pub fn line(&self) -> &Arc<Vec<Arc<Proven<Record>>>> {
        &self.line
    }

    /// The records behind `from` up to the head, oldest first; the whole line if `from` is no ancestor of the head.
    pub fn suffix(&self, from: &Hash) -> &[Arc<Proven<Record>>] {
        self.place(from).and_then(|place| self.line.get(place + 1..)).unwrap_or(&self.line)
    }

    /// Where a record stands in the line.
    fn place(&self, id: &Hash) -> Option<usize> {
        let place = usize::try_from(self.get(id)?.body().n).ok()?;
        self.line.get(place).filter(|record| record.id() == *id).map(|_| place)
    }

    /// The records behind `from` up to the head, as [`Chain::suffix`] gives them, in pages of at most so many bytes and
    /// MAX_RECORDS records; one page at least.
    pub fn pages(&self, from: &Hash, room: usize) -> Vec<Vec<Signed<Record>>> {
        let mut pages: Vec<Vec<_>> = alloc::vec![Vec::new()];
        let mut size = 0;
        for record in self.suffix(from) {
            let len = record.signed().body_bytes().len() + 66;
            size += len;
            if size > room || pages.last().is_some_and(|page| page.len() == MAX_RECORDS) {
                pages.push(Vec::new());
                size = len;
            }
            if let Some(page) = pages.last_mut() {
                page.push(record.signed().clone());
            }
        }
        pages
    }

    /// Whether one record that is known is higher than another that is.
    pub fn is_above(&self, high: &Hash, low: &Hash) -> bool {
        match (self.nodes.get(high), self.nodes.get(low)) {
            (Some(high), Some(low)) => high.rank() > low.rank(),
            _ => false,
        }
    }

    /// The record of those from the head back to `id` that follows `id`; none if `id` is the head or no ancestor of it.
    pub fn next_to_head(&self, id: &Hash) -> Option<&Proven<Record>> {
        self.place(id).and_then(|place| self.line.get(place + 1)).map(|record| &**record)
    }

    /// The tenure of the head's grantor: what the newest delegate by another hand names. None if no service was
    /// delegated to.
    pub fn tenure(&self) -> Option<Hash> {
        let grantor = self.head().body().grantor;
        let named = |record: &&Record| {
            record.kind == Kind::Delegate.number() && record.grantor == grantor && record.signer != grantor
        };
        self.line.iter().rev().map(|record| record.body()).find(named).map(|record| record.roster)
    }

    /// The records from the genesis to one that is known, oldest first.
    pub fn path(&self, id: &Hash) -> Vec<&Proven<Record>> {
        let behind = |record: &&Proven<Record>| self.get(&record.body().parent);
        let mut out: Vec<_> = core::iter::successors(self.get(id), behind).collect();
        out.reverse();
        out
    }

    /// Whether a record that is known follows `id` and is signed by its grantor: proof that its owner has it.
    pub fn continued(&self, id: &Hash) -> bool {
        let Some(parent) = self.get(id) else { return false };
        self.children(id).any(|child| child.body().signer == parent.body().grantor)
    }

    /// The session's members: the genesis names them, and every owner becomes one.
    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.members.binary_search(device).is_ok()
    }

    /// Whether a record names this device as grantor: it may know the chain, whether it is a member or not.
    pub fn is_grantor(&self, device: &DeviceId) -> bool {
        self.grantors.binary_search(device).is_ok()
    }

    /// Whether a record names this device as grantor beside an owner that isn't it: it is, or was, the session's service.
    pub fn is_service(&self, device: &DeviceId) -> bool {
        let serves = |record: &Proven<Record>| record.body().grantor == *device && record.body().owner != *device;
        self.is_grantor(device) && self.records().any(serves)
    }

    /// Every member, ascending.
    pub fn members(&self) -> &[DeviceId] {
        &self.members
    }

    /// The records that name `id` as their parent.
    pub fn children(&self, id: &Hash) -> impl Iterator<Item = &Proven<Record>> {
        // Most chains have no branches, and then only the line can hold one.
        let branched = self.nodes.len() > self.line.len();
        let next = self.place(id).and_then(|place| self.line.get(place + 1)).filter(|_| !branched);
        let others = branched.then(|| self.records().filter(move |record| record.body().parent == *id));
        next.map(|next| &**next).into_iter().chain(others.into_iter().flatten())
    }

    fn rival(&self, record: &Proven<Record>) -> Option<Hash> {
        let (parent, signer, term) = (record.body().parent, record.body().signer, record.body().term);
        let mut rivals =
            self.children(&parent).filter(|other| other.body().signer == signer && other.body().term == term);
        rivals.next().map(Proven::id)
    }

    fn check_follows(&self, rules: Rules, parent: &Record, record: &Record) -> Result<(), Violation> {
        let Some(kind) = Kind::from_number(record.kind) else {
            return Err(Violation::new(Code::WIRE_VALUE, Clause::WIRE_VALUE_1));
        };
        rules.ensure(Clause::HO_CHAIN_6, parent.kind != Kind::Close.number(), Code::HO_CLOSED)?;
        rules.ensure(Clause::HO_CHAIN_3, Some(record.n) == parent.n.checked_add(1), Code::HO_CHAIN)?;
        let term = if kind == Kind::Takeover { parent.term.checked_add(1) } else { Some(parent.term) };
        rules.ensure(Clause::HO_CHAIN_4, Some(record.term) == term, Code::HO_CHAIN)?;
        match kind {
            Kind::Takeover => {
                let own = record.owner == record.signer && record.grantor == record.signer;
                let fits = own && self.is_member(&record.signer) || is_by_lease(parent, record);
                rules.ensure(Clause::HO_CHAIN_5, fits, Code::HO_CHAIN)?;
            }
            _ => rules.ensure(Clause::HO_CHAIN_2, record.signer == parent.grantor, Code::HO_CHAIN)?,
        }
        rules.ensure(Clause::HO_CHAIN_8, fields_fit(kind, parent, record), Code::HO_CHAIN)
    }
}

impl Node {
    /// Head order: the highest (term, hash of the takeover that opened it), then n; of two equals the smaller id.
    fn rank(&self) -> (u64, Hash, u64, Reverse<Hash>) {
        (self.record.body().term, self.opener, self.record.body().n, Reverse(self.record.id()))
    }
}

/// Puts a device into its place in an ascending list. Zero is none.
fn note(list: &mut Arc<Vec<DeviceId>>, device: &DeviceId) {
    if let Err(place) = list.binary_search(device)
        && !device.is_zero()
    {
        Arc::make_mut(list).insert(place, *device);
    }
}

/// Whether a takeover is one by which a grantor that isn't the owner makes another device the owner.
fn is_by_lease(parent: &Record, record: &Record) -> bool {
    let service = record.signer == parent.grantor && parent.grantor != parent.owner;
    let other = !record.owner.is_zero() && record.owner != parent.owner && record.owner != record.signer;
    service && other && (record.grantor == record.signer || record.grantor == record.owner)
}

fn check_genesis(rules: Rules, record: &Record) -> Result<(), Violation> {
    let own = record.owner == record.signer && record.grantor == record.signer;
    let first = record.parent.is_zero() && record.term == 0 && record.n == 0;
    let fits = record.kind == Kind::Genesis.number() && own && first && !record.want.is_zero();
    let Some(genesis) = record.genesis.get().filter(|_| fits) else {
        return Err(Violation::new(Code::HO_CHAIN, Clause::HO_CHAIN_8));
    };
    let bound = record.session == session_id(&record.signer, &genesis.nonce);
    rules.ensure(Clause::HO_CHAIN_7, bound, Code::HO_CHAIN)
}

fn fields_fit(kind: Kind, parent: &Record, record: &Record) -> bool {
    let rest = record.genesis.get().is_none();
    rest && match kind {
        Kind::Genesis => false,
        Kind::Grant => {
            let grantor = record.grantor == record.owner || record.grantor == parent.grantor;
            !record.owner.is_zero() && grantor && !record.want.is_zero()
        }
        Kind::Delegate => record.owner == parent.owner && !record.grantor.is_zero() && record.want == parent.want,
        Kind::Takeover => !record.want.is_zero(),
        Kind::Close => record.owner.is_zero() && record.grantor.is_zero() && record.want.is_zero(),
    }
}
