//! Chapter account: entries, which of them count, what LINK proves, invitations.

use segue_proto::Rules;
use segue_proto::account::{Invite, Roster, check_code, link_proof};
use segue_proto::wire::codec::encode;
use segue_proto::wire::{
    Cut, CutHead, CutTip, DeviceId, EntryKind, Founding, Hash, Hlc, LinkMsg, LinkOk, List, Message, Nonce, PartId, Proven, RosterEntry,
    RosterMsg, SessionId, Signed, Text,
};

use super::byhand;
use super::cast::{Device, LAPTOP, PHONE, STRANGER, TABLET, list};
use super::form::{Book, Vector, bytes, text};
use super::wire::{refuse_body, sign, signed};
use crate::json::Json;

/// Adds the chapter's vectors.
pub(crate) fn add(book: &mut Book) {
    entries(book);
    rosters(book);
    refused(book);
    linking(book);
    invitations(book);
}

/// A key that is kept on paper.
const PAPER: Device = Device { secret: [8; 32] };
const SECRET: Nonce = Nonce::new([0x71; 16]);
const BINDING: [u8; 32] = [0x5a; 32];

fn genesis() -> RosterEntry {
    let founding = Founding { nonce: Nonce::new([0x70; 16]), recovery: Some(PAPER.id()).into() };
    RosterEntry {
        genesis: Some(founding).into(),
        ..body(EntryKind::Genesis, Hash::ZERO, &[], LAPTOP, LAPTOP, "laptop")
    }
}

fn account() -> Hash {
    Signed::sign(&genesis(), &LAPTOP.key()).id()
}

fn body(kind: EntryKind, account: Hash, parents: &[Hash], by: Device, device: Device, name: &str) -> RosterEntry {
    let mut parents = parents.to_vec();
    parents.sort_unstable();
    let cut = Cut { tips: List::empty(), heads: List::empty() };
    RosterEntry {
        kind: kind.number(),
        account,
        parents: list(parents),
        signer: by.id(),
        device: device.id(),
        name: Text::new(name).unwrap_or_default(),
        made: Hlc::new([0x01, 0x9e, 0x71, 0x2a, 0x40, 0x00, 0, 0]),
        genesis: None.into(),
        cut: (kind == EntryKind::Revoke).then_some(cut).into(),
    }
}

fn entries(book: &mut Book) {
    let first = sign(
        book,
        "account",
        "entry-genesis",
        "The laptop starts an account, with a recovery key.",
        &genesis(),
        LAPTOP,
    );
    book.add(first.clause("ACCOUNT-ENTRY-1").shown());
    let link = body(EntryKind::Link, account(), &[account()], LAPTOP, PHONE, "phone");
    let vector = sign(book, "account", "entry-link", "The laptop links the phone.", &link, LAPTOP);
    book.add(vector.clause("ACCOUNT-ENTRY-1").shown());
    let behind = Signed::sign(&link, &LAPTOP.key()).id();
    let heads = list(vec![CutHead { session: SessionId::new([0x19; 16]), record: Hash::new([0x20; 32]) }]);
    let tip = CutTip { part: PartId::new([0x21; 16]), actor: PHONE.actor(), seq: 2, hash: Hash::new([0x61; 32]) };
    let cut = Cut { tips: list(vec![tip]), heads };
    let revoke =
        RosterEntry { cut: Some(cut).into(), ..body(EntryKind::Revoke, account(), &[behind], LAPTOP, PHONE, "") };
    let vector = sign(
        book,
        "account",
        "entry-revoke",
        "The laptop revokes the phone; a takeover of its stands, and two ops of a strand.",
        &revoke,
        LAPTOP,
    );
    book.add(vector.clause("ACCOUNT-ENTRY-1"));
}

/// A history: who does what to whom, each behind those that it names by their numbers.
struct History {
    entries: Vec<Signed<RosterEntry>>,
}

impl History {
    fn new() -> History {
        History { entries: vec![Signed::sign(&genesis(), &LAPTOP.key())] }
    }

