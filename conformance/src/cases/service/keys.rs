//! Content keys: who is given one, from whom one is taken, and what a revocation changes.

use segue_proto::seal::{self, ContentKey};
use segue_proto::wire::{DeviceId, Hash, Invitation, List, Message, Nonce, SessionId, Signed, Text};
use segue_proto::{Code, Rules};
use segue_testkit::device::Command;

use super::E;
use super::scene::{
    CANARY, Mailbox, Shared, USES, invitation, invited, key_msg, open, read_box, reported, same_root, shared, write,
};
use crate::cases::account::scene::{founded, links_another};
use crate::cases::scene::{create, session_of};
use crate::cases::sync::scene::since;
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer};

/// The commands that a revocation takes.
const FAMILY: &[&str] = &["use-mailbox", "write", "create-account", "accept-link", "confirm-link", "revoke"];

pub(super) const CASES: &[Case] = &[
    works("service/invite/joins", &["SERVICE-INVITE-1", "SERVICE-KEY-2"], E, joins).needs(USES),
    refused("service/invite/for-another-device", &["SERVICE-INVITE-1"], E, joins, |lab| {
        let mut stage = invitee(lab)?;
        let other = Peer::new(&mut lab.rng).id;
        let body = Invitation { to: other, ..stage.invitation(lab.id()) };
        stage.is_not_taken(lab, &body)
    })
    .needs(USES),
    refused("service/invite/not-sealed-for-it", &["SERVICE-INVITE-1"], E, joins, |lab| {
        let mut stage = invitee(lab)?;
        let other = Peer::new(&mut lab.rng).id;
        let body = stage.invitation(lab.id());
        let envelope = invitation(lab, &stage.peer.clone(), &body, other);
        stage.passes_over(lab, envelope)
    })
    .needs(USES),
    refused("service/invite/by-a-stranger", &["SERVICE-KEY-2"], E, joins, |lab| {
        let mut stage = invitee(lab)?;
        stage.peer = Peer::new(&mut lab.rng);
        let body = stage.invitation(lab.id());
        stage.is_not_taken(lab, &body)
    })
    .needs(USES),
    works("service/key/over-a-link", &["SERVICE-KEY-1"], E, |lab| {
        let shared = shared(lab)?;
        let link = lab.connect(&shared.peer)?;
        since(lab, link, shared.session, Nonce::ZERO, 0);
        let key = lab.take(link, "KEY", |message| match message {
            Message::Key(key) if key.session == shared.session => Some(key.key),
            _ => None,
        })?;
        ensure(key == shared.key, "the session's key", format!("{key:?}"))
    })
    .needs(USES),
    works("service/key/from-a-link", &["SERVICE-KEY-2"], E, |lab| {
        let mut shared = shared(lab)?;
        let link = lab.connect(&shared.peer)?;
        let key = ContentKey::new(lab.rng.array());
        lab.send(link, key_msg(shared.session, 9, key));
        shared.mailbox.serve(lab)?;
        lab.must(write(shared.session, b"under theirs"))?;
        shared.mailbox.serve(lab)?;
        let (state, _) = read_box(&shared.mailbox, &key, shared.session, lab.id())?;
        ensure(state.root() == lab.known(shared.session)?.root, "everything under the higher key", "less")
    })
    .needs(USES),
    refused("service/key/from-a-stranger", &["SERVICE-KEY-2"], E, from_member, |lab| {
        lab.setup.accept_unknown = true;
        let mut shared = shared(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        let link = lab.connect(&stranger)?;
        let key = ContentKey::new(lab.rng.array());
        lab.send(link, key_msg(shared.session, 9, key));
        lab.alive(link)?;
        lab.must(write(shared.session, b"under ours"))?;
        shared.mailbox.serve(lab)?;
        let asked = shared.mailbox.asked.iter().any(|(of, _)| *of == key.session_box(&shared.session));
        ensure(!asked, "nothing asked of the stranger's box", "a FETCH")?;
        let (state, _) = read_box(&shared.mailbox, &shared.key, shared.session, lab.id())?;
        ensure(state.root() == lab.known(shared.session)?.root, "everything under its own key", "less")
    })
    .needs(USES),
    works("service/key/another-after-a-revocation", &["SERVICE-KEY-3"], E, |lab| {
        let mut family = family(lab)?;
        let old = invited(&family.mailbox, &family.gone, lab, family.session)?;
        let before = family.mailbox.held(&old.session_box(&family.session)).len();
        family.revokes(lab)?;
        let after = family.mailbox.held(&old.session_box(&family.session)).len();
        ensure(after == before, "nothing under the key that the revoked device has", "a letter")?;
        let (new, epoch) = family.newest(lab)?;
        ensure(epoch > 0, "a key with a higher number", epoch)?;
        let (state, _) = read_box(&family.mailbox, &new, family.session, lab.id())?;
        ensure(state.root() == lab.known(family.session)?.root, "everything under the new key", "less")
    })
    .needs(FAMILY),
    works("service/key/not-to-the-revoked", &["SERVICE-KEY-1"], E, |lab| {
        let mut family = family(lab)?;
        let before = family.mailbox.invitations(&family.gone).len();
        family.revokes(lab)?;
        family.newest(lab)?;
        let after = family.mailbox.invitations(&family.gone).len();
        ensure(after == before, "no invitation for the revoked device", format!("{} more", after - before))
    })
    .needs(FAMILY),
    works("service/key/names-the-revoked", &["SERVICE-KEY-3"], E, |lab| {
        let mut family = family(lab)?;
        family.revokes(lab)?;
        let newest = family.mailbox.invitations(&family.stay).into_iter().max_by_key(|it| it.epoch);
        let without = newest.map(|it| it.without.to_vec()).unwrap_or_default();
        ensure(without == [family.gone.id], "a key that names whom it was kept from", format!("{without:?}"))
    })
    .needs(FAMILY),
    refused("service/letter/by-the-revoked", &["SERVICE-READ-1"], E, by_a_member, |lab| {
        let mut family = family(lab)?;
        family.revokes(lab)?;
        let mut shared = family.writer(lab, true)?;
        let before = lab.known(shared.session)?.root;
        shared.writes(b"by the revoked");
        let envelope = shared.next(lab);
        shared.brings(lab, envelope)?;
        reported(lab, Code::SERVICE_ENVELOPE)?;
        same_root(lab, shared.session, before)
    })
    .needs(FAMILY),
];

fn from_member(lab: &mut Lab) -> Done {
    lab.setup.accept_unknown = true;
    super::take::taken(lab)
}

/// A letter of a device of the account, under the first key, is taken in.
fn by_a_member(lab: &mut Lab) -> Done {
    let family = family(lab)?;
    let mut shared = family.writer(lab, false)?;
    shared.goes_on(lab, b"by a device of the account")
}

/// A session of a peer that the subject doesn't know, by way of a mailbox.
struct Stage {
    mailbox: Mailbox,
    peer: Peer,
    book: Book,
    key: ContentKey,
}

/// The subject vouches for a peer that it never meets, follows sessions, and uses a mailbox.
fn invitee(lab: &mut Lab) -> Done<Stage> {
    lab.setup.follow = true;
    let peer = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(peer.id);
    lab.boot()?;
    let mut book = session_of(lab, &peer);
    let title = super::scene::title(&book.id);
    book.put(title, segue_proto::data::PartKind::Register, CANARY.to_vec());
    let key = ContentKey::new(lab.rng.array());
    let mut mailbox = Mailbox::used(lab)?;
    mailbox.serve(lab)?;
    Ok(Stage { mailbox, peer, book, key })
}

impl Stage {
    fn invitation(&self, to: DeviceId) -> Invitation {
        let (from, session, key) = (self.peer.id, self.book.id, self.key);
        let name = Text::new("notes").unwrap_or_default();
        Invitation { from, to, session, name, epoch: 0, key, without: List::empty() }
    }

    /// Puts an invitation that isn't to be taken.
    fn is_not_taken(&mut self, lab: &mut Lab, body: &Invitation) -> Done {
        let (by, id) = (self.peer.clone(), lab.id());
        let envelope = invitation(lab, &by, body, id);
        self.passes_over(lab, envelope)
    }

    fn passes_over(&mut self, lab: &mut Lab, envelope: Vec<u8>) -> Done {
        let id = lab.id();
        self.mailbox.add(lab, seal::inbox(&id), envelope);
        self.mailbox.serve(lab)?;
        reported(lab, Code::SERVICE_ENVELOPE)?;
        let asked = self.mailbox.asked.iter().any(|(of, _)| *of == self.key.session_box(&self.book.id));
        ensure(!asked, "nothing asked of that key's box", "a FETCH")?;
        let behind = self.mailbox.asked.last().is_some_and(|(of, after)| *of == seal::inbox(&id) && *after == 1);
        ensure(behind, "a look at what is behind it", format!("{:?}", self.mailbox.asked.last()))
    }
}

/// A device that vouches for the subject invites it, and the session comes by the mailbox alone.
fn joins(lab: &mut Lab) -> Done {
    let stage = invitee(lab)?;
    let (by, id, body) = (stage.peer.clone(), lab.id(), stage.invitation(lab.id()));
    let envelope = invitation(lab, &by, &body, id);
    let Stage { peer, book, key, .. } = stage;
    let session = book.id;
    let mut shared = Shared { mailbox: stage.mailbox, peer, session, key, book, count: 0 };
    stage_letter(lab, &mut shared)?;
    shared.mailbox.add(lab, seal::inbox(&id), envelope);
    shared.mailbox.serve(lab)?;
    shared.agrees(lab)
}

/// A letter with all parts waits before the invitation comes.
fn stage_letter(lab: &mut Lab, shared: &mut Shared) -> Done {
    let frames = shared.all_frames();
    let letter = shared.letter(&frames);
    let envelope = shared.seal(lab, &letter, &frames);
    let at = shared.at();
    open(&shared.key, &at, &envelope)?;
    shared.mailbox.add(lab, at, envelope);
    Ok(())
}

/// The subject's account has two devices besides, one of which is to be revoked, and a session that is in a mailbox.
pub(super) struct Family {
    pub(super) mailbox: Mailbox,
    session: SessionId,
    pub(super) stay: Peer,
    pub(super) gone: Peer,
    pub(super) account: Hash,
    /// The ids of the account's entries.
    pub(super) heads: Vec<Hash>,
    /// The first key.
    key: ContentKey,
}

pub(super) fn family(lab: &mut Lab) -> Done<Family> {
    let account = founded(lab)?;
    let (stay, link, _) = links_another(lab, account)?;
    lab.link_down(link);
    let (gone, link, entries) = links_another(lab, account)?;
    // The entry that links the second cites all others.
    let heads = entries.iter().filter(|entry| entry.open(Rules::ALL).is_ok_and(|it| it.device == gone.id));
    let heads = heads.map(Signed::id).collect();
    lab.link_down(link);
    let session = create(lab, &stay)?;
    lab.must(write(session, CANARY))?;
    let mut mailbox = Mailbox::used(lab)?;
    mailbox.serve(lab)?;
    let key = invited(&mailbox, &gone, lab, session)?;
    Ok(Family { mailbox, session, stay, gone, account, heads, key })
}

impl Family {
    /// The subject revokes, and writes on.
    pub(super) fn revokes(&mut self, lab: &mut Lab) -> Done {
        lab.must(Command::Revoke { device: self.gone.id })?;
        lab.must(write(self.session, b"not for the revoked"))?;
        self.mailbox.serve(lab)
    }

    /// The newest key that the device that stays was invited to.
    fn newest(&self, lab: &Lab) -> Done<(ContentKey, u32)> {
        let found = self.mailbox.invitations(&self.stay).into_iter().filter(|it| it.from == lab.id());
        let found = found.max_by_key(|it| it.epoch).filter(|it| it.key != self.key);
        found.map(|it| (it.key, it.epoch)).ok_or_else(|| {
            crate::verdict::Fault::fail("an invitation to another key for the device that stays", "none")
        })
    }

    /// A device of the account that puts under the first key: the one that is revoked, or the other.
    fn writer(self, lab: &mut Lab, gone: bool) -> Done<Shared> {
        let Family { mailbox, session, stay, gone: other, key, .. } = self;
        let (state, chain) = read_box(&mailbox, &key, session, lab.id())?;
        let mut book = Book::of(session, chain, &mut lab.rng);
        book.state = state;
        let peer = if gone { other } else { stay };
        Ok(Shared { mailbox, peer, session, key, book, count: 0 })
    }
}
