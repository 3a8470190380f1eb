//! A subject that hosts a mailbox and introduces devices, and one that is introduced by a scripted mailbox.

use std::net::SocketAddr;

use segue_proto::limits::{INTRODUCTION_WINDOW, KEEPALIVE, MAX_INTRODUCTIONS};
use segue_proto::seal::{self, Wrapped};
use segue_proto::wire::codec::{decode, encode};
use segue_proto::wire::{
    Address, Blob, DeviceId, Exts, Introduce, IntroduceOk, Introduced, Introduction, Ip, List, Message, Nonce, Signed,
};
use segue_proto::{Code, Event, Generation, LinkId, Role, Rules};
use segue_testkit::device::Command;

use super::E;
use super::host::another;
use super::scene::{Asker, HOSTS, Mailbox, hosting, reported};
use crate::cases::scene::create;
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;

const G: Generation = Generation::V7;

/// The commands without which a subject isn't introduced.
const MEETS: &[&str] = &["meet-at", "introduce", "use-mailbox", "write"];

pub(super) const CASES: &[Case] = &[
    works("service/meet/none-here", &["SERVICE-NONE-1"], E, |lab| {
        let (peer, link) = crate::cases::scene::linked(lab)?;
        let mut asker = Asker::at(peer, link);
        let req = asker.introduce(lab, DeviceId::new([7; 32]));
        lab.refuses(link, req, Code::SERVICE_NONE)
    })
    .since(G),
    works("service/meet/passed-on", &["SERVICE-MEET-1"], E, |lab| passed(lab).map(drop)).needs(HOSTS).since(G),
    refused(
        "service/meet/one-that-named-nobody",
        &["SERVICE-MEET-2"],
        E,
        |lab| passed(lab).map(drop),
        |lab| {
            let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
            a.discovers(lab, &[b.peer.id])?;
            a.away(lab, &b)?;
            b.discovers(lab, &[DeviceId::new([7; 32])])?;
            a.away(lab, &b)
        },
    )
    .needs(HOSTS)
    .since(G),
    refused(
        "service/meet/one-that-isnt-named",
        &["SERVICE-MEET-2"],
        E,
        |lab| passed(lab).map(drop),
        |lab| {
            let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
            b.discovers(lab, &[a.peer.id])?;
            a.away(lab, &b)
        },
    )
    .needs(HOSTS)
    .since(G),
    refused(
        "service/meet/one-that-is-away",
        &["SERVICE-MEET-2"],
        E,
        |lab| passed(lab).map(drop),
        |lab| {
            let (mut a, b) = passed(lab)?;
            lab.link_down(b.link);
            let req = a.introduce(lab, b.peer.id);
            lab.refuses(a.link, req, Code::SERVICE_AWAY)
        },
    )
    .needs(HOSTS)
    .since(G),
    refused(
        "service/meet/one-of-generation-2",
        &["SERVICE-MEET-2"],
        E,
        |lab| passed(lab).map(drop),
        |lab| {
            let (mut a, mut b) = passed(lab)?;
            lab.link_down(b.link);
            b.peer.generation = Generation::V2.number();
            b.link = lab.connect(&b.peer)?;
            a.away(lab, &b)
        },
    )
    .needs(HOSTS)
    .since(G),
    refused(
        "service/meet/so-often-a-minute",
        &["SERVICE-MEET-3"],
        E,
        |lab| passed(lab).map(drop),
        |lab| {
            let (mut a, b) = passed(lab)?;
            for _ in 1..MAX_INTRODUCTIONS {
                a.introduced(lab, &b)?;
            }
            let req = a.introduce(lab, b.peer.id);
            lab.refuses(a.link, req, Code::LIMIT_OFFERS)?;
            lab.none(b.link, "INTRODUCED", |message| matches!(message, Message::Introduced(_)))?;
            keep_alive(lab, &[a.link, b.link], INTRODUCTION_WINDOW)?;
            a.introduced(lab, &b)
        },
    )
    .needs(HOSTS)
    .since(G),
    works("service/meet/introduces-itself", &["SERVICE-MEET-4", "SERVICE-MEET-6"], E, |lab| {
        let it = Meeting::begins(lab)?;
        lab.must(Command::Introduce { service: it.mailbox.peer.id, to: it.peer.id })?;
        let (sealed, _) = it.asked(lab)?;
        let bare = |bytes: &[u8]| sealed.windows(bytes.len()).any(|part| part == bytes);
        ensure(!bare(&octets()), "an introduction that can't be read", "one with the address in it")?;
        let body = it.opened(&sealed)?;
        ensure(body.answers.is_empty() && told(&body) == [own()], "its address", format!("{:?}", told(&body)))
    })
    .needs(MEETS)
    .since(G),
    works("service/meet/is-introduced", &["SERVICE-MEET-6", "SERVICE-MEET-8"], E, |lab| {
        Meeting::begins(lab)?.honest(lab, Nonce::new([1; 16]))
    })
    .needs(MEETS)
    .since(G),
    works("service/meet/takes-an-answer", &["SERVICE-MEET-7", "SERVICE-MEET-8"], E, |lab| {
        let it = Meeting::begins(lab)?;
        let asked = it.asks(lab)?;
        it.brings(lab, &it.peer, &it.introduction(lab, Some(asked)))?;
        it.dials(lab, &[theirs()])?;
        lab.none(it.mailbox.link, "INTRODUCE in answer to an answer", |message| {
            matches!(message, Message::Introduce(_))
        })
    })
    .needs(MEETS)
    .since(G),
    works("service/meet/no-answer", &["SERVICE-MEET-2"], E, |lab| {
        let it = Meeting::begins(lab)?;
        it.asks(lab)?;
        lab.pass(4_000_000);
        it.fails(lab, Code::SERVICE_AWAY)
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/of-a-stranger", &["SERVICE-MEET-5"], E, honest, |lab| {
        let mut it = Meeting::begins(lab)?;
        it.peer = Peer::new(&mut lab.rng);
        it.passes_over(lab, &it.introduction(lab, None), Code::AUTH_UNKNOWN_DEVICE)
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/another-for-the-one-that-is-named", &["SERVICE-MEET-6"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        let other = it.other.clone();
        let body = Introduction { from: other.id, ..it.introduction(lab, None) };
        it.says(lab, it.peer.id, &other, &body)?;
        it.ignores(lab, Code::SVC_TARGET_MISMATCH)
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/for-another-device", &["SERVICE-MEET-6"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        let body = Introduction { to: it.other.id, ..it.introduction(lab, None) };
        it.passes_over(lab, &body, Code::SVC_TARGET_MISMATCH)
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/forged", &["SERVICE-MEET-6", "WIRE-SIGN-1"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        let (by, body) = (it.mailbox.peer.clone(), it.introduction(lab, None));
        it.says(lab, it.peer.id, &by, &body)?;
        it.ignores(lab, Code::AUTH_SIGNATURE)
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/that-doesnt-open", &["SERVICE-MEET-6"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        let mut sealed = it.sealed(lab, &it.peer, &it.introduction(lab, None));
        sealed.last_mut().into_iter().for_each(|byte| *byte ^= 1);
        it.passes(lab, it.peer.id, sealed);
        it.ignores(lab, Code::SERVICE_ENVELOPE)
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/twice", &["SERVICE-MEET-7"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        let body = it.introduction(lab, None);
        it.brings(lab, &it.peer, &body)?;
        it.dials(lab, &[theirs()])?;
        it.asked(lab)?;
        it.passes_over(lab, &body, Code::SERVICE_ENVELOPE)
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/answer-to-nothing", &["SERVICE-MEET-7"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        it.asks(lab)?;
        it.passes_over(lab, &it.introduction(lab, Some(Nonce::new([2; 16]))), Code::SERVICE_ENVELOPE)
    })
    .needs(MEETS)
    .since(G),
    works("service/meet/addresses-of-nobody", &["SERVICE-MEET-9"], E, |lab| {
        let it = Meeting::begins(lab)?;
        let mapped = |v4: [u8; 4]| std::net::Ipv4Addr::from(v4).to_ipv6_mapped().octets();
        let mut multicast = [0; 16];
        (multicast[0], multicast[1], multicast[15]) = (0xff, 2, 0xfb);
        let nobody = [[0; 16], mapped([0, 0, 0, 0]), multicast, mapped([224, 0, 0, 251]), mapped([255; 4])];
        let mut addresses: Vec<_> = nobody.iter().map(|ip| Address { ip: Ip::new(*ip), port: 4433 }).collect();
        addresses.push(Address { port: 0, ..Address::from(theirs()) });
        addresses.push(Address::from(theirs()));
        let addresses = List::new(addresses).unwrap_or_default();
        it.brings(lab, &it.peer, &Introduction { addresses, ..it.introduction(lab, None) })?;
        it.dials(lab, &[theirs()])
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/a-thousand", &["SERVICE-MEET-10"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        for _ in 0..1_000 {
            it.passes(lab, it.peer.id, vec![5; 100]);
        }
        reported(lab, Code::LIMIT_OFFERS)?;
        it.brings(lab, &it.peer, &it.introduction(lab, None))?;
        it.ignores(lab, Code::LIMIT_OFFERS)?;
        keep_alive(lab, &[it.mailbox.link], INTRODUCTION_WINDOW)?;
        it.honest(lab, Nonce::new([3; 16]))
    })
    .needs(MEETS)
    .since(G),
    refused("service/meet/another-at-its-address", &["SERVICE-MEET-11", "LINK-AUTH-4"], E, honest, |lab| {
        let it = Meeting::begins(lab)?;
        it.honest(lab, Nonce::new([4; 16]))?;
        let link = lab.link_up(Role::Initiator, Some(it.peer.id));
        lab.prove(link)?;
        let (other, hello) = (it.other.clone(), it.other.hello());
        let (binding, _) = lab.channel(link);
        let auth = other.auth(Role::Responder, &hello, &binding);
        lab.send(link, hello);
        lab.send(link, auth);
        lab.ends_with(link, Code::AUTH_FAILED)?;
        lab.event("the event link-closed with SVC_TARGET_MISMATCH", |event| match event {
            Event::LinkClosed { code, .. } if *code == Code::SVC_TARGET_MISMATCH => Some(()),
            _ => None,
        })
    })
    .needs(MEETS)
    .since(G),
];

