//! What a device says that it knows and has, and what others make of it.

use segue_proto::wire::{Hash, Have, Message};
use segue_proto::{Code, Rules};
use segue_testkit::device::Command;

use super::head::{have, overtake};
use crate::cases::scene::{TIMEOUT, linked, owning, serve_until_want, session_of, take_head, wanting};
use crate::cases::{Case, Part, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::verdict::Fault;

const S: Part = Part::Source;
const T: Part = Part::Target;

pub(super) const CASES: &[Case] = &[
    refused("handoff/have/under-another-head", &["HO-HAVE-2"], T, pulled, |lab| {
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
        lab.send(link, book.whole());
        lab.send(link, Have { head: Hash::new([9; 32]), ..book.have(Some(data.clone())) });
        lab.none(link, "GET of what stands under another head", is_get)?;
        lab.send(link, book.have(Some(data)));
        serve_until_want(lab, link, &book).map(|_| ())
    }),
    works("handoff/have/chain-oldest-first", &["HO-HEAD-5", "HO-HAVE-1"], S, |lab| {
        let own = owning(lab)?;
        let taken = overtake(lab, &own);
        lab.skip(own.link);
        lab.send(own.link, have(&own, Hash::ZERO, 906));
        let told = take_head(lab, own.link, own.session)?;
        let mut parent = Hash::ZERO;
        for record in told.records.iter() {
            let body = record.open(Rules::ALL).map_err(|why| Fault::fail("records", format!("{why:?}")))?;
            ensure(body.parent == parent, "consecutive records from the genesis on", format!("{body:?}"))?;
            parent = record.id();
        }
        ensure(parent == taken.id(), "the head as the last", format!("{parent:?}"))
    }),
    refused("handoff/have/of-a-device-that-does-not-own", &["HO-HAVE-2", "HO-WANT-6"], T, pulled, |lab| {
        let (peer, link) = linked(lab)?;
        let owner = crate::peer::Peer::new(&mut lab.rng);
        let members = [lab.id(), peer.id];
        let mut book = crate::peer::Book::create(&owner, &members, &mut lab.rng);
        let data = book.announce();
        lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
        lab.send(link, book.whole());
        lab.send(link, book.have(Some(data)));
        lab.none(link, "GET of what another than the owner announces", is_get)?;
        lab.send(link, book.have(None));
        super::initiate::resolves(lab, Code::HO_NOT_OWNER)
    }),
];

fn pulled(lab: &mut Lab) -> Done {
    wanting(lab)?.succeeds(lab)
}

fn is_get(message: &Message) -> bool {
    matches!(message, Message::Get(_) | Message::Ranges(_))
}
