//! `segue certify --smoke`: the first steps with an adapter, one by one, up to the first that is off.
//!
//! It tells what the adapter gets wrong (lines, fields, answers) from what the implementation behind it does (frames,
//! signatures, states), and prints the requests that lead there, to be pasted.

mod sockets;

use std::cell::RefCell;
use std::rc::Rc;

use segue_proto::wire::{Message, SessionId};
use segue_proto::{Event, Generation, LinkId, Role, SessionRole};
use segue_testkit::device::{Command, Reply};

use crate::attach::{COMMANDS, Failure, Hello, Host, LineHost, Tier, Wire};
use crate::certify::{CertifyOptions, Outcome, Subject};
use crate::lab::{Done, Lab, ensure};
use crate::peer::Peer;
use crate::terminal::Terminal;
use crate::verdict::Fault;

/// Walks the first steps with the subject. [`Outcome::Certified`] if all are as they should be.
pub fn smoke(options: &CertifyOptions) -> Outcome {
    let mut terminal = Terminal::new();
    if let Some(why) = options.missing() {
        terminal.line(&why);
        return Outcome::Usage;
    }
    match Subject::new(options) {
        Ok(subject) => walk(subject.wire(), &subject.words(), options, &mut terminal),
        Err(why) => {
            terminal.line(&why);
            Outcome::Suite
        }
    }
}

fn walk(wire: Box<dyn Wire>, command: &str, options: &CertifyOptions, terminal: &mut Terminal) -> Outcome {
    let log: Log = Rc::default();
    let mut host = LineHost::new(Box::new(Listener { wire, log: log.clone() }));
    let hello = match host.hello() {
        Ok(hello) => hello,
        Err(why) => return off(terminal, "hello", &Blame::Adapter(why), &log, command),
    };
    terminal.line(&format!("ok   hello: {}, {}", hello.subject, counted(&hello)));
    let named = hello.commands.iter().chain(hello.commands_b.iter().flatten());
    let unknown = named.filter(|command| !COMMANDS.contains(&command.as_str()) && *command != "dial");
    unknown.for_each(|name| terminal.line(&format!("     'commands' names '{name}', which no case asks for")));
    let highest = hello.generations.iter().copied().max().unwrap_or(Generation::V1_4);
    let generation = options.generations.first().copied().unwrap_or(highest);
    if !hello.generations.contains(&generation) {
        terminal.line(&format!("the subject doesn't speak {}", generation.name()));
        return Outcome::Usage;
    }
    let tiers = match &options.tiers {
        Some(asked) => asked.clone(),
        None => hello.tiers.iter().copied().min().into_iter().collect(),
    };
    if let Some(other) = tiers.iter().find(|tier| !hello.tiers.contains(tier)) {
        terminal.line(&format!("the adapter doesn't declare tier {}: 'tiers' in its answer to 'hello'", other.name()));
        return Outcome::Usage;
    }
    for tier in tiers {
        let walked = match tier {
            Tier::A => walk_in_lab(&mut host, &hello, generation, terminal),
            Tier::B => sockets::walk(&mut host, &hello, generation, terminal),
        };
        if let Err((title, blame)) = walked {
            return off(terminal, title.name, &blame, &log, command);
        }
    }
    terminal.line("");
    terminal.line("the adapter speaks the protocol; what 'segue certify' finds now is the implementation's");
    Outcome::Certified
}

/// The steps of tier A.
fn walk_in_lab(
    host: &mut LineHost,
    hello: &Hello,
    generation: Generation,
    terminal: &mut Terminal,
) -> Result<(), (Title, Blame)> {
    let mut lab = Lab::new(host, generation, 1, "smoke");
    let peer = Peer::new(&mut lab.rng);
    lab.setup.trusted.push(peer.id);
    let mut walk = Walk { peer, link: LinkId(0), session: SessionId::ZERO, hello };
    for Step { title, go } in STEPS {
        let done = go(&mut walk, &mut lab);
        title.tell(terminal, done, lab.failure()).map_err(|blame| (*title, blame))?;
    }
    Ok(())
}

