//! The whole run: select, run on two workers, judge, report.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use segue_proto::Generation;

use crate::attach::{
    ChildWire, Exchange, Failure, GUARD, Hello, Host, LineHost, Place, Recorder, Tape, Tier, WaitWire, Wire, missing,
};
use crate::cases::{self, Case, matches};
use crate::certificate::{self, Evidence, Key, Member};
use crate::declared;
use crate::exemptions;
use crate::loopback::{self, Running};
use crate::pairs::{Cell, Shared};
use crate::plan::{self, Job, Piece, Stage};
use crate::properties;
use crate::report::{self, Asked, Report};
use crate::requirements::{self, Set};
use crate::terminal::Terminal;

/// What to certify, and how.
#[derive(Clone, Debug, Default)]
pub struct CertifyOptions {
    /// The command that starts the subject's adapter; none means this program with the argument `adapter`.
    pub adapter: Option<String>,
    /// The command of a second subject, the target of the pairs; none means the first one.
    pub peer: Option<String>,
    /// The generations to certify; empty means all that the subject speaks.
    pub generations: Vec<Generation>,
    /// Only cases and pairs whose name this pattern matches; `*` stands for anything.
    pub case: Option<String>,
    /// Where to leave the report and the certificate.
    pub report: Option<PathBuf>,
    /// The file of the key that signs the certificate; none means a key that follows from its content.
    pub sign_key: Option<PathBuf>,
    /// What all randomness comes from.
    pub seed: u64,
    /// How many sequences of each property are tried for a generation; none means [`properties::SEQUENCES`].
    pub sequences: Option<u32>,
    /// The file of the failures that the vendor knows of.
    pub exemptions: Option<PathBuf>,
    /// The version of the frozen requirements to ask for, and nothing besides.
    pub requirements: Option<String>,
    /// Where an adapter that is started by hand is waited for, instead of starting `adapter`.
    pub attach: Option<Place>,
    /// Whether the slowest pieces are named on the terminal.
    pub time: bool,
    /// The tiers to examine; none means A, and B where nothing of A can be.
    pub tiers: Option<Vec<Tier>>,
}

impl CertifyOptions {
    /// Why an adapter can't be started, if that can be seen beforehand.
    pub(crate) fn missing(&self) -> Option<String> {
        let started = self.adapter.iter().filter(|_| self.attach.is_none()).chain(&self.peer);
        started.filter_map(|command| missing(command)).next()
    }

    fn has(&self, tier: Tier) -> bool {
        self.tiers.as_ref().is_none_or(|tiers| tiers.contains(&tier))
    }

    fn selects(&self, name: &str) -> bool {
        self.case.as_deref().is_none_or(|pattern| matches(pattern, name))
    }

    /// Whether a case of tier B was asked for by its name.
    fn in_b(&self, name: &str) -> bool {
        self.has(Tier::B) && self.selects(name)
    }

    /// The cases on real sockets that are to be played. They wait for timers of the subject: unasked, they are played
    /// where nothing of tier A is.
    fn on_sockets(&self, hello: &Hello, none_in_a: bool, sets: Option<&[Set]>) -> Vec<(Case, Generation)> {
        if self.tiers.is_none() && !none_in_a {
            return Vec::new();
        }
        let mut found = loopback::applying(hello, &self.generations, &|name| self.in_b(name));
        found.retain(|(case, generation)| {
            sets.is_none_or(|sets| sets.iter().any(|set| set.has(case.name, Some(*generation))))
        });
        found
    }
}

/// How a run ended; also the program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// Everything that was run passed, or is declared as not supported; something passed.
    Certified = 0,
    /// Something failed.
    Failed = 1,
    /// Nothing could be run as it was asked for.
    Usage = 2,
    /// The suite itself is at fault.
    Suite = 3,
}

impl Outcome {
    /// The exit code.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its word.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Certified => "certified",
            Outcome::Failed => "failed",
            Outcome::Usage => "usage",
            Outcome::Suite => "suite",
        }
    }
}

/// The misbehaviours and good deeds of tier B: name, clauses, and how a subject has to refuse.
pub fn list_sockets() -> Vec<[String; 3]> {
    let row = |case: Case| {
        let sign = match case.body {
            cases::Body::Loopback(sockets) => sockets.sign().map_or("works".into(), |sign| sign.words()),
            _ => String::new(),
        };
        [case.name.to_string(), case.clauses.join(" "), sign]
    };
    cases::of(Tier::B).into_iter().map(row).collect()
}

