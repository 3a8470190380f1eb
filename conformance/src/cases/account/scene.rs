//! Scenes of the account: scripted families, and a subject that is linked to one.

use segue_proto::account::{Invite, check_code, link_proof};
use segue_proto::wire::{
    Cut, DeviceId, EntryKind, Exts, Founding, Hash, Hlc, LinkMsg, LinkOk, List, Message, Nonce, RosterEntry, RosterMsg,
    Signed, Text,
};
use segue_proto::{Event, LinkId, Role, Rules};
use segue_testkit::device::{AccountState, Command, Reply};

use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;
use crate::verdict::Fault;

/// An account as its scripted devices keep it: its entries, each citing the one before it unless a case says otherwise.
#[derive(Clone)]
pub(super) struct Family {
    pub(super) account: Hash,
    pub(super) entries: Vec<Signed<RosterEntry>>,
}

impl Family {
    /// An account that `first` starts.
    pub(super) fn start(first: &Peer, recovery: Option<&Peer>) -> Family {
        let founding = Founding { nonce: Nonce::new([7; 16]), recovery: recovery.map(|peer| peer.id).into() };
        let body = RosterEntry {
            genesis: Some(founding).into(),
            ..entry(EntryKind::Genesis, Hash::ZERO, &[], first, first.id)
        };
        let genesis = first.sign(&body);
        Family { account: genesis.id(), entries: vec![genesis] }
    }

    /// The last entry.
    pub(super) fn last(&self) -> Hash {
        self.entries.last().map_or(Hash::ZERO, Signed::id)
    }

    /// The body of an entry behind the last.
    pub(super) fn next(&self, kind: EntryKind, by: &Peer, device: DeviceId) -> RosterEntry {
        entry(kind, self.account, &[self.last()], by, device)
    }

    /// Adds a link behind the last entry.
    pub(super) fn link(&mut self, by: &Peer, device: DeviceId) {
        let body = self.next(EntryKind::Link, by, device);
        self.entries.push(by.sign(&body));
    }

    /// Adds a revoke behind the last entry.
    pub(super) fn revoke(&mut self, by: &Peer, device: DeviceId) {
        let body = self.next(EntryKind::Revoke, by, device);
        self.entries.push(by.sign(&body));
    }

    /// A ROSTER with these entries.
    pub(super) fn message(&self, entries: &[Signed<RosterEntry>]) -> RosterMsg {
        RosterMsg {
            account: self.account,
            heads: List::new(vec![self.last()]).unwrap_or_default(),
            entries: List::new(entries.to_vec()).unwrap_or_default(),
            more: false,
            ext: Exts::empty(),
        }
    }

    /// A ROSTER with all entries.
    pub(super) fn whole(&self) -> RosterMsg {
        self.message(&self.entries)
    }
}

/// The body of an entry.
pub(in crate::cases) fn entry(
    kind: EntryKind,
    account: Hash,
    parents: &[Hash],
    by: &Peer,
    device: DeviceId,
) -> RosterEntry {
    let revoke = kind == EntryKind::Revoke;
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    RosterEntry {
        kind: kind.number(),
        account,
        parents: List::new(parents).unwrap_or_default(),
        signer: by.id,
        device,
        name: Text::new(if revoke { "" } else { "device" }).unwrap_or_default(),
        made: Hlc::new([1; 8]),
        genesis: None.into(),
        cut: revoke.then(|| Cut { tips: List::empty(), heads: List::empty() }).into(),
    }
}

/// The subject, which has no account, invites.
pub(super) fn invite(lab: &mut Lab) -> Done<Invite> {
    let reply = lab.must(Command::Invite { name: "subject".into() })?;
    let Reply::Invite(text) = reply else { return Err(Fault::fail("an invitation", format!("{reply:?}"))) };
    let invite = Invite::from_text(&text).map_err(|why| Fault::fail("an invitation that reads", why.to_string()))?;
    ensure(invite.device == lab.id(), "an invitation with the subject's key", format!("{:?}", invite.device))?;
    Ok(invite)
}

/// The LINK of a peer at the other end of a link. `new` is the side of the peer.
pub(super) fn link_msg(lab: &Lab, peer: &Peer, link: LinkId, secret: &Nonce, new: bool, confirmed: bool) -> LinkMsg {
    let (binding, _) = lab.channel(link);
    let (linked, fresh) = if new { (lab.id(), peer.id) } else { (peer.id, lab.id()) };
    let proof = link_proof(new, secret, &binding, &linked, &fresh);
    LinkMsg { proof, name: Text::new("peer").unwrap_or_default(), confirmed, ext: Exts::empty() }
}

