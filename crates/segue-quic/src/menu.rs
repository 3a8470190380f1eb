//! What a menu for handing over shows: the sessions that this device may hand over, and the devices that may have each.

use std::collections::BTreeSet;

use segue_proto::wire::{DeviceId, SessionId};
use segue_proto::{Ability, Generation, SessionRole, SessionView};

use crate::driver::Driver;
use crate::error::Error;
use crate::node::Node;
use crate::picks::DataType;
use crate::presence::Presence;

/// A session that this device may hand over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offerable {
    /// The session.
    pub session: SessionId,
    /// Its name.
    pub name: String,
    /// The files that it has, directories not counted.
    pub files: u64,
    /// The bytes of these.
    pub bytes: u64,
    /// Its types of data, by name: what a user may choose to take along ([`Node::take_along`]).
    pub types: Vec<DataType>,
    /// The service that signs its next record, if this device delegated: the handoff goes by way of it.
    pub service: Option<DeviceId>,
    /// The devices that may have it, without this one: those of the account first, then the other members, by their ids.
    pub devices: Vec<Candidate>,
}

/// A device that may have a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// Its name in the account; none for another's device.
    pub name: Option<String>,
    /// Whether it belongs to the account.
    pub in_account: bool,
    /// Whether it is a member of the session by its chain.
    pub is_member: bool,
    /// Whether this device has a link with it now. One without a link may be there all the same.
    pub linked: bool,
    /// Whether that link goes by way of a service.
    pub relayed: bool,
    /// The generation of that link.
    pub generation: Option<Generation>,
    /// What a service tells of it, if [`Node::offerable_by`] asked one and it does.
    pub presence: Option<Presence>,
}

impl Candidate {
    /// What it is able to do, as far as its generation is known: by its link with this device, else by that with a
    /// service. None if it has neither.
    pub fn abilities(&self) -> Option<Vec<Ability>> {
        let told = || self.presence.filter(|it| it.online)?.generation;
        self.generation.or_else(told).map(|generation| generation.abilities().collect())
    }
}

impl Node {
    /// The sessions that this device may hand over now, and the devices that may have each: what a menu shows. Revoked
    /// devices are none of them. What is chosen goes to [`Node::initiate_handoff`].
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn offerable(&self) -> Result<Vec<Offerable>, Error> {
        let account = self.account().await?;
        let (linked, revoked) = account.map(|it| (it.devices, it.revoked)).unwrap_or_default();
        let found = self.call(move |driver| {
            let known = driver.core.sessions();
            let views = known.iter().filter_map(|id| driver.core.session(id));
            views
                .filter(|view| view.role == SessionRole::Primary)
                .map(|view| {
                    let members = members(&view);
                    let named = linked.iter().map(|it| (it.device, Some(it.name.clone())));
                    let others = members.iter().filter(|member| linked.iter().all(|it| it.device != **member));
                    let all = named.chain(others.map(|member| (*member, None)));
                    let may = all.filter(|(device, _)| {
                        *device != driver.core.device() && revoked.iter().all(|it| it.device != *device)
                    });
                    let devices = may.map(|(device, name)| candidate(driver, members.contains(&device), device, name));
                    let devices = devices.collect();
                    let service = view.grantor.filter(|grantor| Some(*grantor) != view.owner);
                    Offerable {
                        session: view.id,
                        name: view.name,
                        files: 0,
                        bytes: 0,
                        types: Vec::new(),
                        service,
                        devices,
                    }
                })
                .collect::<Vec<_>>()
        });
        let mut found = found.await?;
        for session in &mut found {
            session.types = self.data_types(session.session).await?;
            let files = self.files(session.session).await?;
            let files = files.iter().filter(|file| !file.is_dir);
            (session.files, session.bytes) = files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.len));
        }
        Ok(found)
    }
}

/// Who is a member by the chain: those that the genesis names, and every owner.
pub(crate) fn members(view: &SessionView) -> BTreeSet<DeviceId> {
    let records = view.chain.iter().map(|record| record.body());
    let named = records.clone().filter_map(|record| record.genesis.get()).flat_map(|it| it.members.iter().copied());
    named.chain(records.map(|record| record.owner)).filter(|device| !device.is_zero()).collect()
}

fn candidate(driver: &Driver, is_member: bool, device: DeviceId, name: Option<String>) -> Candidate {
    let generation = driver.generation_with(&device);
    Candidate {
        device,
        in_account: name.is_some(),
        name,
        is_member,
        linked: generation.is_some(),
        relayed: generation.is_some() && !driver.is_linked_directly(&device),
        generation,
        presence: None,
    }
}
