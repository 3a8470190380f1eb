//! Choice of data: of a session's files the user gets the content of those that were picked.

use segue_proto::data::Pick;
use segue_proto::limits::CHUNK;
use segue_proto::transfer::equal_list;
use segue_proto::wire::hash::blob_id;
use segue_proto::wire::{Announced, Ext, Exts, Get, Hash, Have, Held, List, Message, OfferMsg, PartId, Want, WantMsg};
use segue_proto::{Generation, LinkId, Rules, SessionRole};
use segue_testkit::device::Command;

use crate::cases::scene::{
    TIMEOUT, acknowledged, answer_have, asked, introduce, linked, owning, slice, take_grant, take_request, take_want,
};
use crate::cases::sync::scene::Fed;
use crate::cases::{Case, Part, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::{Book, Draft, Peer, offer, offer_msg};

const S: Part = Part::Source;
const T: Part = Part::Target;
const V7: Generation = Generation::V7;

pub(super) const CASES: &[Case] = &[
    works("handoff/pick/the-want-says-so", &["HO-PICK-1"], T, |lab| {
        let mut scene = Scene::new(lab, &[LETTERS])?;
        let data = scene.pull(lab)?;
        scene.serve(lab)?;
        let (_, want) = scene.want(lab, &data)?;
        ensure(*want.pick == [scene.folder(LETTERS)], "a pick of the letters", format!("{:?}", want.pick))
    })
    .since(V7)
    .needs(PICK),
    works("handoff/pick/only-what-is-picked", &["HO-PICK-2", "TRANSFER-HAVE-1"], T, |lab| {
        let mut scene = Scene::new(lab, &[LETTERS])?;
        let data = scene.pull(lab)?;
        let asked = scene.serve(lab)?;
        ensure(asked.contains(&blob_id(LETTER)), "a request for the letter before the WANT", format!("{asked:?}"))?;
        scene.no_photo(&asked)?;
        scene.owned(lab, &data)?;
        lab.pass(segue_proto::limits::KEEPALIVE);
        let later = scene.serve(lab)?;
        scene.no_photo(&later)
    })
    .since(V7)
    .needs(PICK),
    works("handoff/pick/in-no-folder", &["HO-PICK-2"], T, |lab| {
        let mut scene = Scene::new(lab, &[""])?;
        scene.pull(lab)?;
        let asked = scene.serve(lab)?;
        ensure(asked.contains(&blob_id(LOOSE)), "a request for the file in no folder", format!("{asked:?}"))?;
        ensure(!asked.contains(&blob_id(LETTER)), "none for the letter", format!("{asked:?}"))?;
        scene.no_photo(&asked)
    })
    .since(V7)
    .needs(PICK),
    works("handoff/pick/at-any-depth", &["HO-PICK-2"], T, |lab| {
        let mut scene = Scene::new(lab, &["letters/old"])?;
        scene.pull(lab)?;
        let asked = scene.serve(lab)?;
        ensure(asked.contains(&blob_id(OLD)), "a request for the letter in the folder", format!("{asked:?}"))?;
        ensure(!asked.contains(&blob_id(LETTER)), "none for the letter above it", format!("{asked:?}"))
    })
    .since(V7)
    .needs(PICK),
    works("handoff/pick/after-a-restart", &["HO-PICK-2"], T, |lab| {
        let mut scene = Scene::new(lab, &[LETTERS])?;
        let data = scene.pull(lab)?;
        scene.serve(lab)?;
        scene.owned(lab, &data)?;
        lab.sync();
        lab.crash();
        lab.reboot()?;
        scene.link = lab.connect(&scene.peer)?;
        lab.is(scene.book.id, SessionRole::Primary)?;
        lab.pass(segue_proto::limits::KEEPALIVE);
        let later = scene.serve(lab)?;
        scene.no_photo(&later)
    })
    .since(V7)
    .needs(PICK),
    works("handoff/pick/an-offer-is-answered-with-it", &["HO-PICK-1", "HO-PICK-2"], T, |lab| {
        let mut scene = Scene::new(lab, &[LETTERS])?;
        let data = scene.book.announce();
        let body = offer(&scene.peer, &scene.book, lab.id(), &data, &mut lab.rng);
        lab.send(scene.link, scene.book.whole());
        lab.send(scene.link, offer_msg(&scene.peer, 71, &body));
        let token = asked(lab, scene.book.id)?;
        lab.must(Command::Accept { token })?;
        let requests = scene.serve(lab)?;
        scene.no_photo(&requests)?;
        let (_, want) = scene.want(lab, &data)?;
        ensure(*want.pick == [scene.folder(LETTERS)], "a pick of the letters", format!("{:?}", want.pick))
    })
    .since(V7)
    .needs(PICK),
    works("handoff/pick/all-below-7", &["HO-PICK-1", "GEN-USE-2"], T, |lab| {
        let mut scene = Scene::new(lab, &[LETTERS])?;
        let data = scene.pull(lab)?;
        let asked = scene.serve(lab)?;
        ensure(asked.contains(&scene.photo), "a request for all content before the WANT", format!("{asked:?}"))?;
        let (_, want) = scene.want(lab, &data)?;
        ensure(want.pick.is_empty() && want.need.is_empty(), "no pick", format!("{:?}", want.pick))
    })
    .until(Generation::V2)
    .needs(PICK),
    works("handoff/pick/the-old-owner-serves", &["HO-PICK-3", "TRANSFER-SERVE-1"], S, |lab| {
        let own = owning(lab)?;
        let mut want = own.want(lab);
        want.pick = List::new(vec![PartId::new([5; 16])]).unwrap_or_default();
        own.send_want(lab, 42, &want);
        let grant = take_grant(lab, own.link)?;
        own.acknowledge(lab, &grant);
        lab.is(own.session, SessionRole::Secondary)?;
        let file = own.manifest.entries().map(|(_, entry)| entry).find(|entry| entry.len > 0);
        let file = file.ok_or_else(|| crate::verdict::Fault::fail("a manifest with a file", "none"))?;
        lab.send(own.link, Get { req: 43, session: own.session, blob: file.blob, len: file.len, ext: Exts::empty() });
        let (_, bytes) = lab.stream(own.link, "a bulk stream with the content that wasn't picked")?;
        ensure(blob_id(&bytes) == file.blob, "the content", format!("{} other bytes", bytes.len()))
    })
    .since(V7),
    works("handoff/pick/an-owner-says-what-it-holds", &["HO-PICK-4"], S, |lab| {
        let mut scene = Scene::new(lab, &[LETTERS])?;
        let data = scene.pull(lab)?;
        scene.serve(lab)?;
        scene.owned(lab, &data)?;
        let said = scene.announced(lab)?;
        let folder = scene.folder(LETTERS);
        ensure(said.as_deref() == Some(folder.as_bytes()), "the extension 3 with the folder", format!("{said:?}"))
    })
    .since(V7)
    .needs(PICK),
    works("handoff/pick/an-owner-of-all-says-nothing", &["HO-PICK-4"], S, |lab| {
        let mut scene = Scene::new(lab, &[])?;
        let data = scene.pull(lab)?;
        scene.serve(lab)?;
        scene.owned(lab, &data)?;
        let said = scene.announced(lab)?;
        ensure(said.is_none(), "no extension 3", format!("{said:?}"))
    })
    .since(V7),
    works("handoff/pick/takes-what-the-source-holds", &["HO-PICK-5"], T, |lab| {
        let mut scene = Scene::new(lab, &[])?;
        let held = scene.folder(LETTERS);
        let data = scene.pull_of(lab, held.as_bytes())?;
        let asked = scene.serve(lab)?;
        scene.no_photo(&asked)?;
        let (message, want) = scene.want(lab, &data)?;
        ensure(*want.pick == [held], "a pick of what the source holds", format!("{:?}", want.pick))?;
        // What the source had left out is left out here.
        scene.granted(lab, &data, &message, &want)?;
        let said = scene.announced(lab)?;
        ensure(said.as_deref() == Some(held.as_bytes()), "the extension 3 with the folder", format!("{said:?}"))
    })
    .since(V7),
    works("handoff/pick/takes-what-an-offer-says-is-held", &["HO-PICK-5"], T, |lab| {
        let mut scene = Scene::new(lab, &[])?;
        let (held, data) = (scene.folder(LETTERS), scene.book.announce());
        let body = offer(&scene.peer, &scene.book, lab.id(), &data, &mut lab.rng);
        lab.send(scene.link, scene.book.whole());
        lab.send(scene.link, OfferMsg { ext: says(1, held.as_bytes()), ..offer_msg(&scene.peer, 71, &body) });
        let token = asked(lab, scene.book.id)?;
        lab.must(Command::Accept { token })?;
        let asked = scene.serve(lab)?;
        scene.no_photo(&asked)?;
        let (_, want) = scene.want(lab, &data)?;
        ensure(*want.pick == [held], "a pick of what the source holds", format!("{:?}", want.pick))
    })
    .since(V7),
    works("handoff/pick/takes-what-an-offer-made-again-says", &["HO-PICK-5"], T, |lab| {
        let mut scene = Scene::new(lab, &[])?;
        let (held, data) = (scene.folder(LETTERS), scene.book.announce());
        let body = offer(&scene.peer, &scene.book, lab.id(), &data, &mut lab.rng);
        let made = offer_msg(&scene.peer, 71, &body);
        lab.send(scene.link, scene.book.whole());
        lab.send(scene.link, made.clone());
        let token = asked(lab, scene.book.id)?;
        // The source's user chose what goes along, and the two met again.
        lab.link_down(scene.link);
        scene.link = lab.connect(&scene.peer)?;
        lab.send(scene.link, OfferMsg { req: 72, ext: says(1, held.as_bytes()), ..made });
        lab.settle();
        lab.must(Command::Accept { token })?;
        let asked = scene.serve(lab)?;
        scene.no_photo(&asked)?;
        let (_, want) = scene.want(lab, &data)?;
        ensure(*want.pick == [held], "a pick of what the source holds", format!("{:?}", want.pick))
    })
    .since(V7),
    works("handoff/pick/what-are-no-ids-counts-as-none", &["HO-PICK-4"], T, |lab| {
        let mut scene = Scene::new(lab, &[])?;
        let held = scene.folder(LETTERS);
        let data = scene.pull_of(lab, &held.as_bytes()[1..])?;
        let asked = scene.serve(lab)?;
        ensure(asked.contains(&scene.photo), "a request for all content", format!("{asked:?}"))?;
        let (_, want) = scene.want(lab, &data)?;
        ensure(want.pick.is_empty(), "no pick", format!("{:?}", want.pick))
    })
    .since(V7),
    works("handoff/pick/more-is-fetched-when-it-is-picked", &["HO-PICK-2", "HO-PICK-6"], T, |lab| {
        let mut scene = Scene::new(lab, &[LETTERS])?;
        let (session, from) = (scene.book.id, scene.peer.id);
        lab.must(Command::Follow { session, from })?;
        let data = scene.book.announce();
        introduce(lab, scene.link, &scene.book, &data)?;
        let fed = Fed { peer: scene.peer.clone(), link: scene.link, book: scene.book.clone(), own: None };
        let all: Vec<PartId> = fed.book.state.parts().map(|part| part.part).collect();
        fed.send_parts(lab, &all);
        fed.mark(lab, 3);
        let asked = scene.serve(lab)?;
        ensure(asked.contains(&blob_id(LETTER)), "a request for the letter that sync brought", format!("{asked:?}"))?;
        scene.no_photo(&asked)?;
        lab.must(Command::Pick { session, folders: Vec::new() })?;
        let asked = scene.serve(lab)?;
        ensure(asked.contains(&scene.photo), "a request for the photo, now that it is picked", format!("{asked:?}"))
    })
    .since(V7)
    .needs(PICK),
];

const PICK: &[&str] = &["pick"];
const LETTERS: &str = "letters";
const LETTER: &[u8] = b"Dear all";
const OLD: &[u8] = b"Dear Sirs";
const LOOSE: &[u8] = b"to do";

/// A linked peer's session of letters, a photo and a file in no folder, of which the subject is a member.
struct Scene {
    peer: Peer,
    link: LinkId,
    book: Book,
    photo: Hash,
    /// The photo's chunk list.
    list: Hash,
}

impl Scene {
    /// The subject's user has picked these folders; without any, nothing was said.
    fn new(lab: &mut Lab, folders: &[&str]) -> Done<Scene> {
        let (peer, link) = linked(lab)?;
        let members = [lab.id()];
        let mut book = Book::create(&peer, &members, &mut lab.rng);
        let photo = lab.rng.bytes(2 * CHUNK + 1);
        book.write_file("letters/first", LETTER);
        book.write_file("letters/old/second", OLD);
        book.write_file("list", LOOSE);
        book.write_file("photos/beach", &photo);
        book.write_exclusive(b"cursor 1");
        let (photo, list) = equal_list(&photo);
        let list = list.map_or(Hash::ZERO, |(list, _)| list.hash);
        if !folders.is_empty() {
            let folders = folders.iter().map(|folder| (*folder).to_owned()).collect();
            lab.must(Command::Pick { session: book.id, folders })?;
        }
        Ok(Scene { peer, link, book, photo, list })
    }

    fn folder(&self, path: &str) -> PartId {
        Pick::folder(&self.book.id, path)
    }

    /// The subject pulls, and is told what there is.
    fn pull(&mut self, lab: &mut Lab) -> Done<Announced> {
        let data = self.book.announce();
        lab.must(Command::Request { session: self.book.id, from: self.peer.id, timeout_us: TIMEOUT })?;
        introduce(lab, self.link, &self.book, &data)?;
        Ok(data)
    }

    /// The subject pulls, and is told that the peer holds this of what there is.
    fn pull_of(&mut self, lab: &mut Lab, held: &[u8]) -> Done<Announced> {
        let data = self.book.announce();
        lab.must(Command::Request { session: self.book.id, from: self.peer.id, timeout_us: TIMEOUT })?;
        lab.take(self.link, "a HAVE that asks", |message| match message {
            Message::Have(have) if have.req != 0 => Some(()),
            _ => None,
        })?;
        lab.send(self.link, self.book.whole());
        lab.send(self.link, Have { ext: says(3, held), ..self.book.have(Some(data.clone())) });
        // The subject asks again for nothing: it was told.
        self.book.announced = None;
        Ok(data)
    }

    /// Serves what the subject asks for; what that was.
    fn serve(&self, lab: &mut Lab) -> Done<Vec<Hash>> {
        let mut blobs = Vec::new();
        loop {
            let had = answer_have(lab, self.link, &self.book);
            let Ok(asked) = take_request(lab, self.link) else {
                if had {
                    continue;
                }
                return Ok(blobs);
            };
            blobs.push(asked.blob);
            for range in &asked.ranges {
                slice(&self.book, &asked, range).into_iter().for_each(|stream| lab.send_bulk(self.link, stream));
            }
        }
    }

    fn no_photo(&self, asked: &[Hash]) -> Done {
        let none = !asked.contains(&self.photo) && !asked.contains(&self.list);
        ensure(none, "no request for content that isn't picked", format!("{asked:?}"))
    }

    fn want(&self, lab: &mut Lab, data: &Announced) -> Done<(WantMsg, Want)> {
        let (req, signed) = take_want(lab, self.link)?;
        let want = signed.open(Rules::ALL);
        let want = want.map_err(|why| crate::verdict::Fault::fail("a WANT", format!("one that breaks {why:?}")))?;
        let held = Held { root: data.root, manifest: data.manifest };
        ensure(want.have.get() == Some(&held), "a WANT that holds what was announced", format!("{:?}", want.have))?;
        Ok((WantMsg { req, want: signed, ext: Exts::empty() }, want))
    }

    /// The subject's WANT is granted, and it is primary.
    fn owned(&mut self, lab: &mut Lab, data: &Announced) -> Done {
        let (message, want) = self.want(lab, data)?;
        self.granted(lab, data, &message, &want)
    }

    fn granted(&mut self, lab: &mut Lab, data: &Announced, message: &WantMsg, want: &Want) -> Done {
        let draft = Draft::new(&self.peer, &self.book, message.req, &message.want, want.target, data);
        lab.send(self.link, draft.seal());
        let record = draft.signed_record();
        lab.is(self.book.id, SessionRole::Primary)?;
        acknowledged(lab, self.link, self.book.id, record.id())?;
        self.book.chain.push(record);
        Ok(())
    }

    /// What the subject, which owns, says that it holds of its manifest: the bytes of the extension 3.
    fn announced(&self, lab: &mut Lab) -> Done<Option<Vec<u8>>> {
        lab.settle();
        lab.skip(self.link);
        let (session, req) = (self.book.id, 900);
        lab.send(self.link, Have { req, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() });
        lab.take(self.link, "a HAVE that announces data", |message| match message {
            Message::Have(have) if have.session == session && have.data.get().is_some() => {
                Some(have.ext.iter().find(|ext| ext.id == 3).map(|ext| ext.bytes.to_vec()))
            }
            _ => None,
        })
    }
}

/// The extension of this id that says what is held.
fn says(id: u32, held: &[u8]) -> Exts {
    let ext = segue_proto::wire::Blob::new(held.to_vec()).map(|bytes| Ext { id, bytes });
    List::new(ext.into_iter().collect()).unwrap_or_default()
}
