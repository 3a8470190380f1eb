//! `segue link`: links a new device with one of the account.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use segue_quic::{Code, DeviceId, Error, Event, Hash, Invite, UsageError};

use crate::alarms::Alarms;
use crate::args::Link;
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::picture::{Picture, scan};
use crate::terminal::{Answers, Interrupt, ask, note, say};

/// On the new device: invites, and waits. On the linked one, with a picture or a text: dials and links.
pub(crate) async fn run(args: Link) -> Result<Exit, Failure> {
    let mut interrupt = Interrupt::open()?;
    let invite = match (&args.scan, &args.paste) {
        (Some(picture), _) => Some(read(&scan(picture)?)?),
        (None, Some(text)) => Some(read(text)?),
        (None, None) => None,
    };
    let listen = invite.is_none().then_some(args.listen);
    let set = |builder: segue_quic::Builder| listen.into_iter().fold(builder, segue_quic::Builder::listen);
    let device = Device::open(&args.state, set).await?;
    let mut alarms = Alarms::default();
    let done = tokio::select! {
        done = link(&device, &args, invite, &mut alarms) => done,
        () = interrupt.next() => Err(Failure::failed("interrupted; nothing was linked")),
    };
    device.close().await;
    alarms.rest(&device.node).await;
    done.map(|()| Exit::Resolved)
}

fn read(text: &str) -> Result<Invite, Failure> {
    let read = Invite::from_text(text);
    read.map_err(|why| Failure::failed(format!("{why}; run `segue link` on the new device and read what it shows")))
}

async fn link(device: &Device, args: &Link, invite: Option<Invite>, alarms: &mut Alarms) -> Result<(), Failure> {
    let first = invite.is_some() && device.node.account().await?.is_none();
    let dialled = match &invite {
        Some(invite) => Some(dial(device, args, invite).await?),
        None => {
            show(device, args).await?;
            None
        }
    };
    let (peer, name) = shown(device, dialled, alarms).await?;
    let account = confirm(device, args, (peer, &name), alarms).await?;
    if first {
        note(format_args!("started account {account} with this device, {:?}, as its first", own_name(args)));
    }
    Ok(())
}

/// Shows an invitation: as a picture in the terminal and in a file, and as text.
async fn show(device: &Device, args: &Link) -> Result<(), Failure> {
    if let Some(account) = device.node.account().await? {
        let text = format!(
            "this device belongs to account {} already; to link another device, run `segue link` there, and here with --scan or --paste",
            account.id
        );
        return Err(Failure::failed(text));
    }
    let hints = match args.address.as_slice() {
        [] => own_addresses(device.node.local_addr().unwrap_or(args.listen)),
        given => given.to_vec(),
    };
    let invite = device.node.invite(&own_name(args), &hints).await?;
    let text = invite.to_text();
    let picture = Picture::of(&text)?;
    // What can fail comes before the invitation is shown.
    if let Some(path) = &args.png {
        picture.save(path)?;
    }
    say(picture.lines());
    say(&text);
    note(format_args!(
        "read this on a device of your account by `segue link --scan` or `--paste`, within 300 seconds; it works once. Waiting at {}",
        hints.join(" and ")
    ));
    Ok(())
}

/// A device that was dialled.
struct Dialled {
    device: DeviceId,
    /// At how many addresses others may answer in its place.
    astray: usize,
}

/// Dials the device that invites; without an account one is started, once both users have confirmed.
async fn dial(device: &Device, args: &Link, invite: &Invite) -> Result<Dialled, Failure> {
    if invite.device == device.node.device() {
        return Err(Failure::failed("the invitation is this device's own; read it on a device of your account"));
    }
    if expired(invite) {
        return Err(Failure::failed(
            "the invitation is more than 300 seconds old; run `segue link` on the new device again",
        ));
    }
    let addresses = invite.addresses();
    let hints = if args.address.is_empty() { &addresses } else { &args.address };
    let places = places(hints).await?;
    device.node.accept_link(invite, &places, Some(&own_name(args))).await?;
    note(format_args!("dialling {}", hints.join(" and ")));
    Ok(Dialled { device: invite.device, astray: places.len() - 1 })
}

/// Where these addresses lead: a name that nobody knows is left out, if there is another.
async fn places(hints: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let none = "the invitation names no address; give the new device's by --address HOST:PORT";
    let (mut found, mut why) = (Vec::new(), Failure::failed(none));
    for hint in hints {
        match resolve(hint).await {
            Ok(addr) => found.push(addr),
            Err(failure) => why = failure,
        }
    }
    if found.is_empty() { Err(why) } else { Ok(found) }
}

/// Waits for the check code of whoever comes, or of the device that was dialled, and shows it.
async fn shown(device: &Device, dialled: Option<Dialled>, alarms: &mut Alarms) -> Result<(DeviceId, String), Failure> {
    let mut astray = dialled.as_ref().map_or(0, |dialled| dialled.astray);
    let dialled = dialled.map(|dialled| dialled.device);
    let code = async {
        loop {
            match alarms.told(device.node.next_event().await) {
                Some(Event::LinkCode { peer, name, code }) => {
                    say(format_args!("check code {:03} {:03}", code / 1000, code % 1000));
                    return Ok((peer, name));
                }
                // So answers whoever else is at an address of the invitation; each attempt begins at another.
                Some(Event::Unlinked { peer, code: Code::AUTH_FAILED, .. })
                    if dialled.is_some() && peer == dialled && astray > 0 =>
                {
                    astray -= 1;
                }
                // Whoever else knocks on a device that invites, and fails, changes nothing.
                Some(Event::Unlinked { peer, code, .. }) if dialled.is_some() && peer == dialled => refused(code)?,
                Some(_) => {}
                None => return Err(segue_quic::Error::Stopped.into()),
            }
        }
    };
    let late = || {
        Failure::failed("the other device didn't come; run `segue link` on the new device again, and check its address")
    };
    let patience = if dialled.is_some() { DIAL } else { INVITE };
    tokio::time::timeout(patience, code).await.unwrap_or_else(|_| Err(late()))
}

