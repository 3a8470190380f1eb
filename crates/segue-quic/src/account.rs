//! The account: linking devices, listing them, revoking them.

use std::net::SocketAddr;

use segue_proto::Code;
use segue_proto::account::Invite;
use segue_proto::wire::{DeviceId, Hash};

use crate::error::Error;
use crate::files::wall_ms;
use crate::node::Node;

/// The devices of one user, as this device knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: Hash,
    /// Its devices, by their ids.
    pub devices: Vec<LinkedDevice>,
    /// The keys that were revoked, by their ids.
    pub revoked: Vec<RevokedDevice>,
}

/// A device of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkedDevice {
    /// Its id.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Who linked it; the first device names itself.
    pub by: DeviceId,
    /// When, in milliseconds since 1970, by the clock of who linked it.
    pub since_ms: u64,
}

/// A device that was revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedDevice {
    /// Its id.
    pub device: DeviceId,
    /// Its name when it was linked.
    pub name: String,
    /// Who revoked it.
    pub by: DeviceId,
    /// When, in milliseconds since 1970, by that device's clock.
    pub since_ms: u64,
}

/// Accounts.
impl Node {
    /// Starts an account with this device as its first, and waits until it is durable.
    ///
    /// # Errors
    /// This device belongs to an account already, or the name has more than 64 characters or control characters.
    pub async fn create_account(&self, name: &str) -> Result<Hash, Error> {
        let name = name.to_owned();
        let told = self.command("start an account", move |driver| {
            driver.core.create_account(wall_ms(), &name, None)?;
            Ok(driver.waits.account())
        });
        told.await?.await.map_err(|_| Error::Stopped)
    }

    /// The account of this device, if it belongs to one.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn account(&self) -> Result<Option<Account>, Error> {
        self.call(|driver| {
            let roster = driver.core.roster()?;
            let standing = roster.standing();
            let devices = standing.members.iter().map(|(device, member)| LinkedDevice {
                device: *device,
                name: member.name.clone(),
                by: member.by,
                since_ms: millis(member.made.as_bytes()),
            });
            let revoked = standing.revoked.iter().map(|(device, revoked)| RevokedDevice {
                device: *device,
                name: revoked.name.clone(),
                by: revoked.by,
                since_ms: millis(revoked.made.as_bytes()),
            });
            Some(Account { id: roster.account(), devices: devices.collect(), revoked: revoked.collect() })
        })
        .await
    }

    /// Invites a device of an account to link this one, which is to be called `name` and listens at `hints`. Show the
    /// invitation to that device's user, and nobody else; it works once, for 300 seconds. [`crate::Event::LinkCode`] follows.
    ///
    /// # Errors
    /// This device belongs to an account already, the name is too long, or there are more than 4 hints.
    pub async fn invite(&self, name: &str, hints: &[String]) -> Result<Invite, Error> {
        let (name, hints) = (name.to_owned(), hints.to_vec());
        self.command("invite", move |driver| {
            let now = driver.now();
            driver.core.invite(now, wall_ms(), &name, &hints)
        })
        .await
    }

    /// Dials the device that made an invitation, at all of these addresses, to link it: whichever answers first counts.
    /// [`crate::Event::LinkCode`] follows. Until it does the device is dialled again and again; [`Node::forget`] gives up.
    /// If this device has no account, it starts one once both users have confirmed, as its first device with the name
    /// `first`.
    ///
    /// # Errors
    /// This device belongs to no account and `first` is none or no name, or the other one is revoked.
    pub async fn accept_link(&self, invite: &Invite, addrs: &[SocketAddr], first: Option<&str>) -> Result<(), Error> {
        let (invite, device, addrs) = (invite.clone(), invite.device, addrs.to_vec());
        let first = first.map(str::to_owned);
        self.command("accept the invitation", move |driver| {
            let now = driver.now();
            driver.core.accept_link(now, &invite, first.as_deref())?;
            driver.keep(device, addrs);
            Ok(())
        })
        .await
    }

    /// The user says that both devices show the same check code. Waits until the device is linked, or this one is.
    ///
    /// # Errors
    /// Nothing waits to be confirmed, the other user said no or nothing in time, or the link broke.
    pub async fn confirm_link(&self, device: DeviceId) -> Result<Hash, Error> {
        let told = self.command("confirm the link", move |driver| {
            let now = driver.now();
            let told = driver.waits.link(device);
            driver.core.confirm_link(now, wall_ms(), device, true)?;
            Ok(told)
        });
        let result = told.await?.await.map_err(|_| Error::Stopped)?;
        result.map_err(|code| Error::Link { device, code })
    }

    /// The user says that the check codes differ, or that the devices shouldn't be linked.
    ///
    /// # Errors
    /// Nothing waits to be confirmed.
    pub async fn decline_link(&self, device: DeviceId) -> Result<(), Error> {
        self.command("decline the link", move |driver| {
            let now = driver.now();
            driver.core.confirm_link(now, wall_ms(), device, false)
        })
        .await
    }

    /// Revokes a device of the account, for good, and waits until that is durable. Its links end at once; sessions that
    /// it owns are taken over if this device is a member of them.
    ///
    /// # Errors
    /// The account has no such device, it is revoked already, or it is this one.
    pub async fn revoke(&self, device: DeviceId) -> Result<(), Error> {
        let told = self.command("revoke the device", move |driver| {
            driver.core.revoke(wall_ms(), device)?;
            driver.keepers.forget(&device);
            Ok(driver.waits.revoke(device))
        });
        told.await?.await.map_err(|_| Error::Stopped)
    }
}

/// The milliseconds of a hybrid clock.
fn millis(hlc: &[u8; 8]) -> u64 {
    u64::from_be_bytes(*hlc) >> 16
}

/// What a linking came to.
pub(crate) type Linked = Result<Hash, Code>;
