//! Inputs of the targets that read their bytes as steps: each plays something that works, from which mutations stray.

use segue_proto::handoff::keys;
use segue_testkit::Rng;

use super::named;
use super::objects::messages;
use crate::endpoint::rig::{Quirks, Rig};
use crate::endpoint::steps::{BULK, COMMAND, CRASH, DOWN, FOE, LINK, RAW, SIGN, SYNC, TIME};

/// The newest generation, and pulls are allowed.
const V7: u8 = 0x18;
/// The same, with signatures that come late.
const LATE: u8 = V7 | 1;
/// An honest greeting, on a link that the other side dialled.
const GREET: [u8; 2] = [LINK, 0];
/// Everything is durable.
const SYNCED: [u8; 2] = [SYNC, 255];
/// All signatures are made.
const SIGNED: [u8; 2] = [SIGN, 255];

pub(super) fn endpoint() -> Vec<(String, Vec<u8>)> {
    let scripts: Vec<(&str, u8, Vec<Vec<u8>>)> = vec![
        ("pull", V7, pull()),
        ("pull-late", LATE, [pull(), vec![SIGNED.into(), SYNCED.into(), say(16, &[])]].concat()),
        ("push", V7, push()),
        ("push-late", LATE, [push(), vec![SIGNED.into(), SYNCED.into(), SIGNED.into(), say(16, &[])]].concat()),
        ("consent", V7, consent()),
        ("receive", V7, receive()),
        ("receive-crash", V7, [receive(), vec![vec![CRASH, 2], GREET.into(), say(8, &[]), SYNCED.into()]].concat()),
        ("hand-back", V7, [pull(), vec![takeover(), vec![CRASH, 0], GREET.into(), theirs(0)]].concat()),
        ("fenced", V7, [pull(), vec![theirs(0), takeover(), SYNCED.into()]].concat()),
        ("fenced-late", LATE, vec![GREET.into(), have(), want(0), theirs(0), takeover(), SIGNED.into(), SYNCED.into()]),
        ("unread", V7 | 0x20, [pull(), pull(), push()].concat()),
        ("old", 0, [pull(), push()].concat()),
        ("asleep", V7, vec![GREET.into(), initiate(), vec![TIME, 30], vec![DOWN, 0], GREET.into(), vec![TIME, 37]]),
        ("raw", V7, vec![GREET.into(), vec![RAW, 4, 0, 0x08, 2, 5, 0], vec![RAW, 3, 0, 0x21, 1, 9]]),
        ("refetch", V7, refetch()),
        ("serve", V7, vec![GREET.into(), have(), say(4, &[0, 0]), say(5, &[0, 1, 20, 0]), say(10, &[])]),
    ];
    scripts.into_iter().map(|(name, quirks, steps)| (name.into(), [vec![quirks], steps.concat()].concat())).collect()
}

/// The hostile member says a kind of message, whole.
fn say(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[FOE, 0, 255, 1, kind], rest].concat()
}

fn have() -> Vec<u8> {
    say(3, &[0, 0, 3])
}

/// A WANT on the newest data and the head.
fn want(mode: u8) -> Vec<u8> {
    if mode == 1 { say(6, &[1, 0, 0, 0, 0, 0, 0, 0x7f, 0xff]) } else { say(6, &[mode, 0, 0, 0, 0, 0, 0x7f, 0xff]) }
}

fn command(kind: u8, rest: &[u8]) -> Vec<u8> {
    [&[COMMAND, kind, 0, 0, 0, 0xff, 0xff], rest].concat()
}

fn initiate() -> Vec<u8> {
    command(1, &[])
}

fn takeover() -> Vec<u8> {
    command(7, &[])
}

/// A takeover by the hostile member, of the session with this number.
fn theirs(session: u8) -> Vec<u8> {
    say(11, &[session, 1, 0, 0, 1, 0, 1, 0])
}

fn pull() -> Vec<Vec<u8>> {
    vec![GREET.into(), have(), want(0), SYNCED.into(), say(16, &[]), SYNCED.into()]
}

fn push() -> Vec<Vec<u8>> {
    vec![GREET.into(), initiate(), SYNCED.into(), want(1), SYNCED.into(), say(16, &[]), SYNCED.into()]
}

fn consent() -> Vec<Vec<u8>> {
    let write = command(13, &[1, 3, 7, 7, 7]);
    vec![GREET.into(), have(), want(2), write, initiate(), SYNCED.into(), say(16, &[]), SYNCED.into()]
}