/// What ends the wait, of what may end a link.
fn refused(code: Code) -> Result<(), Failure> {
    let text = match code {
        Code::LINK_EXPIRED | Code::AUTH_FAILED => {
            "the other device doesn't take the invitation: it was used, or is too old; run `segue link` there again"
        }
        Code::LINK_CHANNEL => {
            "what the other device says doesn't fit the invitation: somebody may stand between the two; link them in a network that you trust"
        }
        Code::LINK_DECLINED => "the other device's user said no",
        // It may come yet, or somebody else knocked.
        _ => return Ok(()),
    };
    Err(Failure::failed(format!("{text} ({code:?})")))
}

/// Asks whether the codes are the same, and waits for the end.
async fn confirm(
    device: &Device,
    args: &Link,
    (peer, name): (DeviceId, &str),
    alarms: &mut Alarms,
) -> Result<Hash, Failure> {
    let yes = match (args.yes, Answers::open()) {
        (true, _) => true,
        (false, Some(mut answers)) => {
            ask(format_args!("Does the device {name:?} show the same code? Link the two?"));
            tokio::select! {
                biased;
                why = over(device, peer, alarms) => {
                    // Ends the line of the question, to which no answer is of use any more.
                    note("");
                    return Err(why);
                }
                yes = answers.next() => yes,
            }
        }
        (false, None) => {
            note("there is nobody at the terminal to compare the codes");
            false
        }
    };
    if !yes {
        device.node.decline_link(peer).await?;
        return Err(Failure::failed("not linked: the codes were not confirmed here (LINK_DECLINED)"));
    }
    let account = device.node.confirm_link(peer).await.map_err(not_linked)?;
    say(format_args!("linked with {name:?}, device {peer}, in account {account}"));
    if args.scan.is_none() && args.paste.is_none() {
        // The other device may not know yet: it goes as soon as it does.
        let _ = tokio::time::timeout(LINGER, left(device, peer, alarms)).await;
    }
    Ok(account)
}

/// Why linking ended although this device's user confirmed.
fn not_linked(error: Error) -> Failure {
    let why = match error {
        Error::Link { code: Code::LINK_DECLINED, .. } => "the other device's user said no (LINK_DECLINED)",
        Error::Link { code: Code::LINK_EXPIRED, .. } => "the other device's user said nothing in time (LINK_EXPIRED)",
        Error::Link { code: Code::LINK_LOST, .. } => {
            "the link broke, and the new device may be linked all the same: see `segue devices` there (LINK_LOST)"
        }
        Error::Usage { source: UsageError::NoLinking, .. } => {
            "it ended before it was confirmed here: the other device's user said no, or the link broke"
        }
        error => return error.into(),
    };
    Failure::failed(format!("not linked: {why}; run `segue link` on the new device to try again"))
}

/// Waits until the linking ends that the user is asked about; why it did.
async fn over(device: &Device, peer: DeviceId, alarms: &mut Alarms) -> Failure {
    while let Some(event) = alarms.told(device.node.next_event().await) {
        if let Event::LinkResolved { peer: it, result: Err(code) } = event
            && it == peer
        {
            return unasked(code);
        }
    }
    segue_quic::Error::Stopped.into()
}

/// Why linking ended before this device's user answered.
fn unasked(code: Code) -> Failure {
    let why = match code {
        Code::LINK_DECLINED => "the other device's user said no",
        Code::LINK_EXPIRED => "the codes were not confirmed in time",
        Code::LINK_LOST => "the link broke",
        _ => "the linking broke off",
    };
    Failure::failed(format!("not linked: {why} ({code:?}); run `segue link` on the new device to try again"))
}

/// Waits until a device takes its leave.
async fn left(device: &Device, peer: DeviceId, alarms: &mut Alarms) {
    while let Some(event) = alarms.told(device.node.next_event().await) {
        if matches!(event, Event::Unlinked { peer: Some(it), .. } if it == peer) {
            return;
        }
    }
}

fn own_name(args: &Link) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let named = args.name.clone().or_else(host).filter(|name| !name.is_empty());
    named.unwrap_or_else(|| "device".to_owned())
}

/// Where a socket can be reached: at its own address, or if it listens at all of them, at those by which packets leave.
fn own_addresses(listen: SocketAddr) -> Vec<String> {
    if !listen.ip().is_unspecified() {
        return vec![listen.to_string()];
    }
    // Nothing is sent: connecting a UDP socket only asks the system for the way. The address is one of documentation.
    let leaves = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    let ip = leaves.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |addr| addr.ip());
    vec![SocketAddr::new(ip, listen.port()).to_string()]
}

/// By this device's clock, which decides nothing: the other device keeps the time.
fn expired(invite: &Invite) -> bool {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    now > invite.expires + SKEW
}

/// How far apart two clocks may be before an invitation that lives looks dead. From: guess.
const SKEW: u64 = 3_600;
/// An invitation's life, and a little.
const INVITE: Duration = Duration::from_secs(305);
/// How long the other device is waited for that is to hear of the end. From: some round trips and a sync.
const LINGER: Duration = Duration::from_secs(10);
/// From dialling to the check code.
const DIAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linking_that_nobody_answered_says_so_and_blames_nobody() {
        let text = unasked(Code::LINK_EXPIRED).text;
        assert!(text.contains("not confirmed in time (LINK_EXPIRED)"), "{text}");
    }
}
