//! `segue verify`: derives the verdicts of a certificate again, from its transcripts alone.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use segue_proto::Generation;
use serde_json::Value;

use super::transcripts::{Transcript, unpack};
use super::{Body, Bound, Certificate, Evidence, TRANSCRIPTS, Told, facts, hash, key};
use crate::attach::{Hello, Host, LineHost, Player, Reel, Tier, Wire};
use crate::cases;
use crate::certify::Outcome;
use crate::exemptions::{self, Exemption};
use crate::plan::{self, Job, Piece, Stage};
use crate::report::{Asked, Report};
use crate::run;
use crate::verdict::Verdict;

/// What to verify.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// The certificate's file. The transcripts, and the report if it is there, are looked for beside it.
    pub certificate: PathBuf,
    /// Who must have signed it: a public key in hexadecimal digits, or a file with one in PEM.
    pub key: Option<String>,
}

/// Verifies a certificate and prints what it is worth.
///
/// The outcome is `Certified` if it holds and says so; `Failed` if something differs, or if it holds and says that the
/// subject failed; `Usage` if it can't be read, or is of another suite; `Suite` if the suite itself failed.
pub fn verify(options: &VerifyOptions) -> Outcome {
    let (outcome, lines) = tell(options);
    // If nobody reads it, the outcome tells.
    lines.iter().for_each(|line| drop(writeln!(std::io::stdout(), "{line}")));
    outcome
}

fn tell(options: &VerifyOptions) -> (Outcome, Vec<String>) {
    let path = &options.certificate;
    let wanted = match options.key.as_deref().map(key::public).transpose() {
        Ok(wanted) => wanted,
        Err(why) => return (Outcome::Usage, vec![why]),
    };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) => return (Outcome::Usage, vec![format!("can't read {}: {error}", path.display())]),
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    match check(&text, wanted.as_deref(), &|name| std::fs::read(folder.join(name)).ok()) {
        Ok(checked) => checked.tell(),
        Err(Trouble::Differs(what)) => (Outcome::Failed, vec![what, BAD.into()]),
        Err(Trouble::Usage(what)) => (Outcome::Usage, vec![what]),
        Err(Trouble::Suite(what)) => (Outcome::Suite, vec![format!("the suite itself failed: {what}")]),
    }
}

/// Why a certificate can't be examined to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It isn't what was issued.
    Differs(String),
    /// This program can't examine it.
    Usage(String),
    /// The suite failed.
    Suite(String),
}

/// What the examination of a certificate found.
pub(super) struct Checked {
    certificate: Certificate,
    /// What differs, in words.
    pub(super) differences: Vec<String>,
    requests: usize,
    /// The files of the report that lie beside the certificate.
    beside: Vec<String>,
}

/// Examines a certificate; `read` gives the files beside it.
pub(super) fn check(
    text: &[u8],
    wanted: Option<&str>,
    read: &dyn Fn(&str) -> Option<Vec<u8>>,
) -> Result<Checked, Trouble> {
    let certificate = parse(text).map_err(Trouble::Differs)?;
    let body = &certificate.certificate;
    let mut differences: Vec<String> = certificate.signature.check(&body.message()).err().into_iter().collect();
    if let Some(wanted) = wanted.filter(|wanted| *wanted != certificate.signature.key) {
        differences.push(format!("signature: it is by {}, not by {wanted}", certificate.signature.key));
    }
    if differences.is_empty() {
        same_suite(body).map_err(Trouble::Usage)?;
    }
    let bytes = read(TRANSCRIPTS).ok_or_else(|| {
        Trouble::Usage(format!("there is no {TRANSCRIPTS} beside the certificate: the verdicts can't be derived"))
    })?;
    let transcripts = open(body, &bytes).map_err(|mut found| {
        found.splice(0..0, differences.clone());
        Trouble::Differs(found.join("\n"))
    })?;
    let derived = derive(body, &transcripts)?;
    differences.extend(derived.differences.iter().cloned());
    let files = derived.report.files();
    let again = facts::body(&derived.report, &derived.evidence(body, bytes), &files);
    let mut again =
        Body { adapter: body.adapter.clone(), peer: body.peer.clone(), exemptions: body.exemptions.clone(), ..again };
    if !body.told.is_empty() {
        // The files hold transcripts of what is told, which no one here has.
        again.report.clone_from(&body.report);
    }
    compare("certificate", &value(body), &value(&again), &mut differences);
    let mut beside = Vec::new();
    for file in &body.report {
        if let Some(found) = read(&file.name) {
            if hash(&found) != file.hash {
                differences.push(format!("{}: it isn't the file that the certificate binds", file.name));
            }
            beside.push(file.name.clone());
        }
    }
    Ok(Checked { requests: derived.requests, certificate, differences, beside })
}

