//! Every state of a link and of a session, and what the reference makes of every message in it: the tables of spec
//! sections 3.2 and 7.12, cell by cell, as snapshots.

use std::fmt::Write as _;
use std::fs;

use segue_proto::wire::{Cancel, Decline, Error, Exts, Get, Hash, Have, Held, Message, Place, SessionId, WantMsg};
use segue_proto::{Code, Event, Generation, LinkId, Policy, Role};
use segue_testkit::device::Command;
use segue_testkit::trace::describe;

use super::scene::{self, TIMEOUT, linked, owning, session_of};
use crate::attach::LocalHost;
use crate::lab::{Done, Lab, opposite};
use crate::peer::{Book, Draft, Peer, head, offer, offer_msg};

/// The subject in some state of a session, and what a peer needs to say anything about it.
struct Scene {
    peer: Peer,
    link: LinkId,
    book: Book,
    /// The OFFER or WANT that is live.
    subject: Hash,
    /// The GRANT that the subject waits for.
    draft: Option<Draft>,
}

type State = (&'static str, fn(&mut Lab) -> Done<Scene>);

const STATES: &[State] = &[
    ("Unknown", |lab| {
        let (peer, link) = linked(lab)?;
        let book = session_of(lab, &peer);
        Ok(of(peer, link, book))
    }),
    ("Secondary", |lab| {
        let (peer, link) = linked(lab)?;
        let book = session_of(lab, &peer);
        lab.send(link, book.whole());
        Ok(of(peer, link, book))
    }),
    ("Invited", |lab| {
        let it = scene::invited(lab)?;
        Ok(Scene { subject: it.token, ..of(it.peer, it.link, it.book) })
    }),
    ("Collecting", |lab| {
        let (peer, link) = linked(lab)?;
        let mut book = session_of(lab, &peer);
        let data = book.announce();
        lab.must(Command::Request { session: book.id, from: peer.id, timeout_us: TIMEOUT })?;
        scene::introduce(lab, link, &book, &data)?;
        Ok(of(peer, link, book))
    }),
    ("Wanting", |lab| Ok(wanting(scene::wanting(lab)?))),
    ("Lapsed", |lab| {
        let it = wanting(scene::wanting(lab)?);
        for _ in 0..TIMEOUT / 15_000_000 {
            lab.pass(15_000_000);
            let _ = lab.alive(it.link);
        }
        Ok(it)
    }),
    ("Primary", |lab| {
        lab.setup.pulls = Policy::Ask;
        Ok(owner(owning(lab)?))
    }),
    ("Primary, a WANT waits", |lab| {
        lab.setup.pulls = Policy::Ask;
        let own = owning(lab)?;
        let want = own.want(lab);
        let subject = own.send_want(lab, 42, &want).id();
        Ok(Scene { subject, ..owner(own) })
    }),
    ("Offering", |lab| {
        lab.setup.pulls = Policy::Ask;
        let own = owning(lab)?;
        lab.must(Command::Initiate { session: own.session, to: own.peer.id, timeout_us: TIMEOUT })?;
        let subject = lab.take(own.link, "OFFER", |message| match message {
            Message::Offer(offer) => Some(offer.offer.id()),
            _ => None,
        })?;
        Ok(Scene { subject, ..owner(own) })
    }),
    ("Releasing", |lab| {
        let own = owning(lab)?;
        lab.syncs = false;
        let want = own.want(lab);
        let subject = own.send_want(lab, 42, &want).id();
        Ok(Scene { subject, ..owner(own) })
    }),
    ("Granted", |lab| {
        let own = owning(lab)?;
        let subject = own.granted(lab)?.want.id();
        Ok(Scene { subject, ..owner(own) })
    }),
    ("Closed", |lab| {
        let own = owning(lab)?;
        lab.must(Command::Close { session: own.session })?;
        Ok(owner(own))
    }),
];

type Said = (&'static str, fn(&mut Lab, &Scene) -> Message);

const MESSAGES: &[Said] = &[
    ("HAVE that asks", |_, it| Have { req: 7, ..it.book.have(None) }.into()),
    ("HAVE of the head", |_, it| it.book.have(None).into()),
    ("HAVE with data", |_, it| it.book.have(it.book.clone().announce().into()).into()),
    ("GET of the manifest", |_, it| {
        let data = it.book.clone().announce();
        let len = u64::from(data.manifest_len);
        Get { req: 7, session: it.book.id, blob: data.manifest, len, ext: Exts::empty() }.into()
    }),
    ("WANT", |lab, it| {
        let data = it.book.clone().announce();
        let held = Held { root: data.root, manifest: data.manifest };
        let want = it.peer.want(&mut lab.rng, it.book.id, it.book.head(), Some(held));
        WantMsg { req: 7, want: it.peer.sign(&want), ext: Exts::empty() }.into()
    }),
    ("GRANT", |lab, it| match &it.draft {
        Some(draft) => draft.seal().into(),
        None => {
            let data = it.book.clone().announce();
            let want = it.peer.want(&mut lab.rng, it.book.id, it.book.head(), None);
            Draft::new(&it.peer, &it.book, 7, &it.peer.sign(&want), lab.id(), &data).seal().into()
        }
    }),
    ("HEAD of the same", |_, it| it.book.whole().into()),
    ("HEAD of a takeover", |_, it| head(it.book.id, vec![it.peer.sign(&it.book.takeover(&it.peer))], None).into()),
    ("OFFER", |lab, it| {
        let data = it.book.clone().announce();
        let body = offer(&it.peer, &it.book, lab.id(), &data, &mut lab.rng);
        offer_msg(&it.peer, 7, &body).into()
    }),
    ("DECLINE of the live one", |_, it| decline(it.book.id, it.subject)),
    ("DECLINE of another", |_, it| decline(it.book.id, Hash::new([9; 32]))),
    ("CANCEL of the live one", |_, it| cancel(it.book.id, it.subject)),
    ("CANCEL of another", |_, it| cancel(it.book.id, Hash::new([9; 32]))),
];

fn of(peer: Peer, link: LinkId, book: Book) -> Scene {
    Scene { peer, link, book, subject: Hash::new([8; 32]), draft: None }
}

fn wanting(it: scene::Wanting) -> Scene {
    Scene { subject: it.draft.want.id(), draft: Some(it.draft), ..of(it.peer, it.link, it.book) }
}

fn owner(own: scene::Owning) -> Scene {
    of(own.peer, own.link, own.book)
}

fn decline(session: SessionId, subject: Hash) -> Message {
    Decline { session, subject, code: Code::HO_DECLINED.into(), ext: Exts::empty() }.into()
}

fn cancel(session: SessionId, subject: Hash) -> Message {
    Cancel { session, subject, code: Code::HO_CANCELLED.into(), ext: Exts::empty() }.into()
}

#[test]
fn session_cells() {
    let mut table = String::new();
    for (state, begin) in STATES {
        let _ = writeln!(table, "{state}");
        for (name, message) in MESSAGES {
            let mut host = LocalHost::new();
            let mut lab = Lab::new(&mut host, Generation::V2, 1, state);
            let cell = cell(&mut lab, *begin, *message).unwrap_or_else(|why| format!("{why:?}"));
            let _ = writeln!(table, "  {name:24} {cell}");
        }
    }
    pin("session_cells", &table);
}

fn cell(lab: &mut Lab, begin: fn(&mut Lab) -> Done<Scene>, message: fn(&mut Lab, &Scene) -> Message) -> Done<String> {
    let scene = begin(lab)?;
    drain(lab, scene.link);
    let before = role(lab, scene.book.id);
    let message = message(lab, &scene);
    lab.send(scene.link, message);
    let outcome = drain(lab, scene.link);
    let after = role(lab, scene.book.id);
    lab.stays(scene.link)?;
    Ok(if before == after { format!("{before}: {outcome}") } else { format!("{before} → {after}: {outcome}") })
}

/// A frame that a peer sends.
type Frame = fn(&mut Lab, &Peer, LinkId) -> Vec<u8>;

#[test]
fn link_cells() {
    let states = ["Greeting", "Authenticating", "Ready", "Closed"];
    let frames: [(&str, Frame); 11] = [
        ("HELLO", |_, peer, _| Message::from(peer.hello()).to_frame()),
        ("AUTH", |lab, peer, link| auth(lab, peer, link).to_frame()),
        ("ERROR", |_, _, _| {
            let (session, code) = (None.into(), Code::HO_DECLINED.into());
            let error = Error { req: 7, session, code, definite: true, retry_after_ms: 0, ext: Exts::empty() };
            Message::from(error).to_frame()
        }),
        ("GOAWAY", |_, _, _| {
            let code = Code::LINK_SHUTDOWN.into();
            Message::from(segue_proto::wire::Goaway { code, ext: Exts::empty() }).to_frame()
        }),
        ("PING", |_, _, _| {
            Message::from(segue_proto::wire::Ping { nonce: 1, answer: false, ext: Exts::empty() }).to_frame()
        }),
        ("HAVE", |_, _, _| {
            let session = SessionId::new([9; 16]);
            let have = Have { req: 7, session, head: Hash::ZERO, data: None.into(), ext: Exts::empty() };
            Message::from(have).to_frame()
        }),
        ("CANCEL", |_, _, _| cancel(SessionId::new([9; 16]), Hash::new([9; 32])).to_frame()),
        ("BYTES", |_, _, _| scene::stream(1, Hash::new([9; 32]), 0, &[])),
        ("unknown, even", |_, _, _| vec![0x5e, 0]),
        ("unknown, odd", |_, _, _| vec![0x7f, 0]),
        ("a trailing byte", |_, _, _| vec![0x08, 4, 7, 0, 0, 9]),
    ];
    let mut table = String::new();
    for (at, state) in states.into_iter().enumerate() {
        let _ = writeln!(table, "{state}");
        for (name, frame) in frames {
            let mut host = LocalHost::new();
            let mut lab = Lab::new(&mut host, Generation::V2, 1, state);
            let cell = link_cell(&mut lab, at, frame).unwrap_or_else(|why| format!("{why:?}"));
            let _ = writeln!(table, "  {name:16} {cell}");
        }
    }
    pin("link_cells", &table);
}

/// The table of section 3.2, row by row, with a valid frame of each message.
#[test]
fn every_message_in_every_state_of_a_link() {
    for row in Message::TABLE {
        let frame = valid_frame(row.name);
        for (state, name) in ["Greeting", "Authenticating", "Ready", "Closed"].into_iter().enumerate() {
            let expected = match (state, row.place) {
                (0, Place::First) | (1, Place::Second) => continue,
                (3, _) => "nothing",
                (_, Place::Always) => "GOAWAY LINK_SHUTDOWN, (LinkClosed LINK_SHUTDOWN)",
                (2, Place::Control) if row.since > Generation::V1_4 => {
                    "GOAWAY VER_NOT_PERMITTED, (LinkClosed VER_NOT_PERMITTED)"
                }
                (2, Place::Control) => continue,
                _ => "GOAWAY WIRE_STATE, (LinkClosed WIRE_STATE)",
            };
            let mut host = LocalHost::new();
            let mut lab = Lab::new(&mut host, Generation::V1_4, 1, row.name);
            let said = link_cell(&mut lab, state, |_, _, _| frame.clone()).unwrap_or_else(|why| format!("{why:?}"));
            assert_eq!(said, expected, "{} while {name}", row.name);
        }
    }
}

/// The frame of a message, from the vectors.
fn valid_frame(message: &str) -> Vec<u8> {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let folders =
        fs::read_dir(vectors).unwrap().filter_map(|folder| fs::read_dir(folder.ok()?.path().join("valid")).ok());
    let mut paths: Vec<_> = folders.flatten().map(|file| file.unwrap().path()).collect();
    paths.sort();
    let mut vectors = paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
    let found = vectors.find(|vector| vector["kind"] == "frame" && vector["expected"]["message"] == message);
    let hex = found.unwrap_or_else(|| panic!("no valid frame of {message} among the vectors"));
    hex::decode(hex["input"]["bytes"].as_str().unwrap()).unwrap()
}

fn link_cell(lab: &mut Lab, state: usize, frame: impl Fn(&mut Lab, &Peer, LinkId) -> Vec<u8>) -> Done<String> {
    let peer = scene::alone(lab)?;
    let link = lab.link_up(Role::Responder, None);
    if state > 0 {
        lab.send(link, peer.hello());
    }
    if state > 1 {
        let auth = auth(lab, &peer, link);
        lab.send(link, auth);
    }
    if state > 2 {
        lab.must(Command::CloseLink { link, code: Code::LINK_SHUTDOWN })?;
    }
    drain(lab, link);
    let bytes = frame(lab, &peer, link);
    lab.send_raw(link, &bytes);
    Ok(drain(lab, link))
}

fn auth(lab: &Lab, peer: &Peer, link: LinkId) -> Message {
    let (binding, role) = lab.channel(link);
    peer.auth(opposite(role), &peer.hello(), &binding).into()
}

fn role(lab: &mut Lab, session: SessionId) -> String {
    lab.known(session).map_or_else(|_| "not kept".into(), |state| format!("{:?}", state.role))
}

/// What the subject said on this link and told its application, in brief.
fn drain(lab: &mut Lab, link: LinkId) -> String {
    let mut words = Vec::new();
    while let Ok(message) = lab.take(link, "anything", |message| Some(message.clone())) {
        words.push(brief(&message));
    }
    while let Ok(event) = lab.event("anything", |event| Some(event.clone())) {
        words.push(format!("({})", told(&event)));
    }
    if words.is_empty() { "nothing".into() } else { words.join(", ") }
}

fn brief(message: &Message) -> String {
    match message {
        Message::Error(error) => format!("ERROR {:?}", Code::from(error.code)),
        Message::Goaway(goaway) => format!("GOAWAY {:?}", Code::from(goaway.code)),
        Message::Decline(decline) => format!("DECLINE {:?}", Code::from(decline.code)),
        Message::Cancel(cancel) => format!("CANCEL {:?}", Code::from(cancel.code)),
        Message::Have(have) if have.req != 0 => "HAVE that asks".into(),
        Message::Have(have) if have.data.get().is_some() => "HAVE with data".into(),
        Message::Head(head) if head.ack.get().is_some() => "HEAD with ack".into(),
        message => describe(message).split(' ').next().unwrap_or_default().into(),
    }
}

fn told(event: &Event) -> String {
    let debug = format!("{event:?}");
    let name = debug.split(' ').next().unwrap_or_default();
    match event {
        Event::HandoffResolved { result: Err(code), .. } => format!("{name} {code:?}"),
        Event::Withdrawn { code, .. } | Event::LinkClosed { code, .. } | Event::Refused { code, .. } => {
            format!("{name} {code:?}")
        }
        Event::Violation { violation, .. } => format!("{name} {:?}", violation.clause),
        _ => name.into(),
    }
}

fn pin(name: &str, table: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../tests/it/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, table));
}