    fn add(mut self, kind: EntryKind, parents: &[usize], by: Device, device: Device) -> History {
        let parents: Vec<Hash> = parents.iter().filter_map(|at| self.entries.get(*at)).map(Signed::id).collect();
        let name = if kind == EntryKind::Revoke { "" } else { "device" };
        self.entries.push(Signed::sign(&body(kind, account(), &parents, by, device, name), &by.key()));
        self
    }

    fn link(self, parents: &[usize], by: Device, device: Device) -> History {
        self.add(EntryKind::Link, parents, by, device)
    }

    fn revoke(self, parents: &[usize], by: Device, device: Device) -> History {
        self.add(EntryKind::Revoke, parents, by, device)
    }
}

/// Sets of entries, and who belongs to the account by them: in their order, and in another.
fn rosters(book: &mut Book) {
    let start = || History::new().link(&[0], LAPTOP, PHONE);
    for (name, what, clause, history, members, revoked) in [
        ("roster-linked", "The laptop links the phone.", "ACCOUNT-COUNT-2", start(), vec![LAPTOP, PHONE], vec![]),
        (
            "roster-revoked",
            "It revokes it again.",
            "ACCOUNT-COUNT-1",
            start().revoke(&[1], LAPTOP, PHONE),
            vec![LAPTOP],
            vec![PHONE],
        ),
        (
            "roster-no-return",
            "A revoked key is linked again, which changes nothing.",
            "ACCOUNT-COUNT-3",
            start().revoke(&[1], LAPTOP, PHONE).link(&[2], LAPTOP, PHONE),
            vec![LAPTOP],
            vec![PHONE],
        ),
        (
            "roster-mutual",
            "Apart from each other, the two revoke each other.",
            "ACCOUNT-COUNT-1",
            start().revoke(&[1], LAPTOP, PHONE).revoke(&[1], PHONE, LAPTOP),
            vec![],
            vec![LAPTOP, PHONE],
        ),
        (
            "roster-revoke-too-late",
            "The phone revokes the laptop, knowing that it was revoked itself.",
            "ACCOUNT-COUNT-1",
            start().revoke(&[1], LAPTOP, PHONE).revoke(&[2], PHONE, LAPTOP),
            vec![LAPTOP],
            vec![PHONE],
        ),
        (
            "roster-link-known",
            "The phone links the tablet; the revoke of the phone knows it.",
            "ACCOUNT-COUNT-2",
            start().link(&[1], PHONE, TABLET).revoke(&[2], LAPTOP, PHONE),
            vec![LAPTOP, TABLET],
            vec![PHONE],
        ),
        (
            "roster-link-unknown",
            "The phone links the tablet; the revoke of the phone doesn't know it.",
            "ACCOUNT-COUNT-2",
            start().link(&[1], PHONE, TABLET).revoke(&[1], LAPTOP, PHONE),
            vec![LAPTOP],
            vec![PHONE],
        ),
        (
            "roster-recovery",
            "After a mutual revocation the recovery key, which was revoked in vain, links the tablet.",
            "ACCOUNT-COUNT-4",
            start().revoke(&[1], LAPTOP, PHONE).revoke(&[1], PHONE, LAPTOP).revoke(&[1], PHONE, PAPER).link(
                &[2, 3, 4],
                PAPER,
                TABLET,
            ),
            vec![TABLET],
            vec![LAPTOP, PHONE],
        ),
    ] {
        let vector = Vector::valid("account", "roster", name, what)
            .clause(clause)
            .input("entries", Json::list(history.entries.iter().map(signed)))
            .step("ids", Json::list(history.entries.iter().map(|entry| bytes(entry.id().as_bytes()))))
            .expect("members", keys(&members))
            .expect("revoked", keys(&revoked));
        let found = roster(&history.entries);
        let reversed: Vec<_> = history.entries.iter().rev().cloned().collect();
        let ids = |devices: &[Device]| sorted(devices);
        book.same(&vector, "who belongs to it", found.clone(), Ok((ids(&members), ids(&revoked))));
        book.same(&vector, "the same in another order", roster(&reversed), found);
        book.add(vector);
    }
}

type Standing = (Vec<DeviceId>, Vec<DeviceId>);

