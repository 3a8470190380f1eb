//! Receipts: given by either side, and verified.

use segue_proto::handoff::Handed;
use segue_proto::wire::{DeviceId, Final, Hash, List, Receipt, Record, SessionId, Signed, Statement, Tally, Want};
use segue_proto::{Code, Rules, SessionRole};
use segue_testkit::device::{Command, Reply};

use crate::cases::scene::{Owning, owning, wanting};
use crate::cases::{Case, Part, Step, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Peer, nothing, tampered};
use crate::verdict::Fault;

const S: Part = Part::Source;
const T: Part = Part::Target;
const E: Part = Part::End;
const GIVES: &[&str] = &["receipt"];
const VERIFIES: &[&str] = &["verify-receipt"];

pub(super) const CASES: &[Case] = &[
    works("handoff/receipt/of-the-source", &["HO-RECEIPT-1", "HO-RECEIPT-2"], S, |lab| {
        let (own, record) = handed(lab)?;
        let proof = receipt(lab, own.session, record)?;
        proves(lab, &proof, (lab.id(), own.peer.id), record)?;
        let of = |kind| proof.moved.iter().find(|tally| tally.kind == kind).map(|tally| (tally.parts, tally.bytes));
        let view = of(segue_proto::data::PartKind::Exclusive.number());
        ensure(view == Some((1, 8)), "a statement that one exclusive part of 8 bytes moved", format!("{view:?}"))
    })
    .needs(GIVES),
    works("handoff/receipt/of-the-target", &["HO-RECEIPT-1", "HO-RECEIPT-2"], T, taken).needs(GIVES),
    works("handoff/receipt/after-a-restart", &["HO-RECEIPT-1"], S, |lab| {
        let (own, record) = handed(lab)?;
        lab.crash();
        lab.reboot()?;
        let proof = receipt(lab, own.session, record)?;
        proves(lab, &proof, (lab.id(), own.peer.id), record)
    })
    .needs(GIVES),
    works("handoff/receipt/acknowledged-by-the-next-record", &["HO-RECEIPT-1", "HO-RECEIPT-3"], S, |lab| {
        let own = owning(lab)?;
        let grant = own.granted(lab)?;
        let mut book = own.book.clone();
        book.chain.push(grant.record.clone());
        let back = own.peer.sign(&book.close(&own.peer));
        lab.send(own.link, crate::peer::head(own.session, vec![grant.record.clone(), back], None));
        let proof = receipt(lab, own.session, grant.record.id())?;
        proves(lab, &proof, (lab.id(), own.peer.id), grant.record.id())
    })
    .needs(GIVES),
    refused(
        "handoff/receipt/before-the-acknowledgement",
        &["HO-RECEIPT-3"],
        S,
        |lab| handed(lab).map(|_| ()),
        |lab| {
            let own = owning(lab)?;
            let grant = own.granted(lab)?;
            lab.must_not(Command::Receipt { session: own.session, record: grant.record.id() })
        },
    )
    .needs(GIVES),
    refused("handoff/receipt/before-the-sync", &["HO-RECEIPT-3", "HO-HEAD-4"], T, taken, |lab| {
        let scene = wanting(lab)?;
        lab.syncs = false;
        scene.grant(lab);
        lab.is(scene.book.id, SessionRole::Primary)?;
        lab.must_not(Command::Receipt { session: scene.book.id, record: scene.draft.signed_record().id() })
    })
    .needs(GIVES),
    works("handoff/receipt/verified", &["HO-RECEIPT-1", "HO-RECEIPT-2"], E, |lab| {
        let stage = stage(lab)?;
        // Whoever accepts everything verifies nothing.
        let good = stage.receipt(&stage.source);
        rejects(lab, Receipt { end: tampered(&good.end), ..good }.to_bytes(), Code::AUTH_SIGNATURE)?;
        accepts(lab, &stage.receipt(&stage.source))?;
        accepts(lab, &stage.receipt(&stage.target))?;
        // The next record, of the new owner, proves as much as its acknowledgement.
        let next = stage.target.sign(&stage.book.next(&stage.target, stage.source.id));
        accepts(lab, &Receipt { chain: stage.chain(&[next]), ack: nothing(), ..stage.receipt(&stage.source) })
    })
    .needs(VERIFIES),
    bad("handoff/receipt/trailing-byte", &["HO-RECEIPT-1", "WIRE-CANON-2"], |lab| {
        let stage = stage(lab)?;
        let mut bytes = stage.receipt(&stage.source).to_bytes();
        bytes.push(0);
        rejects(lab, bytes, Code::WIRE_LENGTH)
    }),
    bad("handoff/receipt/statement-forged", &["HO-RECEIPT-1", "WIRE-SIGN-1"], |lab| {
        let stage = stage(lab)?;
        let good = stage.receipt(&stage.source);
        let statement = tampered(&good.statement);
        rejects(lab, Receipt { statement, ..good }.to_bytes(), Code::AUTH_SIGNATURE)
    }),
    bad("handoff/receipt/of-another-want", &["HO-RECEIPT-1"], |lab| {
        let stage = stage(lab)?;
        let want = stage.target.want(&mut lab.rng, stage.book.id, stage.end.parent, None);
        let want = stage.target.sign(&want);
        rejects(lab, Receipt { want, ..stage.receipt(&stage.source) }.to_bytes(), Code::HO_NO_CONSENT)
    }),
    bad("handoff/receipt/without-genesis", &["HO-RECEIPT-1", "HO-CHAIN-8"], |lab| {
        let stage = stage(lab)?;
        let chain = list(stage.book.chain[1..].to_vec());
        rejects(lab, Receipt { chain, ..stage.receipt(&stage.source) }.to_bytes(), Code::HO_CHAIN)
    }),
    bad("handoff/receipt/final-of-another-parent", &["HO-RECEIPT-1"], |lab| {
        let stage = stage(lab)?;
        let end = stage.source.sign(&Final { parent: Hash::new([7; 32]), ..stage.end.clone() });
        rejects(lab, Receipt { end, ..stage.receipt(&stage.source) }.to_bytes(), Code::HO_FINAL)
    }),
    bad("handoff/receipt/final-by-another", &["HO-RECEIPT-1", "WIRE-SIGN-1"], |lab| {
        let stage = stage(lab)?;
        let end = stage.target.sign(&stage.end);
        rejects(lab, Receipt { end, ..stage.receipt(&stage.source) }.to_bytes(), Code::AUTH_SIGNATURE)
    }),
    bad("handoff/receipt/acknowledged-by-another", &["HO-RECEIPT-1"], |lab| {
        let stage = stage(lab)?;
        let ack = Some(stage.source.ack(stage.book.head())).into();
        rejects(lab, Receipt { ack, ..stage.receipt(&stage.source) }.to_bytes(), Code::AUTH_SIGNATURE)
    }),
    bad("handoff/receipt/without-acknowledgement", &["HO-RECEIPT-1"], |lab| {
        let stage = stage(lab)?;
        rejects(lab, Receipt { ack: nothing(), ..stage.receipt(&stage.source) }.to_bytes(), Code::DATA_INCOMPLETE)
    }),
    bad("handoff/receipt/two-records-behind", &["HO-RECEIPT-1"], |lab| {
        let stage = stage(lab)?;
        let next = stage.target.sign(&stage.book.next(&stage.target, stage.source.id));
        let mut book = stage.book.clone();
        book.chain.push(next.clone());
        let after = stage.source.sign(&book.next(&stage.source, stage.target.id));
        let chain = stage.chain(&[next, after]);
        rejects(lab, Receipt { chain, ..stage.receipt(&stage.source) }.to_bytes(), Code::HO_CHAIN)
    }),
    bad("handoff/receipt/by-a-stranger", &["HO-RECEIPT-2"], |lab| {
        let stage = stage(lab)?;
        let stranger = Peer::new(&mut lab.rng);
        rejects(lab, stage.receipt(&stranger).to_bytes(), Code::HO_NOT_OWNER)
    }),
    bad("handoff/receipt/statement-of-another-record", &["HO-RECEIPT-2"], |lab| {
        let stage = stage(lab)?;
        let said = Statement { record: Hash::new([7; 32]), ..stage.statement(&stage.source) };
        let statement = stage.source.sign(&said);
        rejects(lab, Receipt { statement, ..stage.receipt(&stage.source) }.to_bytes(), Code::HO_NOT_OWNER)
    }),
    bad("handoff/receipt/kinds-out-of-order", &["HO-RECEIPT-2"], |lab| {
        let stage = stage(lab)?;
        let mut said = stage.statement(&stage.source);
        said.moved = list(vec![tally(5, 1, 8), tally(3, 1, 8)]);
        let statement = stage.source.sign(&said);
        rejects(lab, Receipt { statement, ..stage.receipt(&stage.source) }.to_bytes(), Code::WIRE_VALUE)
    }),
];