/// Reads a certificate. There is one way to write what it says, and no other is taken.
fn parse(text: &[u8]) -> Result<Certificate, String> {
    let certificate: Certificate =
        serde_json::from_slice(text).map_err(|error| format!("the certificate isn't of the form of one: {error}"))?;
    let again = certificate.text();
    if again.as_bytes() != text {
        let same = again.as_bytes().split(|byte| *byte == b'\n').zip(text.split(|byte| *byte == b'\n'));
        let line = same.take_while(|(a, b)| a == b).count() + 1;
        return Err(format!("the certificate isn't written as the suite writes one: see its line {line}"));
    }
    Ok(certificate)
}

fn same_suite(body: &Body) -> Result<(), String> {
    let (suite, spec) = (facts::suite(), facts::spec());
    if body.version != 1 || body.suite != suite {
        let (theirs, ours) = (&body.suite, &suite);
        return Err(format!(
            "the certificate is of suite {} ({:.16}), this is suite {} ({:.16}): verify it with the suite that issued it",
            theirs.version, theirs.hash, ours.version, ours.hash
        ));
    }
    if body.spec != spec {
        let (theirs, ours) = (&body.spec.hash, &spec.hash);
        return Err(format!(
            "the certificate is against requirements {theirs:.16}, this suite holds {ours:.16}: verify it with the suite \
             that issued it"
        ));
    }
    Ok(())
}

/// A transcript that a certificate binds, still compressed: those of a whole run take a gigabyte once they are read.
struct Sealed<'a> {
    piece: &'a Bound,
    member: &'a [u8],
}

impl Sealed<'_> {
    fn read(&self) -> Result<Transcript, String> {
        let transcript = unpack(self.member, self.piece.text)?;
        match transcript.name == self.piece.name {
            true => Ok(transcript),
            false => Err(format!("it is the transcript of '{}'", transcript.name)),
        }
    }
}

/// Finds the transcripts that a certificate binds.
fn open<'a>(body: &'a Body, bytes: &'a [u8]) -> Result<Vec<Sealed<'a>>, Vec<String>> {
    let (mut transcripts, mut wrong, mut end) = (Vec::new(), Vec::new(), 0u64);
    for piece in &body.pieces {
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let member = bytes.get(place(piece.at)..place(piece.at.saturating_add(piece.length))).unwrap_or_default();
        let tell = |what: String| format!("{TRANSCRIPTS}, bytes {} on, '{}': {what}", piece.at, piece.name);
        if piece.at != end {
            wrong.push(tell(format!("it doesn't follow the piece before, which ends at {end}")));
        } else if hash(member) != piece.hash {
            wrong.push(tell("it isn't the transcript that the certificate binds".into()));
        } else {
            transcripts.push(Sealed { piece, member });
        }
        end = piece.at.saturating_add(piece.length);
    }
    if bytes.len() as u64 != end {
        wrong.push(format!("{TRANSCRIPTS}: it has {} bytes, and the certificate binds {end}", bytes.len()));
    }
    if hash(bytes) != body.transcripts.hash {
        wrong.push(format!("{TRANSCRIPTS}: it isn't the file that the certificate binds"));
    }
    if wrong.is_empty() { Ok(transcripts) } else { Err(wrong) }
}

/// A run that was derived from transcripts.
struct Derived {
    report: Report,
    differences: Vec<String>,
    requests: usize,
    /// What was said for `hello`, by each host.
    hello: Vec<Vec<crate::attach::Exchange>>,
    /// Name and verdict of each piece.
    verdicts: Vec<(String, String)>,
}