/// The names of all cases and pairs of tier A, one a line.
pub fn list_cases() -> Vec<String> {
    let cases = cases::all().into_iter().map(|case| case.name.to_string());
    let properties = properties::ALL.iter().map(|property| property.name.to_string());
    cases.chain(properties).chain(Cell::all().iter().map(Cell::name)).collect()
}

/// Certifies a subject: runs, prints, and leaves the report.
pub fn certify(options: &CertifyOptions) -> Outcome {
    let mut terminal = Terminal::new();
    let some_in_a = options.has(Tier::A) && list_cases().iter().any(|name| options.selects(name));
    if !some_in_a && !cases::of(Tier::B).iter().any(|case| options.in_b(case.name)) {
        terminal.line("no case and no pair of that name; 'segue certify --list' names them all");
        return Outcome::Usage;
    }
    let known = options.exemptions.as_deref().map_or_else(|| Ok(Vec::new()), exemptions::read);
    let sets = options.requirements.as_deref().map(requirements::find).transpose();
    let key = options.sign_key.as_deref().map(Key::read).transpose();
    let (known, sets, key) = match (known, sets, key) {
        (Ok(known), Ok(sets), Ok(key)) => (known, sets, key),
        (Err(why), ..) | (_, Err(why), _) | (.., Err(why)) => {
            terminal.line(&why);
            return Outcome::Usage;
        }
    };
    if let Some(why) = options.missing() {
        terminal.line(&why);
        return Outcome::Usage;
    }
    let subject = match Subject::new(options) {
        Ok(subject) => subject,
        Err(why) => {
            terminal.line(&why);
            return Outcome::Suite;
        }
    };
    let tape = Tape::default();
    let hello = LineHost::new(Box::new(Recorder::new(subject.wire(), &tape))).hello();
    let mut report = Report::new(Asked::from(options), &hello);
    let mut heard = vec![tape.take()];
    if let (Ok(_), true, Some(wire)) = (&hello, options.has(Tier::A), subject.peer(options)) {
        match LineHost::new(Box::new(Recorder::new(wire, &tape))).hello() {
            Ok(peer) => report.peer = Some(peer),
            Err(why) => {
                terminal.line(&format!("the peer can't be examined: {why}"));
                return Outcome::Usage;
            }
        }
        heard.push(tape.take());
        report.peer_lacks().iter().for_each(|why| terminal.line(why));
    }
    let mut evidence = Some(Evidence::new(&heard));
    let outcome = match hello {
        Err(why) => {
            terminal.line(&format!("the subject can't be examined: {why}"));
            report.end(Outcome::Failed, Some(why));
            evidence = evidence.filter(|_| options.has(Tier::A));
            Outcome::Failed
        }
        Ok(hello) => {
            let jobs = plan::jobs(&report.asked, &hello, report.peer.as_ref()).unwrap_or_default();
            let on_sockets = options.on_sockets(&hello, jobs.is_empty(), sets.as_deref());
            if jobs.is_empty() && on_sockets.is_empty() {
                terminal.line(
                    "nothing applies to the generations and tiers that were asked for and that the subject declares",
                );
                return Outcome::Usage;
            }
            terminal.begin(&hello.subject, jobs.len() + on_sockets.len());
            let record = options.report.is_some();
            let both = plan::both(&hello, report.peer.as_ref());
            let crew =
                Crew { jobs: &jobs, subject: &subject, hello: &hello, both: &both, asked: &report.asked, record };
            let (mut pieces, mut times) = (Vec::new(), Vec::new());
            for (job, played) in jobs.iter().zip(crew.run(&terminal)) {
                if let (Some(evidence), Some(member)) = (&mut evidence, played.member) {
                    evidence.add(&job.name(), &played.piece, member);
                }
                pieces.push(played.piece);
                times.push((job.name(), played.time));
            }
            // A certificate is of what was said over the lines. On real sockets alone there is nothing of that.
            evidence = evidence.filter(|_| !jobs.is_empty());
            if !on_sockets.is_empty() {
                report.adapter = declared::unsupported(&mut LineHost::new(subject.wire()), &hello);
            }
            let played = loopback::examine(&subject, &hello, &on_sockets, options.seed, &terminal);
            take(&on_sockets, played, &mut pieces, &mut times);
            terminal.finish();
            report.take(pieces);
            report.excuse(known);
            let outcome = report.judge();
            terminal.show(&report, outcome);
            if options.time {
                terminal.times(&times);
            }
            outcome
        }
    };
    match leave(options, &report, evidence, key) {
        Ok(()) => outcome,
        Err(why) => {
            terminal.line(&why);
            Outcome::Suite
        }
    }
}

