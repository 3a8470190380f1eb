//! Three devices, each a process, write one session at once: each is offline in turn, `kill -9` comes at random, and
//! ownership moves meanwhile. In the end all hold the same, one of them owns, and all that any of them acknowledged is
//! there, shown or listed as a conflict; what was written without having seen another's value is listed.
//!
//! By default some hundred ops; with `SEGUE_SYNC=full` more than ten thousand.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use crate::worker::{BLIND, WORKER};

const LONG: Duration = Duration::from_secs(180);

struct Size {
    rounds: u64,
    /// Of each device, a round.
    ops: u64,
}

fn size() -> Size {
    match std::env::var("SEGUE_SYNC").as_deref() {
        Ok("full") => Size { rounds: 15, ops: 400 },
        _ => Size { rounds: 6, ops: 100 },
    }
}

/// A process, and what it has acknowledged.
struct Device {
    n: u8,
    addr: SocketAddr,
    child: Child,
    lines: Receiver<String>,
    online: bool,
}

impl Device {
    fn start(n: u8, addr: SocketAddr, dir: &Path) -> Device {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["worker::worker", "--exact", "--nocapture", "--quiet"]);
        command.env(WORKER, format!("{n} {addr} {}", dir.display()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
        let device = Device { n, addr, child, lines, online: false };
        while !device.line().unwrap_or_else(|| panic!("device {n} died")).ends_with("ready") {}
        device
    }

    /// The next line; none if the process is gone.
    fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("device {} hangs", self.n),
        }
    }

    fn tell(&mut self, command: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{command}").unwrap();
    }

    /// Takes lines until the command is done; what it answers.
    fn until_done(&self, mut each: impl FnMut(&str)) -> String {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("device {} died", self.n));
            match line.strip_prefix("done") {
                Some(rest) => return rest.trim().to_owned(),
                None => each(&line),
            }
        }
    }

    fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.until_done(|_| {})
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.kill();
    }
}

struct World {
    dir: tempfile::TempDir,
    devices: Vec<Device>,
    session: String,
    acknowledged: BTreeSet<String>,
    seed: u64,
    kills: usize,
}

impl World {
    fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let sockets = [0; 3].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        let addrs = sockets.each_ref().map(|socket| socket.local_addr().unwrap());
        drop(sockets);
        let devices = (1..=3).zip(addrs).map(|(n, addr)| Device::start(n, addr, dir.path())).collect();
        World { dir, devices, session: String::new(), acknowledged: BTreeSet::new(), seed: 1, kills: 0 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed += 1;
        let hash = segue_proto::wire::hash::blob_id(&self.seed.to_be_bytes());
        u64::from_be_bytes(hash.as_bytes()[..8].try_into().unwrap()) % below
    }

    /// A device comes online: it dials those that are.
    fn online(&mut self, at: usize) {
        let others: Vec<_> =
            self.devices.iter().filter(|other| other.online).map(|other| (other.n, other.addr)).collect();
        for (n, addr) in others {
            if n != self.devices[at].n {
                self.devices[at].ask(&format!("connect {n} {addr}"));
            }
        }
        self.devices[at].online = true;
    }

    /// A device goes offline: nobody dials it any more, and its links end.
    fn offline(&mut self, at: usize) {
        let gone = self.devices[at].n;
        for other in (0..3).filter(|other| *other != at) {
            let n = self.devices[other].n;
            self.devices[other].ask(&format!("forget {gone}"));
            self.devices[at].ask(&format!("forget {n}"));
        }
        self.devices[at].online = false;
        let until = std::time::Instant::now() + LONG;
        while self.devices[at].ask("peers") != "0" {
            assert!(std::time::Instant::now() < until, "device {gone} keeps a link");
        }
    }

    fn begin(&mut self, rounds: u64) {
        self.session = self.devices[0].ask(&format!("create {rounds}"));
        (0..3).for_each(|at| self.online(at));
        let join = format!("join {} first", self.session);
        self.devices.iter_mut().for_each(|device| drop(device.ask(&join)));
        // All know of the places where they write blindly.
        self.converge();
    }

    /// Everybody writes, one of them offline; who doesn't own asks for the session, and one is killed meanwhile.
    fn round(&mut self, round: u64, ops: u64) {
        let alone = (round % 3) as usize;
        self.offline(alone);
        let (victim, after) = (self.random(3) as usize, self.random(ops * 3 / 4));
        for at in 0..3 {
            let seed = round + 1;
            let how = if at == alone { "alone" } else { "together" };
            // Whoever doesn't own asks for the session about when somebody is killed.
            self.devices[at].tell(&format!("write {ops} {seed} {how} {after}"));
        }
        self.await_acknowledgements(victim, after);
        self.devices[victim].kill();
        self.kills += 1;
        // What it had still said counts.
        while let Some(line) = self.devices[victim].line() {
            self.note(&line);
        }
        let (n, addr) = (self.devices[victim].n, self.devices[victim].addr);
        let again = Device::start(n, addr, self.dir.path());
        self.devices[victim] = again;
        let join = format!("join {}", self.session);
        self.devices[victim].ask(&join);
        for at in (0..3).filter(|at| *at != victim) {
            let mut said = Vec::new();
            self.devices[at].until_done(|line| said.push(line.to_owned()));
            said.iter().for_each(|line| self.note(line));
        }
        for at in [victim, alone] {
            self.devices[at].online = false;
        }
        self.online(victim);
        if alone != victim {
            self.online(alone);
        }
        self.devices.iter_mut().for_each(|device| drop(device.ask("rest")));
    }