/// Where the subject can be dialled.
fn own() -> SocketAddr {
    ([203, 0, 113, 77], 44_977).into()
}

/// Where the other device can be dialled.
fn theirs() -> SocketAddr {
    ([192, 0, 2, 7], 4_433).into()
}

fn octets() -> [u8; 4] {
    [203, 0, 113, 77]
}

fn told(body: &Introduction) -> Vec<SocketAddr> {
    body.addresses.iter().filter_map(Address::to_socket).collect()
}

/// Lets so many microseconds pass on links that are heard of meanwhile.
pub(super) fn keep_alive(lab: &mut Lab, links: &[LinkId], time: u64) -> Done {
    for _ in 0..time.div_ceil(KEEPALIVE) {
        lab.pass(KEEPALIVE);
        links.iter().try_for_each(|link| lab.alive(*link))?;
    }
    Ok(())
}

/// Two devices named one another to the subject, and the first introduced itself to the second.
fn passed(lab: &mut Lab) -> Done<(Asker, Asker)> {
    let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
    a.discovers(lab, &[b.peer.id])?;
    b.discovers(lab, &[a.peer.id])?;
    a.introduced(lab, &b)?;
    Ok((a, b))
}

/// What must be taken in beside every refusal.
fn honest(lab: &mut Lab) -> Done {
    Meeting::begins(lab)?.honest(lab, Nonce::new([1; 16]))
}

