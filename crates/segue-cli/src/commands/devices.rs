//! `segue devices` and `segue revoke`: who belongs to the account, and who does no more.

use std::fmt::Write;

use segue_quic::{Account, DeviceId};

use crate::args::{Devices, Revoke};
use crate::control::{self, Request};
use crate::device::Device;
use crate::failure::{Exit, Failure};
use crate::terminal::say;
use crate::who::Who;

/// Lists the devices of the account.
pub(crate) async fn list(args: &Devices) -> Result<Exit, Failure> {
    let text = match Device::existing(&args.state).await {
        Ok(device) => {
            let text = report(&device).await;
            device.close().await;
            text?
        }
        Err(error) => control::ask(&args.state.state, Request::Devices).await.unwrap_or(Err(error))?,
    };
    say(text.trim_end());
    Ok(Exit::Resolved)
}

/// Revokes a device.
pub(crate) async fn revoke(args: &Revoke) -> Result<Exit, Failure> {
    let done = match Device::existing(&args.state).await {
        Ok(device) => {
            let done = put_out(&device, args.device.clone()).await;
            device.close().await;
            done?
        }
        Err(error) => {
            let request = Request::Revoke(args.device.clone());
            control::ask(&args.state.state, request).await.unwrap_or(Err(error))?
        }
    };
    say(done);
    Ok(Exit::Resolved)
}

/// Carries out a revocation; what to tell the user.
pub(crate) async fn put_out(device: &Device, mut who: Who) -> Result<String, Failure> {
    let named = who.to_string();
    who.look_up(&device.node).await?;
    device.node.revoke(who.id()).await?;
    let device = who.id();
    Ok(format!(
        "revoked {named}, device {device}: its key never returns; your other devices are told when they meet this one"
    ))
}

/// The account in lines.
pub(crate) async fn report(device: &Device) -> Result<String, Failure> {
    let Some(account) = device.node.account().await? else {
        let text = "this device belongs to no account; `segue link` on it makes an invitation, and `segue link --scan` or `--paste` reads one";
        return Err(Failure::failed(text));
    };
    Ok(lines(&account, device.node.device()))
}

fn lines(account: &Account, me: DeviceId) -> String {
    let mut out = format!("account {}\n", account.id);
    for device in &account.devices {
        let here = if device.device == me { ", this device" } else { "" };
        let by = if device.by == device.device {
            "the first".to_owned()
        } else {
            format!("linked by {}", name(account, &device.by))
        };
        let _ = writeln!(out, "{:?}  {}  since {}, {by}{here}", device.name, device.device, date(device.since_ms));
    }
    for device in &account.revoked {
        let by = name(account, &device.by);
        let _ = writeln!(out, "{:?}  {}  revoked {}, by {by}", device.name, device.device, date(device.since_ms));
    }
    out
}

fn name(account: &Account, id: &DeviceId) -> String {
    let linked = account.devices.iter().find(|device| device.device == *id).map(|device| &device.name);
    let revoked = || account.revoked.iter().find(|device| device.device == *id).map(|device| &device.name);
    linked.or_else(revoked).map_or_else(|| format!("key {id}"), |name| format!("{name:?}"))
}

/// Milliseconds since 1970 as date and time, UTC.
pub(crate) fn date(ms: u64) -> String {
    let (days, secs) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Counted from 1 March of the year 0, in eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (year + era * 400, if month < 10 { month + 3 } else { month - 9 });
    let year = if month <= 2 { year + 1 } else { year };
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", secs / 3600, secs / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_780_000_000_000), "2026-05-28 20:26 UTC");
    }
}