    fn await_acknowledgements(&mut self, victim: usize, count: u64) {
        let mut seen = 0;
        while seen < count {
            let line = self.devices[victim].line().expect("it lives");
            if line.starts_with("done") {
                break;
            }
            seen += u64::from(line.starts_with("ack"));
            self.note(&line);
        }
    }

    fn note(&mut self, line: &str) {
        if let Some(what) = line.strip_prefix("ack ") {
            assert!(self.acknowledged.insert(what.to_owned()), "twice: {what}");
        }
    }

    /// Waits until all hold the same, no handoff is under way, and one device owns; how long, and the number of its record.
    fn converge(&mut self) -> (Duration, u64) {
        let start = Instant::now();
        loop {
            let states: Vec<String> = self.devices.iter_mut().map(|device| device.ask("state")).collect();
            let words: Vec<Vec<&str>> = states.iter().map(|state| state.split(' ').collect()).collect();
            let same = words.iter().all(|of| of.len() >= 4 && of[..4] == words[0][..4] && of[3] == "false");
            let owners = words.iter().filter(|of| of.last() == Some(&"owns")).count();
            if same && owners == 1 {
                return (start.elapsed(), words[0][2].parse().unwrap());
            }
            assert!(start.elapsed() < LONG, "they differ: {states:?}");
        }
    }

    /// Asks a device for everything.
    fn dump(&mut self, at: usize, rounds: u64) -> Dump {
        let mut dump = Dump::default();
        self.devices[at].tell(&format!("dump {rounds}"));
        self.devices[at].until_done(|line| {
            if let Some(what) = line.strip_prefix("has ") {
                *dump.held.entry(what.to_owned()).or_insert(0) += 1;
            } else if let Some(what) = line.strip_prefix("listed ") {
                dump.listed.insert(what.to_owned());
            } else if let Some(shown) = line.strip_prefix("view ") {
                dump.view = shown.parse().unwrap();
            } else if let Some(count) = line.strip_prefix("conflicts ") {
                dump.conflicts = count.parse().unwrap();
            }
        });
        dump
    }
}

/// What a device holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Dump {
    /// And how often.
    held: BTreeMap<String, usize>,
    /// What is listed as a value in conflict.
    listed: BTreeSet<String>,
    /// What the owners counted to.
    view: u64,
    /// Registers and files with several values.
    conflicts: usize,
}

/// What two devices wrote without having seen the other's value: all of it has to be listed.
fn listed_where_blind(world: &World, rounds: u64, dump: &Dump) -> Blind {
    let mut blind = Blind::default();
    for (round, at, file) in (0..rounds).flat_map(|round| (0..2 * BLIND).map(move |at| (round, at / 2, at % 2 == 1))) {
        let (acknowledged, listed) = if file { ("file blind ", "file ") } else { ("blind ", "") };
        let names = (1..=3).map(|n| (n, format!("b{n}-{round}-{at}")));
        let wrote: Vec<_> =
            names.filter(|(_, name)| world.acknowledged.contains(&format!("{acknowledged}{name}"))).collect();
        if wrote.len() > 1 {
            for (_, name) in &wrote {
                assert!(
                    dump.listed.contains(&format!("{listed}{name}")),
                    "written blindly and not listed: {listed}{name}"
                );
            }
            blind.places += 1;
            blind.linked += usize::from(wrote.iter().filter(|(n, _)| *n != round % 3 + 1).count() == 2);
        }
    }
    blind
}

/// Registers and files that several devices wrote blindly.
#[derive(Default)]
struct Blind {
    places: usize,
    /// Those that two devices with a link between them wrote so.
    linked: usize,
}

#[test]
fn three_processes_that_are_offline_in_turn_and_killed_at_random_hold_the_same_in_the_end() {
    let size = size();
    let start = Instant::now();
    let mut world = World::new();
    world.begin(size.rounds);
    for round in 0..size.rounds {
        world.round(round, size.ops);
    }
    let wrote = start.elapsed();
    let (converged, handoffs) = world.converge();
    let dumps: Vec<_> = (0..3).map(|at| world.dump(at, size.rounds)).collect();
    assert!(dumps.iter().all(|dump| *dump == dumps[0]), "equal roots, but not equal content");
    let Dump { held, view, conflicts, .. } = &dumps[0];
    let is_held = |what: &str| held.contains_key(&what.replace("file blind ", "file "));
    let lost = world.acknowledged.iter().filter(|what| !what.starts_with("view") && !is_held(what));
    let lost: Vec<_> = lost.collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let twice: Vec<_> = held.iter().filter(|(what, count)| **count > 1 && !what.starts_with("register")).collect();
    assert!(twice.is_empty(), "delivered twice: {twice:?}");
    let views =
        world.acknowledged.iter().filter_map(|what| what.strip_prefix("view ")?.split(' ').next()?.parse().ok());
    let counted: u64 = views.max().unwrap_or(0);
    assert!(*view >= counted, "the view state is lost: counted to {counted}, and it says {view}");
    let blind = listed_where_blind(&world, size.rounds, &dumps[0]);
    assert!(*conflicts >= blind.places && blind.linked > 0, "{} of {} by linked devices", blind.linked, blind.places);
    assert!(handoffs > 0, "ownership never moved");
    let count = |kind: &str| world.acknowledged.iter().filter(|what| what.starts_with(kind)).count();
    eprintln!(
        "{} ops acknowledged ({} register, {} log, {} blob, {} opaque, {} exclusive), {} kills, {handoffs} handoffs, {conflicts} conflicts listed, {} of them written blindly, {} by linked devices: wrote in {wrote:.1?}, the same {converged:.1?} later",
        world.acknowledged.len(),
        count("register") + count("blind"),
        count("log"),
        count("file"),
        count("op"),
        count("view"),
        world.kills,
        blind.places,
        blind.linked,
    );
}
