//! Devices as the user names them: by id, or by their name in the account.

use std::fmt;
use std::str::FromStr;

use segue_quic::{Account, DeviceId, Node};

use crate::failure::Failure;

/// A device as it stands on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Id(DeviceId),
    /// A name, to be looked up in the account's roster.
    Name(String),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Who, String> {
        if let Some(id) = DeviceId::from_hex(text).filter(|id| !id.is_zero()) {
            return Ok(Who::Id(id));
        }
        match text.trim() {
            cut if cut.len() >= CUT_ID && cut.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
                Err("a device id has 64 hexadecimal digits; `segue id --state DIR` prints it".to_owned())
            }
            "" => Err("a device's name, or its id: `segue id --state DIR` prints one".to_owned()),
            name => Ok(Who::Name(name.to_owned())),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::Id(id) => write!(f, "{id}"),
            Who::Name(name) => f.write_str(name),
        }
    }
}

impl Who {
    /// The device's id; zero for a name that was not looked up.
    pub(crate) fn id(&self) -> DeviceId {
        match self {
            Who::Id(id) => *id,
            Who::Name(_) => DeviceId::ZERO,
        }
    }

    /// The device's id, unless it is a name that was not looked up.
    pub(crate) fn known(&self) -> Option<DeviceId> {
        match self {
            Who::Id(id) => Some(*id),
            Who::Name(_) => None,
        }
    }

    /// Looks a name up, so that [`Who::id`] is the device's.
    pub(crate) async fn look_up(&mut self, node: &Node) -> Result<(), Failure> {
        if let Who::Name(name) = self {
            *self = Who::Id(find(node.account().await?.as_ref(), name)?);
        }
        Ok(())
    }
}

/// So many hexadecimal digits are meant as an id. From: half of one.
const CUT_ID: usize = 32;

/// The device of this name.
fn find(account: Option<&Account>, name: &str) -> Result<DeviceId, Failure> {
    let Some(account) = account else {
        let text = format!(
            "{name:?} is no device id, and this device belongs to no account in which to look for a name; give the 64 hexadecimal digits that the other device's `segue id` prints, or link the two by `segue link`"
        );
        return Err(Failure::failed(text));
    };
    let found: Vec<_> = account.devices.iter().filter(|device| device.name == name).collect();
    match found.as_slice() {
        [one] => Ok(one.device),
        [] => {
            let names: Vec<_> = account.devices.iter().map(|device| format!("{:?}", device.name)).collect();
            let gone = account.revoked.iter().any(|device| device.name == name);
            let what = if gone { "was revoked from this account" } else { "is no device of this account" };
            let names = names.join(", ");
            Err(Failure::failed(format!("{name:?} {what}; its devices are {names}: name one of them, or give an id")))
        }
        several => {
            let ids: Vec<_> = several.iter().map(|device| format!("\n  {}", device.device)).collect();
            let text = format!("{name:?} is the name of {} devices; name one by its id:{}", ids.len(), ids.concat());
            Err(Failure::failed(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use segue_quic::{Hash, LinkedDevice, RevokedDevice};

    use super::*;

    fn account() -> Account {
        let device = |n: u8, name: &str| LinkedDevice {
            device: DeviceId::new([n; 32]),
            name: name.to_owned(),
            by: DeviceId::new([1; 32]),
            since_ms: 0,
        };
        let devices = vec![device(1, "laptop"), device(2, "phone"), device(3, "phone")];
        Account { id: Hash::new([9; 32]), devices, revoked: Vec::new() }
    }

    #[test]
    fn a_name_is_found_and_an_ambiguous_one_lists_the_candidates() {
        assert_eq!(find(Some(&account()), "laptop").unwrap(), DeviceId::new([1; 32]));
        let text = find(Some(&account()), "phone").unwrap_err().text;
        assert!(text.contains(&"02".repeat(32)) && text.contains(&"03".repeat(32)), "{text}");
        assert!(find(Some(&account()), "tablet").unwrap_err().text.contains("\"laptop\""));
        let (device, by) = (DeviceId::new([4; 32]), DeviceId::new([1; 32]));
        let mut account = account();
        account.revoked.push(RevokedDevice { device, name: "watch".to_owned(), by, since_ms: 0 });
        let text = find(Some(&account), "watch").unwrap_err().text;
        assert!(text.contains("was revoked from this account; its devices are \"laptop\""), "{text}");
        assert!(find(None, "phone").unwrap_err().text.contains("segue link"));
    }

    #[test]
    fn sixty_four_digits_are_an_id() {
        assert_eq!("02".repeat(32).parse(), Ok(Who::Id(DeviceId::new([2; 32]))));
        assert_eq!("phone".parse(), Ok(Who::Name("phone".to_owned())));
        assert!("".parse::<Who>().is_err() && "02".repeat(31).parse::<Who>().is_err());
    }
}
