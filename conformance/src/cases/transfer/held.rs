//! What must stay: announced manifests at the source, what a WANT said to be held at the target.

use segue_proto::wire::Exts;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Get, Message};
use segue_testkit::device::Command;

use super::{S, T};
use crate::cases::scene::{owning, serve_until_want, wanting};
use crate::cases::{Case, works};
use crate::lab::{Done, Lab, ensure};

pub(super) const CASES: &[Case] = &[
    works("transfer/held/announced-is-served-after-a-write", &["TRANSFER-ANNOUNCE-1"], S, |lab| {
        let own = owning(lab)?;
        lab.must(Command::WriteFile { session: own.session, path: "more.txt".into(), content: b"more".to_vec() })?;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"cursor 2".to_vec() })?;
        let len = u64::from(own.data.manifest_len);
        let (session, blob) = (own.session, own.data.manifest);
        lab.send(own.link, Get { req: 61, session, blob, len, ext: Exts::empty() });
        let (header, bytes) = lab.stream(own.link, "a bulk stream with the manifest that was announced")?;
        ensure(header.req == 61 && blob_id(&bytes) == blob, "its bytes", format!("{header:?}"))
    }),
    works("transfer/held/what-an-earlier-want-named", &["TRANSFER-HAVE-2"], T, an_earlier_want),
    works("transfer/held/no-root-before-its-ops-are-durable", &["DATA-OP-6"], S, |lab| {
        let own = owning(lab)?;
        lab.syncs = false;
        lab.must(Command::WriteExclusive { session: own.session, bytes: b"cursor 2".to_vec() })?;
        lab.skip(own.link);
        lab.send(own.link, segue_proto::wire::Have { req: 62, ..own.book.have(None) });
        let newer = |message: &Message| match message {
            Message::Have(have) => have.data.get().filter(|data| data.root != own.data.root).map(|_| ()),
            _ => None,
        };
        lab.none(own.link, "root of an op that isn't durable", |message| newer(message).is_some())?;
        lab.sync();
        lab.take(own.link, "a HAVE with the new root", newer)
    }),
];

/// The subject said WANT; then it was shown more data, and said WANT again. The GRANT answers the first.
fn an_earlier_want(lab: &mut Lab) -> Done {
    let scene = wanting(lab)?;
    let mut book = scene.book.clone();
    book.write_file("later.txt", b"written later");
    let data = book.announce();
    lab.send(scene.link, book.have(Some(data)));
    serve_until_want(lab, scene.link, &book)?;
    scene.succeeds(lab)
}