fn roster(entries: &[Signed<RosterEntry>]) -> Result<Standing, String> {
    let prove = |entry: &Signed<RosterEntry>| entry.clone().prove(Rules::ALL, |entry| entry.signer);
    let proven: Result<Vec<Proven<_>>, _> = entries.iter().map(prove).collect();
    let roster = proven.and_then(|entries| Roster::from_entries(Rules::ALL, entries)).map_err(|why| why.to_string())?;
    let standing = roster.standing();
    Ok((standing.members.keys().copied().collect(), standing.revoked.keys().copied().collect()))
}

fn sorted(devices: &[Device]) -> Vec<DeviceId> {
    let mut ids: Vec<DeviceId> = devices.iter().map(|device| device.id()).collect();
    ids.sort_unstable();
    ids
}

fn keys(devices: &[Device]) -> Json {
    Json::list(sorted(devices).iter().map(|id| bytes(id.as_bytes())))
}

fn refused(book: &mut Book) {
    let link = body(EntryKind::Link, account(), &[account()], LAPTOP, PHONE, "phone");
    let form = ("ACCOUNT-ENTRY-1", "WIRE_VALUE");
    let cut = Cut { tips: List::empty(), heads: List::empty() };
    for (name, what, broken, bad) in [
        (
            "entry-kind-3",
            "An entry of a kind that there isn't.",
            ("WIRE-VALUE-1", "WIRE_VALUE"),
            RosterEntry { kind: 3, ..link.clone() },
        ),
        ("link-no-parents", "A link without parents.", form, RosterEntry { parents: List::empty(), ..link.clone() }),
        ("link-no-account", "A link of no account.", form, RosterEntry { account: Hash::ZERO, ..link.clone() }),
        ("link-cut", "A link with a cut.", form, RosterEntry { cut: Some(cut).into(), ..link.clone() }),
        (
            "link-parents-descend",
            "Parents that don't ascend.",
            form,
            RosterEntry { parents: list(vec![Hash::new([2; 32]), Hash::new([1; 32])]), ..link.clone() },
        ),
        (
            "revoke-no-cut",
            "A revoke without a cut.",
            form,
            RosterEntry { kind: 2, name: Text::default(), ..link.clone() },
        ),
        (
            "revoke-named",
            "A revoke with a name.",
            form,
            body(EntryKind::Revoke, account(), &[account()], LAPTOP, PHONE, "phone"),
        ),
        ("genesis-for-another", "A genesis for another device.", form, RosterEntry { device: PHONE.id(), ..genesis() }),
        (
            "genesis-parents",
            "A genesis with a parent.",
            form,
            RosterEntry { parents: list(vec![account()]), ..genesis() },
        ),
        (
            "entry-name-bidi",
            "A name with a character that turns the text around it.",
            ("WIRE-STRING-1", "WIRE_STRING"),
            RosterEntry { name: Text::new("a\u{202e}b").unwrap_or_default(), ..link.clone() },
        ),
    ] {
        let vector = Vector::invalid("account", "verify", name, what, broken);
        refuse_body::<RosterEntry>(book, vector, encode(&bad), LAPTOP);
    }
    let history = History::new();
    for (name, what, broken, bad, by) in [
        (
            "add-stranger",
            "A link by a device that was never linked.",
            ("ACCOUNT-ENTRY-3", "ACCOUNT_ENTRY"),
            body(EntryKind::Link, account(), &[account()], STRANGER, PHONE, "phone"),
            STRANGER,
        ),
        (
            "add-other-account",
            "A link of another account.",
            ("ACCOUNT-ENTRY-1", "ACCOUNT_OTHER"),
            RosterEntry { account: Hash::new([9; 32]), ..link.clone() },
            LAPTOP,
        ),
    ] {
        let entry = Signed::sign(&bad, &by.key());
        let vector = Vector::invalid("account", "roster", name, what, broken)
            .input("entries", Json::list(history.entries.iter().chain([&entry]).map(signed)));
        let prove = |entry: &Signed<RosterEntry>| entry.clone().prove(Rules::ALL, |entry| entry.signer);
        let found = prove(&history.entries[0]).and_then(|first| Roster::start(Rules::ALL, first));
        let found = found.and_then(|mut roster| roster.add(Rules::ALL, prove(&entry)?));
        book.refuse(vector, found);
    }
}