/// Who is to look.
enum Blame {
    Adapter(String),
    /// The suite can't look.
    Suite(String),
    /// The implementation, and what it can be checked against without an adapter.
    Subject(Fault, &'static [&'static str]),
}

fn off(terminal: &mut Terminal, name: &str, blame: &Blame, log: &Log, command: &str) -> Outcome {
    if let Blame::Suite(why) = blame {
        terminal.line(why);
        return Outcome::Suite;
    }
    terminal.line(&format!("OFF  {name}"));
    match blame {
        Blame::Suite(_) => {}
        Blame::Adapter(why) => {
            terminal.line("     the adapter is wrong (ADAPTER.md has what it must answer):");
            terminal.line(&format!("     {why}"));
        }
        Blame::Subject(fault, vectors) => {
            terminal.line("     the adapter answers as it should; the implementation behind it is wrong,");
            terminal.line("     or the adapter loses what it puts out:");
            terminal.line(&format!("     expected: {}", fault.expected));
            terminal.line(&format!("     came:     {}", fault.came));
            if !vectors.is_empty() {
                terminal.line(
                    "     the bytes of this step, each with what comes between, to check against without an adapter:",
                );
                vectors.iter().for_each(|place| terminal.line(&format!("     {VECTORS}/{place}")));
            }
        }
    }
    let log = log.borrow();
    terminal.line("");
    terminal.line(&format!("these {} lines, pasted into {command}, lead there; the last is the one:", log.len()));
    terminal.line("");
    log.iter().for_each(|(asked, _)| terminal.line(asked));
    if let Some((_, answer)) = log.last() {
        terminal.line("");
        terminal.line(&format!("its answer: {}", answer.as_deref().unwrap_or("none")));
    }
    Outcome::Failed
}

fn counted(hello: &Hello) -> String {
    let generations: Vec<&str> = hello.generations.iter().map(|generation| generation.name()).collect();
    format!("generations {}, {} commands", generations.join(", "), hello.commands.len())
}

/// What the steps know of one another.
struct Walk<'a> {
    peer: Peer,
    link: LinkId,
    session: SessionId,
    hello: &'a Hello,
}

impl Walk<'_> {
    fn creates(&self) -> bool {
        self.hello.commands.iter().any(|command| command == "create")
    }
}

/// A step.
struct Step<F> {
    title: Title,
    go: F,
}

/// What is done in a step of tier A; what isn't declared, if there was nothing to do.
type InLab = fn(&mut Walk<'_>, &mut Lab<'_>) -> Done<Option<&'static str>>;

/// What a step is about.
#[derive(Clone, Copy)]
struct Title {
    name: &'static str,
    /// What it shows.
    what: &'static str,
    /// The vectors of what goes over the wire in it, or what is signed: files and folders below `vectors`.
    vectors: &'static [&'static str],
}

impl Title {
    /// No step.
    const NONE: Title = Title { name: "", what: "", vectors: &[] };

    /// Says what a step came to, if nothing is off.
    fn tell(
        &self,
        terminal: &mut Terminal,
        done: Done<Option<&'static str>>,
        failure: Option<Failure>,
    ) -> Result<(), Blame> {
        let Title { name, what, vectors } = self;
        match (done, failure) {
            (_, Some(Failure::Broken(why))) => return Err(Blame::Adapter(why)),
            (_, Some(Failure::Unsupported { asked, .. })) => {
                return Err(Blame::Adapter(format!(
                    "it answers 'unsupported' to what it declared, or to what every adapter needs: {asked}"
                )));
            }
            (Err(fault), None) => return Err(Blame::Subject(fault, vectors)),
            (Ok(None), None) => terminal.line(&format!("ok   {name}: {what}")),
            (Ok(Some(lacks)), None) => terminal.line(&format!("skip {name}: '{lacks}' isn't declared")),
        }
        Ok(())
    }
}

const fn step<F: Copy>(name: &'static str, what: &'static str, vectors: &'static [&'static str], go: F) -> Step<F> {
    Step { title: Title { name, what, vectors }, go }
}

