//! Records in a HEAD: which are taken in. A HEAD is never answered by an ERROR, so what a refusal shows in is the head
//! that the subject stands by, and the twin differs from it in one field.

use segue_proto::wire::{Hash, Kind, Message, Record, SessionId};
use segue_proto::{Code, LinkId, SessionRole};

use crate::cases::scene::{TIMEOUT, linked, session_of};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, head, tampered};
use segue_testkit::device::Command;

const E: Part = Part::End;

pub(super) const CASES: &[Case] = &[
    works("handoff/chain/grant-taken-in", &["HO-CHAIN-1", "HO-CHAIN-2", "HO-CHAIN-3"], E, grant),
    works("handoff/chain/takeover-taken-in", &["HO-CHAIN-4", "HO-CHAIN-5"], E, takeover),
    works("handoff/chain/close-taken-in", &["HO-CHAIN-8", "HO-CLOSE-1"], E, close),
    works("handoff/chain/several-heads", &["HO-HEAD-5"], E, |lab| {
        let (peer, link, mut book) = known(lab)?;
        for _ in 0..150 {
            let next = book.next(&peer, peer.id);
            book.chain.push(peer.sign(&next));
        }
        let (first, rest) = book.chain[1..].split_at(100);
        let mut page = head(book.id, first.to_vec(), None);
        page.more = true;
        lab.send(link, page);
        lab.send(link, head(book.id, rest.to_vec(), None));
        let state = lab.known(book.id)?;
        ensure(state.head == book.head(), "the last record as the head", format!("n = {}", state.n))
    }),
    refused("handoff/chain/unsigned", &["WIRE-SIGN-1"], E, grant, |lab| {
        let (peer, link, book) = known(lab)?;
        let record = peer.sign(&book.next(&peer, peer.id));
        lab.send(link, head(book.id, vec![tampered(&record)], None));
        unmoved(lab, link, &book)
    }),
    refused("handoff/chain/signed-by-another-member", &["HO-CHAIN-2"], E, grant, |lab| {
        let (_, link, book) = known(lab)?;
        let other = Peer::new(&mut lab.rng);
        not_taken(lab, link, &book, &other, &book.next(&other, other.id))
    }),
    refused("handoff/chain/unknown-parent", &["HO-CHAIN-1"], E, grant, |lab| {
        refuses(lab, next, |record| record.parent = Hash::new([9; 32]))
    }),
    refused("handoff/chain/other-session", &["HO-CHAIN-1"], E, grant, |lab| {
        refuses(lab, next, |record| record.session = SessionId::new([9; 16]))
    }),
    refused("handoff/chain/n-skips", &["HO-CHAIN-3"], E, grant, |lab| refuses(lab, next, |record| record.n += 1)),
    refused("handoff/chain/n-falls", &["HO-CHAIN-3"], E, takeover, |lab| refuses(lab, taken, |record| record.n -= 1)),
    refused("handoff/chain/grant-opens-a-term", &["HO-CHAIN-4"], E, grant, |lab| {
        refuses(lab, next, |record| record.term += 1)
    }),
    refused("handoff/chain/takeover-in-the-same-term", &["HO-CHAIN-4"], E, takeover, |lab| {
        refuses(lab, taken, |record| record.term -= 1)
    }),
    refused("handoff/chain/takeover-skips-a-term", &["HO-CHAIN-4"], E, takeover, |lab| {
        refuses(lab, taken, |record| record.term += 1)
    }),
    refused("handoff/chain/takeover-by-a-stranger", &["HO-CHAIN-5"], E, takeover, |lab| {
        let (_, link, book) = known(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        not_taken(lab, link, &book, &stranger, &book.takeover(&stranger))
    }),
    refused("handoff/chain/takeover-for-another", &["HO-CHAIN-5"], E, takeover, |lab| {
        let me = lab.id();
        let (peer, link, book) = known(lab)?;
        let mut record = book.takeover(&peer);
        (record.owner, record.grantor) = (me, me);
        not_taken(lab, link, &book, &peer, &record)
    }),
    refused("handoff/chain/grant-to-nobody", &["HO-CHAIN-8"], E, grant, |lab| {
        refuses(lab, next, |record| record.owner = segue_proto::wire::DeviceId::ZERO)
    }),
    refused("handoff/chain/grant-without-want", &["HO-CHAIN-8"], E, grant, |lab| {
        refuses(lab, next, |record| record.want = Hash::ZERO)
    }),
    refused("handoff/chain/close-with-owner", &["HO-CHAIN-8", "HO-CLOSE-1"], E, close, |lab| {
        let (peer, link, book) = known(lab)?;
        let mut record = book.close(&peer);
        record.owner = peer.id;
        not_taken(lab, link, &book, &peer, &record)
    }),
    refused("handoff/chain/second-genesis", &["HO-CHAIN-8"], E, grant, |lab| {
        let (peer, link, book) = known(lab)?;
        let mut record = book.next(&peer, peer.id);
        record.genesis = Book::genesis(&peer, &[], &mut lab.rng).genesis;
        not_taken(lab, link, &book, &peer, &record)
    }),
    refused("handoff/chain/unknown-kind", &["WIRE-VALUE-1"], E, grant, |lab| {
        refuses(lab, next, |record| record.kind = 5)
    }),
    refused("handoff/chain/behind-a-close", &["HO-CHAIN-6"], E, close, |lab| {
        let (peer, link, mut book) = known(lab)?;
        let close = book.close(&peer);
        book.chain.push(peer.sign(&close));
        lab.send(link, book.whole());
        not_taken(lab, link, &book, &peer, &book.takeover(&peer))
    }),
    refused("handoff/chain/genesis-of-another-session", &["HO-CHAIN-7"], E, known_only, |lab| {
        unknown(lab, |genesis| genesis.session = SessionId::new([9; 16]))
    }),
    refused("handoff/chain/genesis-in-a-later-term", &["HO-CHAIN-8"], E, known_only, |lab| {
        unknown(lab, |genesis| genesis.term = 1)
    }),
    refused("handoff/chain/genesis-without-actor", &["HO-CHAIN-8"], E, known_only, |lab| {
        unknown(lab, |genesis| genesis.want = Hash::ZERO)
    }),
];

/// The subject asked for a peer's session and learned its genesis.
fn known(lab: &mut Lab) -> Done<(Peer, LinkId, Book)> {
    let (peer, link) = linked(lab)?;
    let book = session_of(lab, &peer);
    asks(lab, &peer, link, &book)?;
    lab.send(link, book.whole());
    let state = lab.known(book.id)?;
    ensure(
        state.head == book.head() && state.role == SessionRole::Secondary,
        "the genesis as the head",
        format!("{state:?}"),
    )?;
    Ok((peer, link, book))
}

fn known_only(lab: &mut Lab) -> Done {
    known(lab).map(|_| ())
}

/// The subject's user wants the session: so the subject has to keep what it learns of it.
fn asks(lab: &mut Lab, peer: &Peer, link: LinkId, book: &Book) -> Done {
    lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
    lab.take(link, "a HAVE that asks", |message| matches!(message, Message::Have(have) if have.req != 0).then_some(()))
}

fn taken_in(lab: &mut Lab, make: fn(&Book, &Peer) -> Record) -> Done {
    let (peer, link, mut book) = known(lab)?;
    let record = make(&book, &peer);
    book.chain.push(peer.sign(&record));
    lab.send(link, head(book.id, book.chain[1..].to_vec(), None));
    let state = lab.known(book.id)?;
    ensure(state.head == book.head(), "the new record as the head", format!("{:?}", state.head))?;
    let owner = (!record.owner.is_zero()).then_some(record.owner);
    ensure(
        state.owner == owner && state.n == record.n && state.term == record.term,
        "its fields",
        format!("{state:?}"),
    )?;
    no_error(lab, link)
}

fn grant(lab: &mut Lab) -> Done {
    taken_in(lab, |book, peer| book.next(peer, peer.id))
}

fn takeover(lab: &mut Lab) -> Done {
    taken_in(lab, Book::takeover)
}

fn close(lab: &mut Lab) -> Done {
    taken_in(lab, Book::close)
}

fn taken(book: &Book, peer: &Peer, _: segue_proto::wire::DeviceId) -> Record {
    book.takeover(peer)
}

fn refuses(
    lab: &mut Lab,
    make: fn(&Book, &Peer, segue_proto::wire::DeviceId) -> Record,
    tweak: fn(&mut Record),
) -> Done {
    let (peer, link, book) = known(lab)?;
    let mut record = make(&book, &peer, peer.id);
    tweak(&mut record);
    not_taken(lab, link, &book, &peer, &record)
}

fn not_taken(lab: &mut Lab, link: LinkId, book: &Book, signer: &Peer, record: &Record) -> Done {
    lab.send(link, head(book.id, vec![signer.sign(record)], None));
    unmoved(lab, link, book)
}

/// The subject stands by the head that it had, and can still be led on from it.
fn unmoved(lab: &mut Lab, link: LinkId, book: &Book) -> Done {
    let state = lab.known(book.id)?;
    ensure(state.head == book.head(), "the head as it was", format!("{:?} with n = {}", state.head, state.n))?;
    no_error(lab, link)
}

/// A HEAD isn't answered by an ERROR (ERR-SEND-2), and the link goes on.
fn no_error(lab: &mut Lab, link: LinkId) -> Done {
    lab.none(link, "ERROR in answer to a HEAD", |message| matches!(message, Message::Error(_)))?;
    lab.alive(link)
}

/// A session whose genesis is malformed stays unknown.
fn unknown(lab: &mut Lab, tweak: fn(&mut Record)) -> Done {
    let (peer, link) = linked(lab)?;
    let members = [lab.id()];
    let mut genesis = Book::genesis(&peer, &members, &mut lab.rng);
    tweak(&mut genesis);
    ensure(genesis.kind == Kind::Genesis.number(), "a genesis", genesis.kind)?;
    let book = Book::of(genesis.session, vec![peer.sign(&genesis)], &mut lab.rng);
    asks(lab, &peer, link, &book)?;
    lab.send(link, book.whole());
    let state = lab.state(book.id);
    ensure(state.is_none(), "a session that stays unknown", format!("{state:?}"))?;
    let probe = segue_proto::wire::Have {
        req: 902,
        session: book.id,
        head: Hash::ZERO,
        data: None.into(),
        ext: segue_proto::wire::Exts::empty(),
    };
    lab.send(link, probe);
    lab.refuses(link, 902, Code::HO_UNKNOWN_SESSION)
}

fn next(book: &Book, peer: &Peer, owner: segue_proto::wire::DeviceId) -> Record {
    book.next(peer, owner)
}