/// What LINK proves, on both sides, and the check code; and the frames of the story.
fn linking(book: &mut Book) {
    let (linked, new) = (LAPTOP.id(), PHONE.id());
    let base = [SECRET.as_bytes().as_slice(), &BINDING, linked.as_bytes(), new.as_bytes()].concat();
    for (side, name, what) in [
        (0u8, "proof-linked", "What the laptop proves, which is linked and read the phone's invitation."),
        (1u8, "proof-new", "What the phone proves, which is new."),
    ] {
        let hashed = [&[side], base.as_slice()].concat();
        let proof = byhand::hash("segue/1 link proof", &hashed);
        let vector = Vector::valid("account", "link-proof", name, what)
            .clause("ACCOUNT-LINK-1")
            .input("side", u64::from(side))
            .input("secret", bytes(SECRET.as_bytes()))
            .input("binding", bytes(BINDING))
            .input("linked", bytes(linked.as_bytes()))
            .input("new", bytes(new.as_bytes()))
            .step("hashed", bytes(&hashed))
            .expect("proof", bytes(proof));
        let core = link_proof(side == 1, &SECRET, &BINDING, &linked, &new);
        book.same(&vector, "the proof", *core.as_bytes(), proof);
        book.add(vector.shown());
    }
    let hash = byhand::hash("segue/1 link code", &base);
    let first: [u8; 8] = std::array::from_fn(|at| hash[at]);
    let code = u64::from_be_bytes(first) % 1_000_000;
    let vector = Vector::valid("account", "link-code", "check-code", "The check code that both show.")
        .clause("ACCOUNT-LINK-3")
        .input("secret", bytes(SECRET.as_bytes()))
        .input("binding", bytes(BINDING))
        .input("linked", bytes(linked.as_bytes()))
        .input("new", bytes(new.as_bytes()))
        .step("hash", bytes(hash))
        .expect("code", code);
    book.same(&vector, "the code", u64::from(check_code(&SECRET, &BINDING, &linked, &new)), code);
    book.add(vector.shown());
}

/// The messages of the chapter: how the laptop links the phone.
pub(crate) fn messages() -> Vec<(&'static str, &'static str, Message)> {
    let (linked, new) = (LAPTOP.id(), PHONE.id());
    let proof = link_proof(false, &SECRET, &BINDING, &linked, &new);
    let name = Text::new("laptop").unwrap_or_default();
    let history = History::new().link(&[0], LAPTOP, PHONE);
    let roster = RosterMsg {
        account: account(),
        heads: list(history.entries.last().map(Signed::id).into_iter().collect()),
        entries: list(history.entries),
        more: false,
        ext: List::empty(),
    };
    vec![
        (
            "link",
            "The laptop, which read the phone's invitation, proves that it did.",
            LinkMsg { proof, name, confirmed: false, ext: List::empty() }.into(),
        ),
        ("link-ok", "The phone holds the account.", LinkOk { account: account(), ext: List::empty() }.into()),
        ("roster", "The account, for the phone.", roster.into()),
    ]
}

fn invitations(book: &mut Book) {
    let hints = vec![Text::new("192.0.2.7:4433").unwrap_or_default()];
    let invite = Invite { secret: SECRET, device: PHONE.id(), expires: 1_780_000_300, hints: list(hints) };
    let written = invite.to_text();
    let body = encode(&invite);
    let sum = byhand::hash("segue/1 invite", &body);
    let vector = Vector::valid("account", "invite", "invite", "The phone's invitation as text.")
        .clause("ACCOUNT-INVITE-3")
        .input("secret", bytes(SECRET.as_bytes()))
        .input("device", bytes(PHONE.id().as_bytes()))
        .input("expires", invite.expires)
        .input("hints", Json::list([text("192.0.2.7:4433")]))
        .step("encoding", bytes(&body))
        .step("sum", bytes(&sum[..4]))
        .expect("invite", text(&written));
    book.same(&vector, "what is read", Invite::from_text(&written), Ok(invite));
    book.add(vector.shown());
}