/// A receipt that doesn't hold, beside one that does.
const fn bad(name: &'static str, clauses: &'static [&'static str], step: Step) -> Case {
    refused(name, clauses, E, good, step).needs(VERIFIES)
}

fn good(lab: &mut Lab) -> Done {
    let stage = stage(lab)?;
    accepts(lab, &stage.receipt(&stage.source))
}

/// A handoff between two devices of the suite: the last record of the book is its record.
struct Stage {
    source: Peer,
    target: Peer,
    book: Book,
    want: Signed<Want>,
    end: Final,
}

fn stage(lab: &mut Lab) -> Done<Stage> {
    lab.boot()?;
    let (source, target) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
    let mut book = Book::create(&source, &[target.id], &mut lab.rng);
    book.write_exclusive(b"cursor 1");
    let data = book.announce();
    let want = target.sign(&target.want(&mut lab.rng, book.id, book.head(), None));
    let record = Record { want: want.id(), ..book.next(&source, target.id) };
    let end = book.end(&data);
    book.chain.push(source.sign(&record));
    Ok(Stage { source, target, book, want, end })
}

impl Stage {
    fn receipt(&self, by: &Peer) -> Receipt {
        Receipt {
            chain: self.chain(&[]),
            want: self.want.clone(),
            end: self.source.sign(&self.end),
            ack: Some(self.target.ack(self.book.head())).into(),
            statement: by.sign(&self.statement(by)),
        }
    }

    fn statement(&self, by: &Peer) -> Statement {
        let (session, record) = (self.book.id, self.book.head());
        Statement { session, record, by: by.id, moved: list(vec![tally(5, 1, 8)]), left: List::empty() }
    }

    fn chain<const N: usize>(&self, behind: &[Signed<Record>]) -> List<Signed<Record>, N> {
        list([self.book.chain.as_slice(), behind].concat())
    }
}

/// The subject hands its session over to the peer, who acknowledges; the record.
fn handed(lab: &mut Lab) -> Done<(Owning, Hash)> {
    let own = owning(lab)?;
    let grant = own.granted(lab)?;
    own.acknowledge(lab, &grant);
    let record = grant.record.id();
    lab.must(Command::Receipt { session: own.session, record })?;
    Ok((own, record))
}

/// The subject takes a session over, and gives a receipt.
fn taken(lab: &mut Lab) -> Done {
    let scene = wanting(lab)?;
    scene.succeeds(lab)?;
    let record = scene.draft.signed_record().id();
    let proof = receipt(lab, scene.book.id, record)?;
    proves(lab, &proof, (scene.peer.id, lab.id()), record)
}

/// The receipt that the subject gives, verified.
fn receipt(lab: &mut Lab, session: SessionId, record: Hash) -> Done<Handed> {
    let Reply::Receipt(bytes) = lab.must(Command::Receipt { session, record })? else {
        return Err(Fault::fail("a receipt", "an answer without"));
    };
    Receipt::verify(Rules::ALL, &bytes)
        .map_err(|why| Fault::fail("a receipt that holds", format!("one that breaks {why:?}")))
}

/// It says that the first device handed over to the second, and that the subject says so.
fn proves(lab: &Lab, proof: &Handed, devices: (DeviceId, DeviceId), record: Hash) -> Done {
    let found = (proof.source, proof.target, proof.by, proof.record);
    ensure(found == (devices.0, devices.1, lab.id(), record), "the two devices and the record", format!("{found:?}"))
}

fn accepts(lab: &mut Lab, receipt: &Receipt) -> Done {
    lab.must(Command::VerifyReceipt { receipt: receipt.to_bytes() }).map(|_| ())
}

fn rejects(lab: &mut Lab, receipt: Vec<u8>, code: Code) -> Done {
    match lab.command(Command::VerifyReceipt { receipt }) {
        Err(refusal) if refusal.code == code => Ok(()),
        Err(refusal) => Err(Fault::fail(format!("refused with {code:?}"), format!("{:?}", refusal.code))),
        Ok(_) => Err(Fault::fail(format!("refused with {code:?}"), "accepted")),
    }
}

fn tally(kind: u16, parts: u32, bytes: u64) -> Tally {
    Tally { kind, parts, bytes }
}

fn list<T, const N: usize>(items: Vec<T>) -> List<T, N> {
    List::new(items).unwrap_or_default()
}