/// Takes the subject's LINK, whose proof has to be right. `new` is the side of the peer.
pub(super) fn take_link(lab: &mut Lab, peer: &Peer, link: LinkId, secret: &Nonce, new: bool, confirmed: bool) -> Done {
    let what = if confirmed { "LINK, confirmed" } else { "LINK, not confirmed yet" };
    let message = lab.take(link, what, |message| match message {
        Message::Link(message) if message.confirmed == confirmed => Some(message.clone()),
        _ => None,
    })?;
    let (binding, _) = lab.channel(link);
    let (linked, fresh) = if new { (lab.id(), peer.id) } else { (peer.id, lab.id()) };
    let right = link_proof(!new, secret, &binding, &linked, &fresh);
    ensure(message.proof == right, "the proof of the subject's side", format!("{:?}", message.proof))
}

/// The subject puts the right check code to its user.
pub(super) fn shown(lab: &mut Lab, peer: &Peer, link: LinkId, secret: &Nonce, new: bool) -> Done {
    let code = lab.event("the event link-code", |event| match event {
        Event::LinkCode { peer: it, code, .. } if *it == peer.id => Some(*code),
        _ => None,
    })?;
    let (binding, _) = lab.channel(link);
    let (linked, fresh) = if new { (lab.id(), peer.id) } else { (peer.id, lab.id()) };
    let right = check_code(secret, &binding, &linked, &fresh);
    ensure(code == right, "the check code of this channel", code)
}

/// The subject is new, invited, and has shown the check code for `peer`, who is of an account.
pub(super) fn met(lab: &mut Lab) -> Done<(Peer, LinkId, Nonce)> {
    let invite = invite(lab)?;
    let peer = Peer::new(&mut lab.rng);
    let link = dialled_by(lab, &peer)?;
    greet(lab, &peer, link, &invite.secret)?;
    Ok((peer, link, invite.secret))
}

/// A device that scanned the subject's invitation dials it: the invited device is the one that is dialled.
pub(super) fn dialled_by(lab: &mut Lab, peer: &Peer) -> Done<LinkId> {
    lab.connect_as(peer, Role::Responder)
}

/// The peer says LINK to a subject that is new, and is answered.
pub(super) fn greet(lab: &mut Lab, peer: &Peer, link: LinkId, secret: &Nonce) -> Done {
    let message = link_msg(lab, peer, link, secret, false, false);
    lab.send(link, message);
    take_link(lab, peer, link, secret, false, false)?;
    shown(lab, peer, link, secret, false)
}

/// The subject's user confirms.
pub(super) fn confirm(lab: &mut Lab, peer: &Peer) -> Done {
    lab.must(Command::ConfirmLink { device: peer.id, yes: true }).map(|_| ())
}

/// The subject, which is new, belongs to the account of `peer` now, and they are linked.
pub(super) struct Joined {
    pub(super) peer: Peer,
    pub(super) link: LinkId,
    pub(super) family: Family,
}

/// Links the subject, as the new device, with an account of a peer.
pub(super) fn joined(lab: &mut Lab) -> Done<Joined> {
    lab.boot()?;
    let (peer, link, secret) = met(lab)?;
    let mut family = Family::start(&peer, None);
    join(lab, &peer, link, &secret, &mut family)?;
    Ok(Joined { peer, link, family })
}

/// Goes on from the check code until the subject belongs to the account.
pub(super) fn join(lab: &mut Lab, peer: &Peer, link: LinkId, secret: &Nonce, family: &mut Family) -> Done {
    confirm(lab, peer)?;
    take_link(lab, peer, link, secret, false, true)?;
    family.link(peer, lab.id());
    lab.send(link, family.whole());
    take_link_ok(lab, link, family.account)?;
    resolved(lab, peer, Some(family.account))?;
    holds(lab, family.account, &[peer.id, lab.id()], &[])
}

/// Takes LINK_OK.
pub(super) fn take_link_ok(lab: &mut Lab, link: LinkId, account: Hash) -> Done {
    lab.take(link, "LINK_OK", |message| match message {
        Message::LinkOk(ok) if ok.account == account => Some(()),
        _ => None,
    })
}

