//! How a state is announced: its manifest's encoding, its roots and what it weighs, which cost what changed since they were
//! made last.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::objects::Part;
use super::pages::Pages;
use super::roots::Roots;
use super::state::{PartState, State};
use crate::wire::codec::encode_into;
use crate::wire::{Announced, Hash, PartId};

/// What follows from all parts, as it was when somebody asked for it last, and what changed since. States that differ in it
/// alone are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Image(Option<Made>);

#[derive(Clone, Debug)]
struct Made {
    pages: Pages,
    /// The bytes before the parts.
    header: Vec<u8>,
    /// Where each part begins, as they stand in the roots.
    starts: Vec<usize>,
    roots: Roots,
    root: Hash,
    sums: Sums,
    /// What the parts that changed since were.
    stale: BTreeMap<PartId, Was>,
}

/// What parts of each kind there are and weigh, in bytes.
type Sums = BTreeMap<u16, (u32, u128)>;

#[derive(Clone, Copy, Debug, Default)]
struct Was {
    /// The bytes of its encoding: none if it wasn't there.
    len: usize,
    kind: u16,
    weight: u64,
}

impl Image {
    /// Notes that a part, or that none was there, isn't any more what it was.
    pub(super) fn note(&mut self, part: PartId, old: Option<&PartState>) {
        if let Some(made) = &mut self.0 {
            made.stale.entry(part).or_insert_with(|| old.map(Was::of).unwrap_or_default());
        }
    }

    /// Forgets all of it.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// The session's root, if nothing changed since it was made.
    pub(super) fn root(&self) -> Option<Hash> {
        Some(self.fresh()?.root)
    }

    /// The roots of the parts, if nothing changed since they were made.
    pub(super) fn roots(&self) -> Option<&Roots> {
        Some(&self.fresh()?.roots)
    }

    fn fresh(&self) -> Option<&Made> {
        self.0.as_ref().filter(|made| made.stale.is_empty())
    }
}

impl Was {
    fn of(held: &PartState) -> Was {
        Was { len: held.len(), kind: held.part.kind, weight: held.counted }
    }
}

impl PartialEq for Image {
    fn eq(&self, _: &Image) -> bool {
        true
    }
}

impl Eq for Image {}

impl core::hash::Hash for Image {
    fn hash<H: core::hash::Hasher>(&self, _: &mut H) {}
}

impl State {
    /// How the manifest is announced, and its encoding: as [`Manifest::announce`](super::Manifest::announce) says, without
    /// making a manifest.
    pub fn announce(&mut self) -> (Announced, Pages) {
        let made = self.made();
        let (root, manifest, pages) = (made.root, made.pages.hash(), made.pages.clone());
        // A manifest has at most MAX_MANIFEST bytes.
        let manifest_len = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        (Announced { root, manifest, manifest_len }, pages)
    }

    /// The roots of all parts.
    pub(crate) fn roots(&mut self) -> Roots {
        self.made().roots.clone()
    }

    /// Of all parts and of those whose roots aren't as in `roots` any more, if `counts` says so: how many there are of
    /// each kind, and the bytes that they weigh.
    pub(crate) fn changed_since(&mut self, roots: &Roots, counts: impl Fn(&Part) -> bool) -> (Sums, Sums) {
        let made = self.made();
        let (all, differ) = (made.sums.clone(), made.roots.differ(roots));
        let mut changed = Sums::new();
        for held in differ.iter().filter_map(|part| self.parts.get(part)).filter(|held| counts(&held.part)) {
            add(&mut changed, held);
        }
        (all, changed)
    }

    fn made(&mut self) -> &mut Made {
        let made = self.image.0.take().unwrap_or_else(|| Made {
            pages: Pages::default(),
            header: Vec::new(),
            starts: Vec::new(),
            roots: Roots::new(&self.session),
            root: Hash::ZERO,
            sums: Sums::new(),
            stale: BTreeMap::new(),
        });
        let made = self.renewed(made);
        self.image.0.insert(made)
    }