impl Asker {
    pub(super) fn discovers(&mut self, lab: &mut Lab, devices: &[DeviceId]) -> Done {
        let req = self.discover(lab, devices);
        self.found(lab, req).map(drop)
    }

    /// Asks to be introduced; the number of the request. What is passed on says nothing to a service.
    fn introduce(&mut self, lab: &mut Lab, to: DeviceId) -> u32 {
        let req = self.req();
        let sealed = Blob::new(SEALED.to_vec()).unwrap_or_default();
        lab.send(self.link, Introduce { req, to, sealed, ext: Exts::empty() });
        req
    }

    /// Is introduced to another device.
    fn introduced(&mut self, lab: &mut Lab, to: &Asker) -> Done {
        let req = self.introduce(lab, to.peer.id);
        lab.take(self.link, &format!("INTRODUCE_OK with req {req}"), |message| match message {
            Message::IntroduceOk(it) if it.req == req => Some(()),
            _ => None,
        })?;
        let came = lab.take(to.link, "INTRODUCED", |message| match message {
            Message::Introduced(it) => Some(it.clone()),
            _ => None,
        })?;
        let right = came.from == self.peer.id && *came.sealed == *SEALED;
        ensure(right, "what was to be passed on, of the device that asked", format!("{came:?}"))
    }

