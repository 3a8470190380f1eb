//! Sessions in memory, with a network of seeded delays that can be cut, in virtual time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::session::{Change, Session};

/// Two devices and the network between them.
#[derive(Clone)]
pub(crate) struct Network(Rc<RefCell<State>>);

struct State {
    /// In milliseconds.
    now: u64,
    seed: u64,
    linked: bool,
    devices: [Device; 2],
}

struct Device {
    name: &'static str,
    changes: Vec<Change>,
    submitted: Vec<Vec<u8>>,
    /// How many of them the other device has.
    received: usize,
    /// When those on their way arrive, in their order.
    on_the_way: VecDeque<u64>,
}

/// One device's end.
pub(crate) struct End {
    network: Network,
    device: usize,
}

impl Network {
    pub(crate) fn new(names: [&'static str; 2], seed: u64) -> (Network, [End; 2]) {
        let device = |name| Device {
            name,
            changes: Vec::new(),
            submitted: Vec::new(),
            received: 0,
            on_the_way: VecDeque::new(),
        };
        let state = State { now: 0, seed, linked: false, devices: names.map(device) };
        let network = Network(Rc::new(RefCell::new(state)));
        network.link(true);
        let ends = [0, 1].map(|device| End { network: network.clone(), device });
        (network, ends)
    }

    /// Joins the devices, or parts them: what was on its way is lost, and sent again when they meet.
    pub(crate) fn link(&self, linked: bool) {
        let mut state = self.0.borrow_mut();
        state.linked = linked;
        for device in 0..2 {
            let online = if linked { vec![state.devices[1 - device].name.to_owned()] } else { Vec::new() };
            state.devices[device].on_the_way.clear();
            state.devices[device].changes.extend([Change::Link(linked), Change::Online(online)]);
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, milliseconds: u64) {
        for _ in 0..milliseconds {
            self.0.borrow_mut().tick();
        }
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.0.borrow_mut().below(bound)
    }

    /// Something that a user is to know, whatever they edit.
    pub(crate) fn ring(&self, at: usize, text: &str) {
        self.tell(at, Change::Alarm(text.to_owned()));
    }

    /// An op that no honest device sends.
    pub(crate) fn slip(&self, to: usize, op: Vec<u8>) {
        self.tell(to, Change::Op(op));
    }

    /// Tells a device of a change.
    pub(crate) fn tell(&self, to: usize, change: Change) {
        self.0.borrow_mut().devices[to].changes.push(change);
    }

    /// The disk of a device fails.
    pub(crate) fn fail(&self, device: usize) {
        self.0.borrow_mut().devices[device].changes.push(Change::Failed("the disk is full".into()));
    }
}

impl State {
    fn tick(&mut self) {
        self.now += 1;
        for from in 0..2 {
            self.send(from);
            while self.devices[from].on_the_way.front().is_some_and(|due| *due <= self.now) {
                self.devices[from].on_the_way.pop_front();
                let op = self.devices[from].submitted[self.devices[from].received].clone();
                self.devices[from].received += 1;
                let received = self.devices[from].received as u64;
                self.devices[from].changes.push(Change::Received(received));
                self.devices[1 - from].changes.push(Change::Op(op));
            }
        }
    }

    fn send(&mut self, from: usize) {
        let sent = self.devices[from].received + self.devices[from].on_the_way.len();
        if !self.linked || sent == self.devices[from].submitted.len() {
            return;
        }
        let earliest = self.devices[from].on_the_way.back().copied().unwrap_or(0);
        let due = (self.now + 1 + self.below(200)).max(earliest);
        self.devices[from].on_the_way.push_back(due);
    }

    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

impl Session for End {
    fn name(&self) -> &str {
        "notes"
    }

    fn submit(&mut self, op: Vec<u8>) {
        let mut state = self.network.0.borrow_mut();
        let device = &mut state.devices[self.device];
        device.submitted.push(op);
        let saved = device.submitted.len() as u64;
        device.changes.push(Change::Saved(saved));
    }

    fn poll(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.network.0.borrow_mut().devices[self.device].changes)
    }
}
