//! A subject that hosts a mailbox and has devices woken, and one that asks for that.

use segue_proto::limits::{MAX_WAKES, WAKE_WINDOW};
use segue_proto::wire::{DeviceId, Exts, Message, Wake, WakeOk};
use segue_proto::{Code, Event, Generation};
use segue_testkit::device::Command;

use super::E;
use super::host::another;
use super::meet::keep_alive;
use super::scene::{Asker, HOSTS, Mailbox, hosting};
use crate::cases::{Case, refused, works};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;

const G: Generation = Generation::V7;

/// The commands without which a subject has nobody woken.
const WAKES: &[&str] = &["host-mailbox", "wake-devices"];

pub(super) const CASES: &[Case] = &[
    works("service/wake/none-here", &["SERVICE-NONE-1"], E, |lab| {
        let (peer, link) = crate::cases::scene::linked(lab)?;
        let mut asker = Asker::at(peer, link);
        let req = asker.wake(lab, DeviceId::new([7; 32]));
        lab.refuses(link, req, Code::SERVICE_NONE)
    })
    .since(G),
    works("service/wake/no-way", &["SERVICE-WAKE-5"], E, |lab| {
        let (mut a, mut b) = (hosting(lab, Command::HOST)?, another(lab)?);
        each_names_the_other(lab, &mut a, &mut b)?;
        lab.link_down(b.link);
        for device in [b.peer.id, DeviceId::new([7; 32])] {
            let req = a.wake(lab, device);
            lab.refuses(a.link, req, Code::SERVICE_NONE)?;
        }
        wakes(lab, &[])
    })
    .needs(HOSTS)
    .since(G),
    works("service/wake/one-that-is-away", &["SERVICE-WAKE-1"], E, |lab| woken(lab).map(drop)).needs(WAKES).since(G),
    works("service/wake/kept-over-a-restart", &["SERVICE-WAKE-1", "SERVICE-SEEN-3"], E, |lab| {
        let (mut a, b) = woken(lab)?;
        a.reboot(lab, Command::HOST)?;
        lab.must(Command::WakeDevices)?;
        a.has_woken(lab, &b)
    })
    .needs(WAKES)
    .since(G),
    refused("service/wake/one-that-named-nobody", &["SERVICE-WAKE-2"], E, twin, |lab| {
        let (mut a, mut b) = waking(lab)?;
        a.discovers(lab, &[b.peer.id])?;
        a.doesnt_wake(lab, &b)?;
        b.discovers(lab, &[DeviceId::new([7; 32])])?;
        a.doesnt_wake(lab, &b)?;
        lab.link_down(b.link);
        a.doesnt_wake(lab, &b)
    })
    .needs(WAKES)
    .since(G),
    refused("service/wake/one-that-isnt-named", &["SERVICE-WAKE-2"], E, twin, |lab| {
        let (mut a, mut b) = waking(lab)?;
        b.discovers(lab, &[a.peer.id])?;
        a.doesnt_wake(lab, &b)?;
        lab.link_down(b.link);
        a.doesnt_wake(lab, &b)
    })
    .needs(WAKES)
    .since(G),
    refused("service/wake/named-no-more", &["SERVICE-WAKE-2", "SERVICE-SEEN-3"], E, twin, |lab| {
        let (mut a, mut b) = woken(lab)?;
        b.link = lab.connect(&b.peer)?;
        b.discovers(lab, &[DeviceId::new([7; 32])])?;
        lab.link_down(b.link);
        a.doesnt_wake(lab, &b)
    })
    .needs(WAKES)
    .since(G),
    works("service/wake/one-that-is-there", &["SERVICE-WAKE-3"], E, |lab| {
        let (mut a, mut b) = waking(lab)?;
        each_names_the_other(lab, &mut a, &mut b)?;
        a.wakes(lab, &b)?;
        wakes(lab, &[])?;
        lab.link_down(b.link);
        // Of whatever generation.
        b.peer.generation = Generation::V2.number();
        lab.connect(&b.peer)?;
        a.wakes(lab, &b)?;
        wakes(lab, &[])
    })
    .needs(WAKES)
    .since(G),
    refused("service/wake/so-often", &["SERVICE-WAKE-4"], E, twin, |lab| {
        let (mut a, b) = woken(lab)?;
        for _ in 1..MAX_WAKES {
            a.has_woken(lab, &b)?;
        }
        a.has_woken_too_many(lab, &b)?;
        keep_alive(lab, &[a.link], WAKE_WINDOW)?;
        a.has_woken(lab, &b)
    })
    .needs(WAKES)
    .since(G),
    refused("service/wake/one-by-all-so-often", &["SERVICE-WAKE-4"], E, twin, |lab| {
        let (mut a, mut b) = waking(lab)?;
        let mut other = another(lab)?;
        a.discovers(lab, &[b.peer.id])?;
        other.discovers(lab, &[b.peer.id])?;
        b.discovers(lab, &[a.peer.id, other.peer.id])?;
        lab.link_down(b.link);
        for _ in 0..MAX_WAKES {
            a.has_woken(lab, &b)?;
        }
        other.has_woken_too_many(lab, &b)
    })
    .needs(WAKES)
    .since(G),
    refused("service/wake/all-by-one-so-often", &["SERVICE-WAKE-4"], E, twin, |lab| {
        let (mut a, mut b) = waking(lab)?;
        let mut other = another(lab)?;
        a.discovers(lab, &[b.peer.id, other.peer.id])?;
        b.discovers(lab, &[a.peer.id])?;
        other.discovers(lab, &[a.peer.id])?;
        lab.link_down(b.link);
        lab.link_down(other.link);
        for _ in 0..MAX_WAKES {
            a.has_woken(lab, &b)?;
        }
        a.has_woken_too_many(lab, &other)
    })
    .needs(WAKES)
    .since(G),
    works("service/wake/asks-and-is-told", &["SERVICE-PEER-1"], E, |lab| {
        let peer = Peer::new(&mut lab.rng);
        lab.setup.trusted.push(peer.id);
        lab.boot()?;
        let mut it = Mailbox::used(lab)?;
        it.serve(lab)?;
        let (service, device) = (it.peer.id, peer.id);
        lab.must(Command::Wake { service, device })?;
        let asked = lab.take(it.link, "WAKE", |message| match message {
            Message::Wake(asked) => Some(asked.clone()),
            _ => None,
        })?;
        ensure(asked.device == device && asked.req != 0, "WAKE of the device", format!("{asked:?}"))?;
        lab.send(it.link, WakeOk { req: asked.req, ext: Exts::empty() });
        lab.event("the event woken, without a code", |event| match event {
            Event::Woken { service: by, device: of, code: None } if (*by, *of) == (service, device) => Some(()),
            _ => None,
        })
    })
    .needs(&["wake", "use-mailbox"])
    .since(G),
];