/// The hostile member hands over the session that it made itself.
fn receive() -> Vec<Vec<u8>> {
    let bring = vec![BULK, 0, 0, 0, 0];
    let chain = say(11, &[1, 0, 0, 0, 0]);
    let offer = say(13, &[1, 2, 0x7f, 0xff]);
    let accept = command(12, &[0]);
    vec![GREET.into(), chain, offer, accept, bring.clone(), bring, SYNCED.into(), say(8, &[]), SYNCED.into()]
}

/// A fetch that is lied to, cut off and goes on.
fn refetch() -> Vec<Vec<u8>> {
    let mut steps = receive();
    steps.truncate(4);
    let (lie, cut) = (vec![BULK, 0, 0, 255, 0], vec![BULK, 0, 0, 0, 255]);
    let bring = vec![BULK, 0, 0, 0, 0];
    steps.extend([lie, cut, vec![DOWN, 0], GREET.into(), bring.clone(), bring, SYNCED.into(), say(8, &[])]);
    steps
}

pub(super) fn link() -> Vec<(String, Vec<u8>)> {
    let all: Vec<u8> = messages().iter().skip(2).flat_map(|message| message.to_frame()).collect();
    let hello: Vec<u8> = messages().iter().take(2).flat_map(|message| message.to_frame()).collect();
    let seeds = [
        [&[0, V7, 255], all.as_slice()].concat(),
        [&[2, V7, 1], hello.as_slice()].concat(),
        [&[3, V7, 255], all.as_slice()].concat(),
        [&[1, 0, 7], hello.as_slice()].concat(),
        [&[1, V7, 0], [0x08, 2, 5, 0].as_slice()].concat(),
    ];
    named("bytes", seeds)
}

pub(super) fn transfer() -> Vec<(String, Vec<u8>)> {
    let round = [2, 3, 1, 4, 0, 0, 0, 0, 0, 5, 0, 0];
    let straight = |files: u8| [vec![files], round.repeat(2 * usize::from(files) + 2)].concat();
    let rough = [2, 3, 1, 4, 0, 0, 255, 0, 0, 5, 0, 2, 3, 0, 6, 3, 1, 4, 0, 1, 1, 1, 0, 5, 0, 1];
    named("fetch", [straight(1), straight(2), straight(3), [vec![3], rough.repeat(6)].concat()])
}

pub(super) fn chain() -> Vec<(String, Vec<u8>)> {
    // Per record: whole body or fields, parent, kind, what is odd, and whoever else it takes.
    let grants = [0, 0, 0, 0, 1, 7, 0, 1, 0, 0, 2, 7, 0, 2, 0, 0, 0, 7];
    let takeovers = [0, 0, 2, 1, 1, 0, 7, 0, 1, 2, 1, 0, 0, 7, 0, 2, 0, 0, 2, 7];
    let close = [0, 0, 0, 0, 1, 7, 0, 1, 3, 0, 0, 1, 0, 0, 0, 7];
    named("records", [grants.to_vec(), takeovers.to_vec(), close.to_vec(), [grants, grants].concat()])
}

pub(super) fn roster() -> Vec<(String, Vec<u8>)> {
    // Per entry: a choice, link or revoke, signer, device, how many parents beside one, and which.
    let links = [1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 2, 0, 1];
    let revoke = [0, 0, 0, 1, 0, 2];
    let mutual = [1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1];
    named("entries", [links.to_vec(), [links.as_slice(), &revoke].concat(), mutual.to_vec()])
}

pub(super) fn restore() -> Vec<(String, Vec<u8>)> {
    let rig = Rig::new(Quirks::of(V7));
    let mut entries = vec![0];
    for (key, value) in rig.disk() {
        match keys::split(key) {
            None => entries.push(255),
            Some((session, letter, rest)) => {
                let at = crate::restore::LETTERS.iter().position(|known| *known == letter).unwrap_or_default();
                entries.push(at as u8);
                entries.extend_from_slice(session.as_bytes());
                entries.extend_from_slice(rest);
            }
        }
        if keys::split(key).is_none() {
            entries.extend_from_slice(&[0; 16]);
        }
        entries.extend_from_slice(&(value.len() as u16).to_be_bytes());
        entries.extend_from_slice(value);
    }
    let mut restored = entries.clone();
    restored[0] = 1;
    named("journal", [entries, restored])
}

pub(super) fn world() -> Vec<(String, Vec<u8>)> {
    named("run", (0..6).map(|seed| Rng::new(seed, "fuzz world").bytes(48)))
}
