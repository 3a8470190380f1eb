//! What an adapter declares for tier B is offered there: each command is asked once, of a device of its own.
//!
//! No case asks for some of them, and a case that does asks for it late. What a device answers doesn't matter here, for
//! there is no session and no peer: it may refuse. `unsupported` says that the declaration is wrong.

use std::net::SocketAddr;

use segue_proto::wire::DeviceId;
use segue_testkit::device::{Command, Setup};
use serde_json::Value;

use crate::attach::{Failure, Hello, Host, Tier};
use crate::protocol::json::Json;

/// The commands that a subject declares for tier B and answers by `unsupported` there, a line each.
pub fn unsupported(host: &mut dyn Host, hello: &Hello) -> Vec<String> {
    hello
        .offered(Tier::B)
        .iter()
        .filter(|command| !offers(host, hello, command))
        .map(|command| words(command))
        .collect()
}

fn words(command: &str) -> String {
    format!("the adapter declares '{command}' for tier B, and answers 'unsupported' to it there")
}

/// Whether a command isn't answered by `unsupported`. What isn't one of the protocol isn't asked for.
fn offers(host: &mut dyn Host, hello: &Hello, name: &str) -> bool {
    let probe = probe(name);
    if probe.is_none() && name != "dial" {
        return true;
    }
    host.renew();
    let mut setup = Setup::new([7; 32]);
    setup.generation = hello.generations.iter().copied().max().unwrap_or(setup.generation);
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let Ok((mut device, _)) = host.listen(&setup, any) else { return true };
    match probe {
        Some(command) => drop(device.command(command)),
        // Nobody is there.
        None => drop(device.dial(DeviceId::new([8; 32]), SocketAddr::from(([127, 0, 0, 1], 9)))),
    }
    drop(device);
    !matches!(host.failure(), Some(Failure::Unsupported { asked, .. }) if asked == name)
}

/// A well-formed command of this kind, about nothing that there is.
fn probe(name: &str) -> Option<Command> {
    let (_, fields) = PROBES.iter().find(|(probe, _)| *probe == name)?;
    let [session, hash] = [0x11, 0x22].map(|byte: u8| format!("{byte:02x}"));
    let fields = fields.replace("ID16", &session.repeat(16)).replace("ID32", &hash.repeat(32));
    let mut command: Value = serde_json::from_str(&format!("{{{fields}}}")).ok()?;
    command["type"] = name.into();
    Command::from_json(&command).ok()
}

/// The commands of the protocol, each with its fields.
const PROBES: [(&str, &str); 41] = [
    ("trust", r#""device":"ID32""#),
    ("distrust", r#""device":"ID32""#),
    ("create", r#""name":"probe","members":["ID32"]"#),
    ("write-file", r#""session":"ID16","path":"probe","content":"00""#),
    ("write-exclusive", r#""session":"ID16","bytes":"00""#),
    ("write", r#""session":"ID16","part":"ID16","kind":1,"body":"00","resolves":false"#),
    ("follow", r#""session":"ID16","from":"ID32""#),
    ("stand-by", r#""session":"ID16","limit":0"#),
    ("pick", r#""session":"ID16","folders":["probe"]"#),
    ("remove", r#""session":"ID16","path":"probe""#),
    ("initiate", r#""session":"ID16","to":"ID32","timeout_us":1000000"#),
    ("cancel", r#""session":"ID16""#),
    ("request", r#""session":"ID16","from":"ID32","timeout_us":1000000"#),
    ("consent", r#""session":"ID16","to":"ID32","ttl_us":1000000"#),
    ("accept", r#""token":"ID32""#),
    ("reject", r#""token":"ID32""#),
    ("takeover", r#""session":"ID16""#),
    ("close", r#""session":"ID16""#),
    ("close-link", r#""link":0,"code":"LINK_SHUTDOWN""#),
    ("shutdown", ""),
    ("create-account", r#""name":"probe""#),
    ("invite", r#""name":"probe""#),
    ("accept-link", r#""invite":"probe""#),
    ("confirm-link", r#""device":"ID32","yes":false"#),
    ("revoke", r#""device":"ID32""#),
    ("take-in", r#""session":"ID16","part":"ID16","actor":"ID32""#),
    ("receipt", r#""session":"ID16","record":"ID32""#),
    ("verify-receipt", r#""receipt":"00""#),
    ("compact", r#""session":"ID16","part":"ID16""#),
    ("use-mailbox", r#""mailbox":"ID32""#),
    ("host-mailbox", ""),
    ("host-custody", r#""lease_us":0"#),
    ("delegate", r#""session":"ID16","service":"ID32","timeout_us":1000000"#),
    ("reclaim", r#""session":"ID16","timeout_us":1000000"#),
    ("discover", r#""service":"ID32","devices":["ID32"]"#),
    ("demand-accounts", r#""accounts":[]"#),
    ("login", r#""service":"ID32","token":"00""#),
    ("meet-at", r#""addresses":["127.0.0.1:9"]"#),
    ("introduce", r#""service":"ID32","to":"ID32""#),
    ("wake-devices", ""),
    ("wake", r#""service":"ID32","device":"ID32""#),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attach::{AdapterOptions, COMMANDS, LineHost, LoopWire};

    #[test]
    fn every_command_of_the_protocol_can_be_asked_for() {
        for name in COMMANDS {
            assert!(probe(name).is_some(), "{name}: {:?}", PROBES.iter().find(|(probe, _)| *probe == name));
        }
        assert_eq!(probe("dial"), None);
    }

    #[test]
    fn the_reference_offers_in_tier_b_what_it_declares_and_more_is_noticed() {
        let mut host = LineHost::new(Box::new(LoopWire::new(AdapterOptions::default())));
        let mut hello = host.hello().expect("the reference");
        assert!(hello.offers("write") && !hello.offers_in(Tier::B, "write"));
        assert_eq!(unsupported(&mut host, &hello), [""; 0]);
        hello.commands_b = None;
        let wrong = unsupported(&mut host, &hello);
        assert!(wrong.contains(&words("write")) && !wrong.contains(&words("create")), "{wrong:?}");
    }
}
