//! A subject that hosts a mailbox, and tells devices that named one another which of them are there.

use segue_proto::limits::MAX_DISCOVER;
use segue_proto::wire::{DeviceId, Discover, Exts, Found, List, Message, Presence};
use segue_proto::{Code, Event, Generation};
use segue_testkit::device::Command;

use super::E;
use super::host::{another, varint};
use super::scene::{Asker, HOSTS, Mailbox, hosting};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;

const G: Generation = Generation::V7;

pub(super) const CASES: &[Case] = &[
    works("service/seen/none-here", &["SERVICE-NONE-1"], E, |lab| {
        let (peer, link) = crate::cases::scene::linked(lab)?;
        let mut asker = Asker::at(peer, link);
        let req = asker.discover(lab, &[DeviceId::new([7; 32])]);
        lab.refuses(link, req, Code::SERVICE_NONE)
    })
    .since(G),
    works("service/seen/each-named-the-other", &["SERVICE-SEEN-1", "SERVICE-SEEN-2"], E, mutual).needs(HOSTS).since(G),
    works("service/seen/not-of-one-that-named-others", &["SERVICE-SEEN-1"], E, |lab| {
        let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
        a.told(lab, &[b.peer.id], &[])?;
        b.told(lab, &[DeviceId::new([7; 32])], &[])?;
        a.told(lab, &[b.peer.id, DeviceId::new([7; 32])], &[])?;
        lab.link_down(b.link);
        a.told(lab, &[b.peer.id], &[])
    })
    .needs(HOSTS)
    .since(G),
    works("service/seen/by-a-link-of-generation-2", &["SERVICE-SEEN-2"], E, |lab| {
        let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
        b.told(lab, &[a.peer.id], &[])?;
        lab.link_down(b.link);
        // What it named stays, though it can't name anybody on this link.
        b.peer.generation = Generation::V2.number();
        lab.connect(&b.peer)?;
        a.told(lab, &[b.peer.id], &[(b.peer.id, Generation::V2.number())])
    })
    .needs(HOSTS)
    .since(G),
    works("service/seen/when-it-was-there", &["SERVICE-SEEN-2"], E, |lab| {
        let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
        b.told(lab, &[a.peer.id], &[])?;
        lab.link_down(b.link);
        lab.pass(AWAY);
        let req = a.discover(lab, &[b.peer.id, b.peer.id]);
        let found = a.found(lab, req)?;
        let right = |it: &Presence| {
            let ago = it.ago_ms.saturating_mul(1_000);
            it.device == b.peer.id && it.generation == 0 && (AWAY..2 * AWAY).contains(&ago)
        };
        ensure(found.len() == 1 && found.iter().all(right), "the device, once, five seconds ago", format!("{found:?}"))
    })
    .needs(HOSTS)
    .since(G),
    works("service/seen/named-anew", &["SERVICE-SEEN-3"], E, |lab| {
        let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
        b.told(lab, &[a.peer.id], &[])?;
        a.told(lab, &[b.peer.id], &[(b.peer.id, G.number())])?;
        b.told(lab, &[], &[])?;
        a.told(lab, &[b.peer.id], &[])?;
        lab.link_down(b.link);
        a.told(lab, &[b.peer.id], &[])
    })
    .needs(HOSTS)
    .since(G),
    works("service/seen/kept-over-a-restart", &["SERVICE-SEEN-3", "SERVICE-SEEN-2"], E, |lab| {
        let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
        b.told(lab, &[a.peer.id], &[])?;
        a.reboot(lab, Command::HOST)?;
        a.told(lab, &[b.peer.id], &[(b.peer.id, 0)])
    })
    .needs(HOSTS)
    .since(G),
    works("service/seen/asks-and-is-told", &["SERVICE-PEER-1"], E, |lab| {
        lab.boot()?;
        let mut it = Mailbox::used(lab)?;
        it.serve(lab)?;
        let device = DeviceId::new([7; 32]);
        lab.must(Command::Discover { service: it.peer.id, devices: vec![device] })?;
        let asked = lab.take(it.link, "DISCOVER", |message| match message {
            Message::Discover(asked) => Some(asked.clone()),
            _ => None,
        })?;
        ensure(*asked.devices == [device], "DISCOVER of the device", format!("{asked:?}"))?;
        let told = vec![Presence { device, generation: 0, ago_ms: 90_000 }];
        let found = List::new(told.clone()).unwrap_or_default();
        lab.send(it.link, Found { req: asked.req, found, ext: Exts::empty() });
        lab.event("the event found, with what FOUND tells", |event| match event {
            Event::Found { service, found: Ok(found), .. } if *service == it.peer.id && *found == told => Some(()),
            _ => None,
        })
    })
    .needs(&["discover", "use-mailbox", "write"])
    .since(G),
    refused("service/seen/too-many", &["WIRE-CAP-1"], E, mutual, |lab| {
        let mut asker = hosting(lab, Command::HOST)?;
        let req = asker.req();
        let len = MAX_DISCOVER + 1;
        let devices = (0..len).flat_map(|at| [at as u8; 32]).collect();
        let body: Vec<u8> = [varint(req as usize), varint(len), devices, vec![0]].concat();
        lab.send_raw(asker.link, &[varint(0x78), varint(body.len()), body].concat());
        lab.ends_with(asker.link, Code::WIRE_LIMIT)
    })
    .needs(HOSTS)
    .since(G),
];

/// How long a device is away, in microseconds.
const AWAY: u64 = 5_000_000;

fn mutual(lab: &mut Lab) -> Done {
    let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
    let stranger = Peer::new(&mut lab.rng).id;
    a.told(lab, &[b.peer.id, stranger], &[])?;
    b.told(lab, &[a.peer.id], &[(a.peer.id, G.number())])?;
    a.told(lab, &[b.peer.id, stranger], &[(b.peer.id, G.number())])
}

impl Asker {
    /// Asks which devices are there; the number of the request.
    pub(super) fn discover(&mut self, lab: &mut Lab, devices: &[DeviceId]) -> u32 {
        let req = self.req();
        let devices = List::new(devices.to_vec()).unwrap_or_default();
        lab.send(self.link, Discover { req, devices, ext: Exts::empty() });
        req
    }

    /// Takes the FOUND that answers a request.
    pub(super) fn found(&self, lab: &mut Lab, req: u32) -> Done<Vec<Presence>> {
        lab.take(self.link, &format!("FOUND with req {req}"), |message| match message {
            Message::Found(it) if it.req == req => Some(it.found.to_vec()),
            _ => None,
        })
    }

    /// Asks, and is told of just these devices and generations.
    fn told(&mut self, lab: &mut Lab, devices: &[DeviceId], of: &[(DeviceId, u8)]) -> Done {
        let req = self.discover(lab, devices);
        let found = self.found(lab, req)?;
        let told: Vec<_> = found.iter().map(|it| (it.device, it.generation)).collect();
        ensure(told == of, &format!("FOUND of {of:?}"), format!("{found:?}"))
    }
}