/// Linking ended so.
pub(super) fn resolved(lab: &mut Lab, peer: &Peer, account: Option<Hash>) -> Done {
    lab.event("the event link-resolved", |event| match event {
        Event::LinkResolved { peer: it, result } if *it == peer.id && result.ok() == account => Some(()),
        _ => None,
    })
}

/// The subject started an account.
pub(in crate::cases) fn founded(lab: &mut Lab) -> Done<Hash> {
    lab.boot()?;
    lab.must(Command::CreateAccount { name: "subject".into() })?;
    lab.event("the event account-created", |event| match event {
        Event::AccountCreated { account } => Some(*account),
        _ => None,
    })
}

/// The subject, which has an account, has read the invitation of a peer, dialled it, and shown the check code.
pub(super) fn scanned(lab: &mut Lab) -> Done<(Peer, LinkId, Nonce, Hash)> {
    let account = founded(lab)?;
    let (peer, link, secret) = scans(lab)?;
    Ok((peer, link, secret, account))
}

/// The subject reads an invitation of a new peer, dials it, and shows the check code.
pub(super) fn scans(lab: &mut Lab) -> Done<(Peer, LinkId, Nonce)> {
    let (peer, secret) = reads(lab)?;
    let link = lab.connect_as(&peer, Role::Initiator)?;
    take_link(lab, &peer, link, &secret, true, false)?;
    let answer = link_msg(lab, &peer, link, &secret, true, false);
    lab.send(link, answer);
    shown(lab, &peer, link, &secret, true)?;
    Ok((peer, link, secret))
}

/// The subject reads an invitation of a new peer.
pub(super) fn reads(lab: &mut Lab) -> Done<(Peer, Nonce)> {
    let peer = Peer::new(&mut lab.rng);
    let secret = Nonce::new(lab.rng.array());
    let invite = Invite { secret, device: peer.id, expires: 1_780_000_300, hints: List::empty() };
    lab.must(Command::AcceptLink { invite: invite.to_text() })?;
    Ok((peer, secret))
}

/// Takes the subject's next ROSTER that has entries: those of them that are well formed and signed.
pub(super) fn take_entries(lab: &mut Lab, link: LinkId) -> Done<Vec<RosterEntry>> {
    let message = lab.take(link, "ROSTER with entries", |message| match message {
        Message::Roster(message) if !message.entries.is_empty() => Some(message.clone()),
        _ => None,
    })?;
    let prove = |entry: Signed<RosterEntry>| entry.prove(Rules::ALL, |entry| entry.signer);
    let proven = message.entries.into_vec().into_iter().map(prove).collect::<Result<Vec<_>, _>>();
    let proven = proven.map_err(|why| Fault::fail("entries that are signed", format!("one that breaks {why:?}")))?;
    Ok(proven.iter().map(|entry| entry.body().clone()).collect())
}

/// The subject, which has an account, has linked a peer.
pub(super) fn links(lab: &mut Lab) -> Done<(Peer, LinkId, Family)> {
    let account = founded(lab)?;
    let (peer, link, mut entries) = links_another(lab, account)?;
    entries.sort_by_key(|entry| entry.body_bytes().len());
    Ok((peer, link, Family { account, entries }))
}

/// The subject links a further peer; the entries that it sends.
pub(in crate::cases) fn links_another(lab: &mut Lab, account: Hash) -> Done<(Peer, LinkId, Vec<Signed<RosterEntry>>)> {
    let (peer, link, secret) = scans(lab)?;
    confirm(lab, &peer)?;
    take_link(lab, &peer, link, &secret, true, true)?;
    let answer = link_msg(lab, &peer, link, &secret, true, true);
    lab.send(link, answer);
    let message = lab.take(link, "ROSTER with the account", |message| match message {
        Message::Roster(message) if message.account == account && !message.entries.is_empty() => Some(message.clone()),
        _ => None,
    })?;
    lab.send(link, LinkOk { account, ext: Exts::empty() });
    resolved(lab, &peer, Some(account))?;
    Ok((peer, link, message.entries.into_vec()))
}

/// What the subject says of its account.
pub(super) fn holds(lab: &mut Lab, account: Hash, members: &[DeviceId], revoked: &[DeviceId]) -> Done {
    let sorted = |keys: &[DeviceId]| {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys
    };
    let right = AccountState { account, members: sorted(members), revoked: sorted(revoked) };
    let found = lab.account();
    ensure(found.as_ref() == Some(&right), &format!("{right:?}"), format!("{found:?}"))
}