    /// Isn't introduced to it, and learns nothing of it.
    fn away(&mut self, lab: &mut Lab, to: &Asker) -> Done {
        let req = self.introduce(lab, to.peer.id);
        lab.refuses(self.link, req, Code::SERVICE_AWAY)?;
        lab.none(to.link, "INTRODUCED", |message| matches!(message, Message::Introduced(_)))
    }
}

/// What a service that is only a service can't tell from an introduction.
const SEALED: &[u8] = b"sealed by one device for another";

/// A subject that takes part in introductions, a scripted mailbox that it uses, and two members of its session.
struct Meeting {
    mailbox: Mailbox,
    peer: Peer,
    other: Peer,
}

impl Meeting {
    fn begins(lab: &mut Lab) -> Done<Meeting> {
        let (peer, other) = (Peer::new(&mut lab.rng), Peer::new(&mut lab.rng));
        lab.setup.trusted.push(other.id);
        lab.boot()?;
        create(lab, &peer)?;
        lab.must(Command::MeetAt { addresses: vec![own()] })?;
        let mut mailbox = Mailbox::used(lab)?;
        mailbox.serve(lab)?;
        Ok(Meeting { mailbox, peer, other })
    }

    /// What the member says.
    fn introduction(&self, lab: &Lab, answers: Option<Nonce>) -> Introduction {
        let addresses = List::new(vec![Address::from(theirs())]).unwrap_or_default();
        let nonce = Nonce::new([0x61; 16]);
        Introduction { from: self.peer.id, to: lab.id(), nonce, answers: answers.into(), addresses }
    }

    /// An introduction that a device signs, sealed for the subject.
    fn sealed(&self, lab: &mut Lab, by: &Peer, body: &Introduction) -> Vec<u8> {
        let plain = encode(&by.sign(body));
        seal::wrap_introduction(Rules::ALL, &lab.id(), lab.rng.array(), &plain).unwrap_or_default()
    }

    /// The mailbox passes something on that it says to be of this device.
    fn passes(&self, lab: &mut Lab, from: DeviceId, sealed: Vec<u8>) {
        let sealed = Blob::new(sealed).unwrap_or_default();
        lab.send(self.mailbox.link, Introduced { from, sealed, ext: Exts::empty() });
    }

    fn says(&self, lab: &mut Lab, from: DeviceId, by: &Peer, body: &Introduction) -> Done {
        let sealed = self.sealed(lab, by, body);
        self.passes(lab, from, sealed);
        lab.stays(self.mailbox.link)
    }