    /// Writes what changed in its place, and what is longer or shorter than it was with all that comes behind it.
    fn renewed(&mut self, mut made: Made) -> Made {
        let mut header = Vec::with_capacity(made.header.len());
        encode_into(&self.session, &mut header);
        encode_into(&self.name, &mut header);
        encode_into(&(self.parts.len() as u64), &mut header);
        let is_new = made.header.is_empty();
        if !is_new && made.stale.is_empty() {
            return made;
        }
        let stale = core::mem::take(&mut made.stale);
        for (id, was) in &stale {
            remove(&mut made.sums, *was);
            self.count(id, &mut made.sums);
        }
        if is_new {
            let all: Vec<PartId> = self.parts.keys().copied().collect();
            all.iter().for_each(|id| self.count(id, &mut made.sums));
        }
        if made.header.len() == header.len() {
            made.pages.write(0, &header);
            self.patch(&mut made, &stale);
        } else {
            made.pages.truncate(0);
            made.pages.extend(&header);
            self.follow(&mut made, 0, self.parts.values());
        }
        made.header = header;
        made.root = made.roots.root();
        made
    }

    /// Writes parts over what they were, as long as they are as long.
    fn patch(&self, made: &mut Made, stale: &BTreeMap<PartId, Was>) {
        for (id, was) in stale {
            let held = self.parts.get(id).filter(|held| held.len() == was.len);
            let at = made.roots.search(id);
            let start = made.starts.get(at.unwrap_or_else(|at| at)).copied().unwrap_or(made.pages.len());
            match (at, held) {
                (Ok(at), Some(held)) => {
                    made.pages.write(start, &held.bytes());
                    made.roots.set(at, &held.root());
                }
                (Ok(at) | Err(at), _) => {
                    made.pages.truncate(start);
                    return self.follow(made, at, self.parts.range(id..).map(|(_, held)| held));
                }
            }
        }
    }

    /// Has parts follow the first `before`, of whose bytes nothing else follows any more.
    fn follow<'a>(&self, made: &mut Made, before: usize, parts: impl Iterator<Item = &'a PartState>) {
        made.starts.truncate(before);
        made.roots.truncate(before);
        for held in parts {
            made.starts.push(made.pages.len());
            made.pages.extend(&held.bytes());
            made.roots.push(&held.part.part, &held.root());
        }
        made.roots.count();
    }

    /// Makes what isn't known of a part since ops came to it, and adds it to the sums.
    fn count(&mut self, id: &PartId, sums: &mut Sums) {
        let weight = self.weight(id);
        if let Some(held) = self.parts.get_mut(id) {
            held.know();
            held.counted = weight;
            add(sums, held);
        }
    }
}

fn add(sums: &mut Sums, held: &PartState) {
    let (parts, bytes) = sums.entry(held.part.kind).or_default();
    (*parts, *bytes) = (*parts + 1, *bytes + u128::from(held.counted));
}

