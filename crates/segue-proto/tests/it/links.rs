//! Two links of the same two devices, of which one stays.

use ed25519_dalek::SigningKey;
use segue_proto::wire::{DeviceId, sign_message};
use segue_proto::{Code, Config, Continuity, Endpoint, Event, Instant, LinkId, Lsn, Role};

const NOW: Instant = Instant::ZERO;

struct Two {
    devices: [(Endpoint, SigningKey); 2],
    links: Vec<LinkId>,
    /// How links ended, at each device.
    ended: [Vec<(LinkId, Code)>; 2],
}

impl Two {
    fn new() -> Two {
        let devices = [1, 2].map(|n| {
            let key = SigningKey::from_bytes(&[n; 32]);
            let config = Config { accept_unknown: true, ..Config::new(device(&key)) };
            let core = Endpoint::open(config, [], Lsn::default(), Continuity::Proven, [n; 32], NOW).unwrap();
            (core, key)
        });
        Two { devices, links: Vec::new(), ended: Default::default() }
    }

    /// A link, dialled by the first or by the second.
    fn link(&mut self, by_first: bool, relayed: bool) -> LinkId {
        let id = LinkId(self.links.len() as u64);
        self.links.push(id);
        let roles = if by_first { [Role::Initiator, Role::Responder] } else { [Role::Responder, Role::Initiator] };
        let keys = [1, 0].map(|other: usize| device(&self.devices[other].1));
        for (((core, _), role), other) in self.devices.iter_mut().zip(roles).zip(keys) {
            match relayed {
                true => core.handle_relayed_link_up(NOW, id, role, [id.0 as u8; 32], other),
                false => core.handle_link_up(NOW, id, role, [id.0 as u8; 32], None),
            }
        }
        self.talk();
        id
    }

    fn talk(&mut self) {
        let mut quiet = false;
        while !std::mem::replace(&mut quiet, true) {
            for at in [0, 1] {
                let (core, key) = &mut self.devices[at];
                while let Some(request) = core.poll_sign() {
                    core.handle_signed(NOW, request.id, sign_message(&request.message, key));
                    quiet = false;
                }
                while let Some(event) = core.poll_event() {
                    if let Event::LinkClosed { link, code, .. } = event {
                        self.ended[at].push((link, code));
                    }
                }
                for link in self.links.clone() {
                    let mut bytes = Vec::new();
                    if self.devices[at].0.poll_transmit(link, &mut bytes) {
                        self.devices[1 - at].0.handle_bytes(NOW, link, &bytes);
                        quiet = false;
                    }
                }
            }
        }
    }
}

fn device(key: &SigningKey) -> DeviceId {
    DeviceId::new(key.verifying_key().to_bytes())
}

/// LINK-DUP-3: the direct link stays, whoever dialled which, and in whatever order.
#[test]
fn a_direct_link_stays_and_one_by_way_of_a_service_goes() {
    for way in 0..8 {
        let [direct_by_first, relayed_by_first, direct_last] = [1, 2, 4].map(|bit| way & bit > 0);
        let mut two = Two::new();
        let (direct, relayed) = match direct_last {
            true => {
                let relayed = two.link(relayed_by_first, true);
                (two.link(direct_by_first, false), relayed)
            }
            false => (two.link(direct_by_first, false), two.link(relayed_by_first, true)),
        };
        let why = format!("{direct_by_first} {relayed_by_first} {direct_last}");
        for (ended, (core, _)) in two.ended.iter().zip(&two.devices) {
            assert!(
                ended.iter().any(|(link, code)| *link == relayed && *code == Code::LINK_REPLACED),
                "{why}: {ended:?}"
            );
            assert!(ended.iter().all(|(link, _)| *link == relayed), "{why}: {ended:?}");
            assert!(core.link_peer(direct).is_some(), "{why}");
        }
    }
}