    fn brings(&self, lab: &mut Lab, by: &Peer, body: &Introduction) -> Done {
        self.says(lab, by.id, by, body)
    }

    /// The subject may dial the member there, and nowhere else.
    fn dials(&self, lab: &mut Lab, at: &[SocketAddr]) -> Done {
        let came = lab.event("the event introduced", |event| match event {
            Event::Introduced { service, peer, addresses } => Some((*service, *peer, addresses.clone())),
            _ => None,
        })?;
        let right = came == (self.mailbox.peer.id, self.peer.id, at.to_vec());
        ensure(right, &format!("the member, at {at:?}"), format!("{came:?}"))
    }

    /// The subject dials nobody, answers nothing, and says why.
    fn ignores(&self, lab: &mut Lab, code: Code) -> Done {
        reported(lab, code)?;
        lab.no_event("introduced", |event| matches!(event, Event::Introduced { .. }))?;
        lab.none(self.mailbox.link, "INTRODUCE", |message| matches!(message, Message::Introduce(_)))
    }

    fn passes_over(&self, lab: &mut Lab, body: &Introduction, code: Code) -> Done {
        self.brings(lab, &self.peer, body)?;
        self.ignores(lab, code)
    }

    /// Takes the subject's INTRODUCE for the member, and acknowledges it.
    fn asked(&self, lab: &mut Lab) -> Done<(Vec<u8>, u32)> {
        let asked = lab.take(self.mailbox.link, "INTRODUCE", |message| match message {
            Message::Introduce(it) => Some(it.clone()),
            _ => None,
        })?;
        ensure(asked.to == self.peer.id, "an INTRODUCE for the member", format!("{asked:?}"))?;
        lab.send(self.mailbox.link, IntroduceOk { req: asked.req, ext: Exts::empty() });
        Ok((asked.sealed.to_vec(), asked.req))
    }

    /// Opens what the subject sealed for the member.
    fn opened(&self, sealed: &[u8]) -> Done<Introduction> {
        let broken = || crate::verdict::Fault::fail("an introduction that the member opens and verifies", "another");
        let wrapped = Wrapped { device: self.peer.id, envelope: sealed.to_vec() };
        let plain = seal::unwrap(&self.peer.key, &wrapped).ok_or_else(broken)?;
        let signed = decode::<Signed<Introduction>>(Rules::ALL, &plain).map_err(|_| broken())?;
        let proven = signed.prove(Rules::ALL, |it| it.from).map_err(|_| broken())?;
        let body = proven.body().clone();
        if body.to == self.peer.id { Ok(body) } else { Err(broken()) }
    }

    /// The subject is told to introduce itself; the nonce that it drew.
    fn asks(&self, lab: &mut Lab) -> Done<Nonce> {
        lab.must(Command::Introduce { service: self.mailbox.peer.id, to: self.peer.id })?;
        let (sealed, _) = self.asked(lab)?;
        Ok(self.opened(&sealed)?.nonce)
    }

    fn fails(&self, lab: &mut Lab, why: Code) -> Done {
        lab.event("the event not-introduced", |event| match event {
            Event::NotIntroduced { peer, code, .. } if *peer == self.peer.id && *code == why => Some(()),
            _ => None,
        })
    }

    /// An introduction that counts: the subject may dial the member, and answers.
    fn honest(&self, lab: &mut Lab, nonce: Nonce) -> Done {
        self.brings(lab, &self.peer, &Introduction { nonce, ..self.introduction(lab, None) })?;
        self.dials(lab, &[theirs()])?;
        let (sealed, _) = self.asked(lab)?;
        let answer = self.opened(&sealed)?;
        let right = answer.answers.get() == Some(&nonce) && told(&answer) == [own()];
        ensure(right, "an answer to it, with the subject's address", format!("{answer:?}"))
    }
}