/// Certifies a device that runs already, as far as it shows from outside.
pub fn certify_running(options: &CertifyOptions, running: &Running) -> Outcome {
    let mut terminal = Terminal::new();
    terminal.line(&format!("the suite calls as device {}; the subject has to let it in", running.caller().id));
    let generation = match running.generation() {
        Ok(generation) => generation,
        Err(why) => {
            terminal.line(&why);
            return Outcome::Usage;
        }
    };
    let selected = running.applying(generation, &|name| options.selects(name));
    if selected.is_empty() {
        terminal.line("no case of that name shows from outside; 'segue certify --tier b --list' names them all");
        return Outcome::Usage;
    }
    let subject = format!("device {} at {}", running.device, running.addr);
    let hello = Hello { subject, generations: vec![generation], tiers: vec![Tier::B], ..Hello::default() };
    let mut report = Report::new(Asked { in_a: false, ..Asked::from(options) }, &Ok(hello.clone()));
    terminal.begin(&hello.subject, selected.len());
    let (mut pieces, mut times) = (Vec::new(), Vec::new());
    take(&selected, running.examine(&selected, &terminal), &mut pieces, &mut times);
    terminal.finish();
    report.take(pieces);
    let outcome = report.judge();
    terminal.show(&report, outcome);
    if options.time {
        terminal.times(&times);
    }
    match leave(options, &report, None, None) {
        Ok(()) => outcome,
        Err(why) => {
            terminal.line(&why);
            Outcome::Suite
        }
    }
}

/// Takes in what cases on real sockets came to, and how long each took.
fn take(
    cases: &[(Case, Generation)],
    played: Vec<(Piece, Duration)>,
    pieces: &mut Vec<Piece>,
    times: &mut Vec<(String, Duration)>,
) {
    for ((case, generation), (piece, time)) in cases.iter().zip(played) {
        times.push((Job::Case(*case, *generation).name(), time));
        pieces.push(piece);
    }
}

/// Leaves the report, and the certificate if there is evidence for one. A suite that failed itself certifies nothing.
fn leave(
    options: &CertifyOptions,
    report: &Report,
    evidence: Option<Evidence>,
    key: Option<Key>,
) -> Result<(), String> {
    let Some(directory) = options.report.as_deref() else { return Ok(()) };
    let mut files = report.files();
    if let Some(evidence) = evidence.filter(|_| report.outcome != Outcome::Suite) {
        let issued = certificate::issue(report, evidence, &files, key);
        files.extend(issued);
    }
    report::write(directory, &files)
}

/// Those who play the jobs.
struct Crew<'a> {
    jobs: &'a [Job],
    subject: &'a Subject,
    hello: &'a Hello,
    /// What it declares together with its peer.
    both: &'a Hello,
    asked: &'a Asked,
    /// Whether what is said is written down, for a certificate.
    record: bool,
}

/// What came of a job, what was said for it if that is written down, and how long it took.
struct Played {
    piece: Piece,
    member: Option<Member>,
    time: Duration,
}