const STEPS: &[Step<InLab>] = &[
    step("new", "a device starts with an empty disk", &[], |_, lab| lab.boot().map(|()| None)),
    step("durable", "it takes note that what it wrote is durable", &[], |_, lab| {
        lab.sync();
        Ok(None)
    }),
    step("inspect", "it says what it keeps: nothing yet", &[], |_, lab| {
        let sessions = lab.sessions();
        ensure(sessions == 0, "no session on a new device", format!("{sessions} sessions")).map(|()| None)
    }),
    step("link-up", "it begins with HELLO", &["wire/valid/hello.json", "link/valid/hello.json"], |walk, lab| {
        walk.link = lab.link_up(Role::Responder, None);
        lab.take(walk.link, "HELLO in the answer to 'link-up', as the first frame of the control stream", |message| {
            matches!(message, Message::Hello(_)).then_some(None)
        })
    }),
    step(
        "bytes",
        "it proves itself, and takes the peer's proof",
        &["wire/valid/auth.json", "link/valid/auth-initiator.json", "link/valid/auth-responder.json", "link/invalid"],
        |walk, lab| {
            lab.link_down(walk.link);
            walk.link = lab.connect(&walk.peer)?;
            Ok(None)
        },
    ),
    step("events", "it tells that the link is ready", &["generations"], |walk, lab| {
        let (ready, own) = (lab.ready(walk.peer.id)?, lab.generation);
        ensure(ready == own, &format!("a link of generation {own}"), ready).map(|()| None)
    }),
    step("ping", "it answers PING", &["wire/valid/ping-ask.json", "wire/valid/ping-answer.json"], |walk, lab| {
        lab.alive(walk.link).map(|()| None)
    }),
    step(
        "create",
        "it creates a session, and is primary once that is durable",
        &["handoff/valid/session-id.json", "handoff/valid/record-genesis.json"],
        |walk, lab| {
            if !walk.creates() {
                return Ok(Some("create"));
            }
            let reply = lab.must(Command::Create { name: "notes".into(), members: vec![walk.peer.id] })?;
            let Reply::Session(session) = reply else {
                return Err(Fault::fail("'session' in the reply", format!("{reply:?}")));
            };
            walk.session = session;
            lab.event("the event created, once its batch is durable", |event| {
                matches!(event, Event::Created { session: it } if *it == session).then_some(())
            })?;
            lab.is(session, SessionRole::Primary).map(|()| None)
        },
    ),
    step(
        "restore",
        "it goes on from its disk after losing power",
        &["handoff/valid/record-genesis.json"],
        |walk, lab| {
            if !walk.creates() {
                return Ok(Some("create"));
            }
            lab.reboot()?;
            lab.is(walk.session, SessionRole::Primary).map(|()| None)
        },
    ),
    step("time", "it is woken when it asked for it, and stays quiet", &[], |_, lab| {
        lab.pass(60_000_000);
        Ok(None)
    }),
];

/// Where the vectors are.
const VECTORS: &str = "conformance/vectors";

/// What was asked, and what came.
type Log = Rc<RefCell<Vec<(String, Option<String>)>>>;

/// A wire that notes what is said on it.
struct Listener {
    wire: Box<dyn Wire>,
    log: Log,
}

impl Wire for Listener {
    fn ask(&mut self, line: &str) -> Result<String, String> {
        let answer = self.wire.ask(line);
        self.log.borrow_mut().push((line.to_string(), answer.as_ref().ok().cloned()));
        answer
    }

    fn restart(&mut self) {
        self.wire.restart();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_vectors_that_a_step_names_are_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).join(VECTORS);
        let titles = STEPS.iter().map(|step| step.title).chain(sockets::titles());
        for (step, place) in titles.flat_map(|it| it.vectors.iter().map(move |place| (it.name, place))) {
            assert!(root.join(place).exists(), "{step}: {place}");
        }
        assert!(sockets::titles().any(|it| !it.vectors.is_empty()));
        assert!(STEPS.iter().any(|step| !step.title.vectors.is_empty()));
    }
}