fn derive(body: &Body, transcripts: &[Sealed<'_>]) -> Result<Derived, Trouble> {
    let generations = body.selection.generations.iter().map(|name| Generation::from_name(name));
    let generations: Option<Vec<Generation>> = generations.collect();
    let asked = Asked {
        adapter: body.adapter.as_ref().map(|adapter| adapter.command.clone()),
        peer: body.peer.as_ref().map(|peer| peer.command.clone()),
        generations: generations.ok_or_else(|| Trouble::Differs("selection: it names an unknown generation".into()))?,
        case: body.selection.case.clone(),
        requirements: body.selection.requirements.clone(),
        sequences: body.selection.sequences,
        in_a: true,
        seed: body.seed,
    };
    let none = || Trouble::Differs("the certificate binds no piece".into());
    let (first, rest) = transcripts.split_first().ok_or_else(none)?;
    let mut differences = Vec::new();
    let first = first.read().map_err(|why| Trouble::Differs(format!("'hello': {why}")))?;
    let mut requests: usize = first.hosts.iter().map(Vec::len).sum();
    let mut heard = |at: usize| {
        let reel = Reel::default();
        reel.load(first.hosts.get(at).cloned().unwrap_or_default());
        let hello = LineHost::new(Box::new(Player::new(&reel))).hello();
        differences.extend(reel.check().err().map(|what| format!("'hello': {what}")));
        hello
    };
    let hello = heard(0);
    let peer = body.peer.as_ref().filter(|_| hello.is_ok()).map(|_| heard(1)).transpose();
    let peer = peer.map_err(|why| Trouble::Differs(format!("'hello' of the peer: {why}")))?;
    let hosts = 1 + usize::from(peer.is_some());
    if first.hosts.len() != hosts {
        differences.push(format!("'hello': its transcript is of {} hosts instead of {hosts}", first.hosts.len()));
    }
    let mut report = Report::new(asked, &hello);
    report.peer.clone_from(&peer);
    let mut verdicts = Vec::new();
    match hello {
        Err(why) => report.end(Outcome::Failed, Some(why)),
        Ok(hello) => {
            let jobs = plan::jobs(&report.asked, &hello, peer.as_ref()).map_err(Trouble::Differs)?;
            differences.extend(same_jobs(&jobs, rest).err());
            let known: Result<Vec<Exemption>, String> = body.exemptions.iter().map(exemptions::exemption).collect();
            let known = known.map_err(|why| Trouble::Differs(format!("exemptions: {why}")))?;
            let both = plan::both(&hello, peer.as_ref());
            for (job, played) in jobs.iter().zip(replay(&jobs, rest, [&hello, &both], &report.asked)) {
                if let Piece::Panic(words) = played.piece {
                    return Err(Trouble::Suite(format!("'{}': {words}", job.name())));
                }
                differences.extend(played.difference.map(|what| format!("'{}': {what}", job.name())));
                requests += played.requests;
                verdicts.push((job.name(), played.piece.verdict().to_string()));
                report.take(vec![played.piece]);
            }
            let told = body.told.iter().map(taken).collect::<Option<Vec<Piece>>>();
            report.take(told.ok_or_else(|| Trouble::Differs("told: it names what the suite doesn't have".into()))?);
            report.excuse(known);
            report.judge();
        }
    }
    Ok(Derived { report, differences, requests, hello: first.hosts, verdicts })
}

/// What the signer tells of a case of tier B, as it is counted.
fn taken(told: &Told) -> Option<Piece> {
    let case = cases::find(&told.case).filter(|case| case.tier() == Tier::B)?;
    let generation = Generation::from_name(&told.generation).filter(|generation| case.applies(*generation))?;
    let verdict = Verdict::from_name(&told.verdict)?;
    Some(Piece::Case(run::Result { case: case.name, generation, verdict, reason: None, replay: None }))
}

impl Derived {
    /// The evidence as it was when the certificate was issued, with the verdicts that were derived.
    fn evidence(&self, body: &Body, bytes: Vec<u8>) -> Evidence {
        let mut evidence = Evidence::new(&self.hello);
        evidence.bytes = bytes;
        let bound = body.pieces.iter().skip(1).zip(&self.verdicts);
        evidence.pieces.extend(bound.map(|(piece, (name, verdict))| {
            let (name, verdict) = (name.clone(), verdict.clone());
            Bound { name, verdict, ..piece.clone() }
        }));
        evidence
    }
}

/// Whether the pieces are those that the suite would have played.
fn same_jobs(jobs: &[Job], transcripts: &[Sealed<'_>]) -> Result<(), String> {
    let names: Vec<String> = jobs.iter().map(Job::name).collect();
    let other = names.iter().zip(transcripts).find(|(name, sealed)| **name != sealed.piece.name);
    if let Some((name, sealed)) = other {
        return Err(format!("pieces: '{}' stands where the suite plays '{name}'", sealed.piece.name));
    }
    match names.len() == transcripts.len() {
        true => Ok(()),
        false => Err(format!("pieces: there are {}, and the suite plays {}", transcripts.len(), names.len())),
    }
}

/// What came of a job that was played from its transcript.
struct Played {
    piece: Piece,
    difference: Option<String>,
    requests: usize,
}

/// Plays jobs from their transcripts on two workers.
fn replay(jobs: &[Job], transcripts: &[Sealed<'_>], hellos: [&Hello; 2], asked: &Asked) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<(usize, Played)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let at = next.fetch_add(1, Ordering::SeqCst)
                    && let (Some(job), Some(transcript)) = (jobs.get(at), transcripts.get(at))
                {
                    let played = match transcript.read() {
                        Ok(transcript) => play(*job, &transcript, job.declared(hellos[0], hellos[1]), asked),
                        Err(why) => Played { piece: job.given_up(), difference: Some(why), requests: 0 },
                    };
                    if let Ok(mut found) = found.lock() {
                        found.push((at, played));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, played)| played).collect()
}

fn play(job: Job, transcript: &Transcript, hello: &Hello, asked: &Asked) -> Played {
    if transcript.hosts.is_empty() {
        return Played { piece: job.given_up(), difference: None, requests: 0 };
    }
    let reels: [Reel; 3] = Default::default();
    let wire = |at: usize| -> Box<dyn Wire> { Box::new(Player::new(&reels[at])) };
    // One host for two devices is an adapter that was started by hand.
    let (mut stage, used) = match (job, transcript.hosts.len()) {
        (Job::Case(..), _) => (Stage::new([wire(0), wire(1), wire(2)]), &reels[..1]),
        (_, 1) => (Stage::alone(wire(0)), &reels[..1]),
        _ => (Stage::new([wire(0), wire(1), wire(2)]), &reels[1..]),
    };
    for (at, reel) in used.iter().enumerate() {
        reel.load(transcript.hosts.get(at).cloned().unwrap_or_default());
    }
    let piece = stage.play(job, hello, asked.seed, asked.sequences);
    let difference = used.iter().find_map(|reel| reel.check().err());
    let hosts = transcript.hosts.len();
    let difference =
        difference.or_else(|| (hosts != used.len()).then(|| format!("its transcript is of {hosts} hosts")));
    Played { piece, difference, requests: transcript.hosts.iter().map(Vec::len).sum() }
}

fn value(body: &Body) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

/// Notes where two values differ, by the path to it.
fn compare(path: &str, theirs: &Value, ours: &Value, differences: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) if theirs.keys().eq(ours.keys()) => {
            for (key, value) in theirs {
                compare(&format!("{path}.{key}"), value, &ours[key], differences);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) if theirs.len() == ours.len() => {
            for (at, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                let name =
                    theirs.get("name").and_then(Value::as_str).map_or(at.to_string(), |name| format!("'{name}'"));
                compare(&format!("{path}[{name}]"), theirs, ours, differences);
            }
        }
        (theirs, ours) if theirs != ours => {
            differences.push(format!("{path}: the certificate has {theirs}, the transcripts give {ours}"));
        }
        _ => {}
    }
}

impl Checked {
    fn tell(&self) -> (Outcome, Vec<String>) {
        let body = &self.certificate.certificate;
        if !self.differences.is_empty() {
            let mut lines: Vec<String> = self.differences.iter().take(SHOWN).cloned().collect();
            let more = self.differences.len() - lines.len();
            lines.extend((more > 0).then(|| format!("and {more} more differences")));
            lines.push(BAD.into());
            return (Outcome::Failed, lines);
        }
        let part = if body.selection.whole { "all of tier A" } else { "a part of tier A, as it was asked for" };
        let signature = &self.certificate.signature;
        let mut lines = vec![
            format!("subject:   {}", body.subject.name),
            format!("verdict:   {}; generations {}; {part}", body.verdict, body.generations.join(", ")),
            format!(
                "suite:     {} ({:.16}), requirements {:.16}, seed {}",
                body.suite.version, body.suite.hash, body.spec.hash, body.seed
            ),
            format!("signed by: {}, which proves {}", signature.key, signature.proves),
            format!(
                "derived:   {} verdicts again, from {} requests, byte for byte, and their answers",
                body.pieces.len() - 1,
                self.requests
            ),
        ];
        if !body.told.is_empty() {
            let passed = body.told.iter().filter(|told| told.verdict == Verdict::Pass.name()).count();
            let (all, files) = (body.told.len(), "the report's files, which show them, were not made again");
            lines.push(format!("told:      {all} verdicts of tier B, {passed} passed, by the signer's word: {files}"));
        }
        let beside = if self.beside.is_empty() { "none is here".into() } else { self.beside.join(", ") };
        lines.push(format!("as bound:  {TRANSCRIPTS}; files of the report: {beside}"));
        lines.extend(body.exemptions.iter().map(|exemption| format!("exempt:    {exemption}")));
        let good = body.verdict == "certified" || body.verdict == "passed in part";
        lines.push(if good && !body.told.is_empty() {
            "the certificate holds, for tier A; for tier B it is the signer's word".into()
        } else if good {
            "the certificate holds".into()
        } else {
            "the certificate holds, and says that the subject failed".into()
        });
        (if good { Outcome::Certified } else { Outcome::Failed }, lines)
    }
}

/// How many differences are told.
const SHOWN: usize = 20;
/// What is told last if anything differs.
const BAD: &str = "the certificate does NOT hold";
/// Those who play at a time, as for a run.
const WORKERS: usize = 2;