fn remove(sums: &mut Sums, was: Was) {
    if was.len == 0 {
        return;
    }
    if let Some((parts, bytes)) = sums.get_mut(&was.kind) {
        (*parts, *bytes) = (*parts - 1, *bytes - u128::from(was.weight));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::objects::PartKind;
    use super::super::write::{NewOp, Replaces};
    use super::*;
    use crate::Rules;
    use crate::wire::{ActorId, Hlc, Nonce, SessionId};

    /// What may become of a part.
    #[derive(Clone, Debug)]
    enum Step {
        Write(u8, PartKind, usize),
        Cut(u8),
        Remove(u8),
        Name,
        Announce,
    }

    fn step() -> impl Strategy<Value = Step> {
        let len = || prop_oneof![Just(1_000), 0usize..3_000];
        let kinds = [PartKind::Log, PartKind::Register, PartKind::Exclusive];
        prop_oneof![
            8 => (0u8..200, len()).prop_map(move |(n, len)| Step::Write(n, kinds[usize::from(n) % 3], len)),
            1 => (0u8..200).prop_map(|n| Step::Cut(n / 3 * 3)),
            1 => (0u8..200).prop_map(Step::Remove),
            1 => Just(Step::Name),
            2 => Just(Step::Announce),
        ]
    }

    const ACTOR: ActorId = ActorId::new([1; 32]);

    fn part(n: u8) -> PartId {
        PartId::new([n; 16])
    }

    fn take(state: &mut State, step: &Step) {
        match *step {
            Step::Write(n, kind, len) => {
                let new = NewOp {
                    actor: ACTOR,
                    part: part(n),
                    kind: kind.number(),
                    hlc: Hlc::new([3; 8]),
                    record: Hash::new([4; 32]),
                    salt: Nonce::new([5; 16]),
                    body: alloc::vec![n; len],
                    replaces: Replaces::One,
                };
                state.write(Rules::ALL, new).expect("there is room");
            }
            Step::Cut(n) => drop(state.cut(&part(n), &ACTOR, 1)),
            Step::Remove(n) => state.remove(&part(n)),
            Step::Name => state.name_as("notes"),
            Step::Announce => {
                let (data, pages) = state.announce();
                assert!((data, pages.to_vec()) == state.to_manifest().announce());
            }
        }
    }

    /// The roots and the weights of all parts, by a look at each.
    fn looked_at(state: &State) -> (BTreeMap<PartId, Hash>, BTreeMap<PartId, (u16, u64)>) {
        let weighed = || state.weighed();
        let roots = weighed().map(|(part, root, _)| (part.part, root)).collect();
        (roots, weighed().map(|(part, _, weight)| (part.part, (part.kind, weight))).collect())
    }

    fn sums<'a>(weights: impl Iterator<Item = &'a (u16, u64)>) -> Sums {
        weights.fold(Sums::new(), |mut sums, (kind, weight)| {
            let (parts, bytes) = sums.entry(*kind).or_default();
            (*parts, *bytes) = (*parts + 1, *bytes + u128::from(*weight));
            sums
        })
    }

    proptest! {
        /// However parts come, change and go between two announcements, all is as if each part had been looked at.
        #[test]
        fn it_is_announced_as_its_manifest_is(
            before in prop::collection::vec(step(), 0..60),
            after in prop::collection::vec(step(), 0..60),
            last in prop::collection::vec(step(), 0..5),
        ) {
            let mut state = State::new(SessionId::new([7; 16]), "");
            before.iter().for_each(|step| take(&mut state, step));
            let ((old, _), mut roots) = (looked_at(&state), state.roots());
            prop_assert_eq!(roots.root(), state.to_manifest().root());
            for steps in [&after, &last] {
                steps.iter().for_each(|step| take(&mut state, step));
                prop_assert_eq!(state.root(), state.to_manifest().root());
                let (now, weights) = looked_at(&state);
                let counts = |part: &Part| part.kind != PartKind::Exclusive.number();
                let (mut all, changed) = state.changed_since(&roots, counts);
                all.retain(|_, (parts, _)| *parts > 0);
                prop_assert_eq!(all, sums(weights.values()));
                let differs = |part: &&PartId| old.get(*part) != now.get(*part);
                let differ = now.keys().filter(differs).filter_map(|part| weights.get(part));
                prop_assert_eq!(changed, sums(differ.filter(|(kind, _)| *kind != PartKind::Exclusive.number())));
                take(&mut state, &Step::Announce);
            }
        }
    }

    /// What is written in a part's place leaves the pages of the others alone, and so does the copy that was announced before.
    #[test]
    fn a_part_that_stays_as_long_leaves_all_others_shared() {
        let mut state = State::new(SessionId::new([7; 16]), "notes");
        let all: Vec<Step> = (0..200).map(|n| Step::Write(n, PartKind::Exclusive, 1_000)).collect();
        all.iter().chain([&Step::Announce]).for_each(|step| take(&mut state, step));
        let (_, before) = state.announce();
        take(&mut state, &Step::Write(100, PartKind::Exclusive, 1_000));
        take(&mut state, &Step::Announce);
        let (_, after) = state.announce();
        let bytes: usize = after.differ(&before).iter().map(|range| range.len()).sum();
        assert!((1..=1_200).contains(&bytes), "{bytes} bytes differ");
    }
}