impl Crew<'_> {
    /// Runs all jobs on two workers, each with adapters of its own. What they find is in the order of the jobs.
    fn run(&self, terminal: &Terminal) -> Vec<Played> {
        let next = AtomicUsize::new(0);
        let broken = AtomicUsize::new(0);
        let found: Mutex<Vec<(usize, Played)>> = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..self.subject.workers() {
                scope.spawn(|| {
                    let tapes: [Tape; 3] = Default::default();
                    let mut stage = self.subject.stage(self.record.then_some(&tapes));
                    loop {
                        let at = next.fetch_add(1, Ordering::SeqCst);
                        let Some(job) = self.jobs.get(at) else { return };
                        let begun = Instant::now();
                        let stop = broken.load(Ordering::SeqCst) >= MAX_BROKEN;
                        let (piece, said) = match stop {
                            true => (job.given_up(), Vec::new()),
                            false => self.play(&mut stage, &tapes, *job),
                        };
                        // Text is a hundred times as large, and there are all pieces of the run to come.
                        let member = self.record.then(|| Member::new(&job.name(), &said));
                        drop(said);
                        let ended = matches!(stage.host.borrow().failure(), Some(Failure::Broken(_)));
                        if ended {
                            broken.fetch_add(1, Ordering::SeqCst);
                        } else if !stop {
                            broken.store(0, Ordering::SeqCst);
                        }
                        terminal.step();
                        if let Ok(mut found) = found.lock() {
                            found.push((at, Played { piece, member, time: begun.elapsed() }));
                        }
                    }
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_default();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(_, played)| played).collect()
    }

    fn play(&self, stage: &mut Stage, tapes: &[Tape; 3], job: Job) -> (Piece, Vec<Vec<Exchange>>) {
        let piece = stage.play(job, job.declared(self.hello, self.both), self.asked.seed, self.asked.sequences);
        let said = match (job, self.subject) {
            (Job::Case(..), _) | (_, Subject::Awaited(_)) => vec![tapes[0].take()],
            (Job::Property(..) | Job::Pair(_), _) => vec![tapes[1].take(), tapes[2].take()],
        };
        (piece, said)
    }
}

/// How the subject is reached.
pub(crate) enum Subject {
    /// By the commands that start its adapter, and that of the other device of pairs.
    Started(String, String),
    /// By an adapter that is waited for.
    Awaited(WaitWire),
}

impl Subject {
    /// The subject that the options name; this program's own adapter if none.
    ///
    /// # Errors
    /// If this program can't be found.
    pub(crate) fn new(options: &CertifyOptions) -> Result<Subject, String> {
        if let Some(place) = &options.attach {
            return Ok(Subject::Awaited(WaitWire::new(place.clone())));
        }
        let adapter = options.adapter.clone().map_or_else(own, Ok)?;
        let peer = options.peer.clone().unwrap_or_else(|| adapter.clone());
        Ok(Subject::Started(adapter, peer))
    }

    /// How many may examine it at a time on real sockets, where most of the time is waiting.
    pub(crate) const fn callers(&self) -> usize {
        match self {
            Subject::Started(..) => 2 * WORKERS,
            Subject::Awaited(_) => 1,
        }
    }

    /// A wire to the subject.
    pub(crate) fn wire(&self) -> Box<dyn Wire> {
        match self {
            Subject::Started(adapter, _) => Box::new(ChildWire::new(adapter, GUARD)),
            Subject::Awaited(wire) => Box::new(wire.clone()),
        }
    }

    /// A wire to the other device of pairs and properties, if the options name one.
    fn peer(&self, options: &CertifyOptions) -> Option<Box<dyn Wire>> {
        match self {
            Subject::Started(_, peer) if options.peer.is_some() => Some(Box::new(ChildWire::new(peer, GUARD))),
            Subject::Started(..) | Subject::Awaited(_) => None,
        }
    }

    /// What jobs are played on, with a tape for each wire if what is said is to be written down. An adapter that is waited
    /// for is all three.
    fn stage(&self, tapes: Option<&[Tape; 3]>) -> Stage {
        let taped = |wire: Box<dyn Wire>, at: usize| -> Box<dyn Wire> {
            match tapes {
                Some(tapes) => Box::new(Recorder::new(wire, &tapes[at])),
                None => wire,
            }
        };
        match self {
            Subject::Started(_, peer) => {
                let peer = Box::new(ChildWire::new(peer, GUARD));
                Stage::new([taped(self.wire(), 0), taped(self.wire(), 1), taped(peer, 2)])
            }
            Subject::Awaited(_) => Stage::alone(taped(self.wire(), 0)),
        }
    }

    /// The subject, and the source and target of pairs. An adapter that is waited for is all three.
    pub(crate) fn hosts(&self) -> [Shared; 3] {
        let shared = |wire: Box<dyn Wire>| -> Shared { Rc::new(RefCell::new(Box::new(LineHost::new(wire)))) };
        match self {
            Subject::Started(_, peer) => {
                let peer = Box::new(ChildWire::new(peer, GUARD));
                [shared(self.wire()), shared(self.wire()), shared(peer)]
            }
            Subject::Awaited(_) => {
                let one = shared(self.wire());
                [one.clone(), one.clone(), one]
            }
        }
    }

    /// What it is called in words.
    pub(crate) fn words(&self) -> String {
        match self {
            Subject::Started(adapter, _) => adapter.clone(),
            Subject::Awaited(_) => "the adapter".into(),
        }
    }

    const fn workers(&self) -> usize {
        match self {
            Subject::Started(..) => WORKERS,
            Subject::Awaited(_) => 1,
        }
    }
}

/// This program's own adapter.
fn own() -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| format!("this program can't be found: {error}"))?;
    Ok(format!("'{}' adapter", program.display()))
}

/// The children that work at a time: the machine that all numbers are for has two cores.
const WORKERS: usize = 2;
/// How often in a row an adapter may break before the run is given up: each time may cost the guard's ten seconds.
const MAX_BROKEN: usize = 4;