fn twin(lab: &mut Lab) -> Done {
    woken(lab).map(drop)
}

/// A subject that has devices woken, and two devices that are linked with it.
fn waking(lab: &mut Lab) -> Done<(Asker, Asker)> {
    let asker = hosting(lab, Command::HOST)?;
    lab.must(Command::WakeDevices)?;
    Ok((asker, another(lab)?))
}

fn each_names_the_other(lab: &mut Lab, a: &mut Asker, b: &mut Asker) -> Done {
    a.discovers(lab, &[b.peer.id])?;
    b.discovers(lab, &[a.peer.id])
}

/// Two devices named one another to the subject, the second left, and the first had it woken.
fn woken(lab: &mut Lab) -> Done<(Asker, Asker)> {
    let (mut a, mut b) = waking(lab)?;
    each_names_the_other(lab, &mut a, &mut b)?;
    lab.link_down(b.link);
    a.has_woken(lab, &b)?;
    Ok((a, b))
}

/// The subject's operator had to wake just these.
fn wakes(lab: &mut Lab, devices: &[DeviceId]) -> Done {
    let woken = lab.take_woken();
    ensure(woken == devices, &format!("{devices:?} to be woken"), format!("{woken:?}"))
}

impl Asker {
    /// Wants a device woken; the number of the request.
    pub(super) fn wake(&mut self, lab: &mut Lab, device: DeviceId) -> u32 {
        let req = self.req();
        lab.send(self.link, Wake { req, device, ext: Exts::empty() });
        req
    }

    /// Wants a device woken, and is told that this is fine.
    fn wakes(&mut self, lab: &mut Lab, other: &Asker) -> Done {
        let req = self.wake(lab, other.peer.id);
        lab.take(self.link, &format!("WAKE_OK with req {req}"), |message| match message {
            Message::WakeOk(it) if it.req == req => Some(()),
            _ => None,
        })
    }

    /// Has a device woken.
    fn has_woken(&mut self, lab: &mut Lab, other: &Asker) -> Done {
        self.wakes(lab, other)?;
        wakes(lab, &[other.peer.id])
    }

    /// Hasn't, and learns nothing of it.
    fn doesnt_wake(&mut self, lab: &mut Lab, other: &Asker) -> Done {
        let req = self.wake(lab, other.peer.id);
        lab.refuses(self.link, req, Code::SERVICE_AWAY)?;
        wakes(lab, &[])
    }

    /// Wants a device woken, and is told that this was so often of late.
    fn has_woken_too_many(&mut self, lab: &mut Lab, other: &Asker) -> Done {
        let req = self.wake(lab, other.peer.id);
        lab.refuses(self.link, req, Code::LIMIT_OFFERS)?;
        wakes(lab, &[])
    }
}
