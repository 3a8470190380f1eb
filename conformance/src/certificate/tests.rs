//! Forgeries that are signed anew: only deriving the verdicts finds them.

use super::transcripts::{pack, unpack};
use super::verify::{Trouble, check};
use super::{Body, Certificate, Evidence, Member, TRANSCRIPTS, Told, hash, issue, sign};
use crate::attach::{AdapterOptions, Exchange, Host, LineHost, LoopWire, Recorder, Tape, Wire};
use crate::plan::{self, Stage};
use crate::report::{Asked, File, Report};

/// A run of these cases on a mutant, or on the reference: its certificate and its transcripts.
fn issued(pattern: &str, mutant: Option<&str>) -> (Certificate, Vec<u8>) {
    let tape = Tape::default();
    let options = AdapterOptions { mutant: mutant.map(Into::into), ..AdapterOptions::default() };
    let wire = || -> Box<dyn Wire> { Box::new(Recorder::new(Box::new(LoopWire::new(options.clone())), &tape)) };
    let hello = LineHost::new(wire()).hello();
    let asked = Asked {
        adapter: None,
        peer: None,
        generations: Vec::new(),
        case: Some(pattern.into()),
        in_a: true,
        requirements: None,
        sequences: 2,
        seed: 3,
    };
    let mut report = Report::new(asked, &hello);
    let mut evidence = Evidence::new(&[tape.take()]);
    let hello = hello.unwrap_or_default();
    let mut stage = Stage::new([wire(), wire(), wire()]);
    for job in plan::jobs(&report.asked, &hello, None).unwrap() {
        let piece = stage.play(job, &hello, 3, 2);
        evidence.add(&job.name(), &piece, Member::new(&job.name(), &[tape.take()]));
        report.take(vec![piece]);
    }
    report.judge();
    let files = issue(&report, evidence, &report.files(), None);
    let [File { bytes: transcripts, .. }, File { bytes: certificate, .. }] = &files[..] else { panic!("two files") };
    (serde_json::from_slice(certificate).unwrap(), transcripts.clone())
}

/// What is found in a certificate that was changed and signed anew.
fn found(body: Body, transcripts: &[u8]) -> Vec<String> {
    let text = sign(body, None).text();
    let read = |name: &str| (name == TRANSCRIPTS).then(|| transcripts.to_vec());
    match check(text.as_bytes(), None, &read) {
        Ok(checked) => checked.differences,
        Err(Trouble::Differs(what) | Trouble::Usage(what) | Trouble::Suite(what)) => vec![what],
    }
}

/// The certificate with the exchanges of a piece changed, bound to what they are now.
fn retold(body: &Body, transcripts: &[u8], at: usize, change: impl Fn(&mut Vec<Exchange>)) -> (Body, Vec<u8>) {
    let (mut body, mut bytes) = (body.clone(), Vec::new());
    for (place, piece) in body.pieces.iter_mut().enumerate() {
        let member = &transcripts[piece.at as usize..(piece.at + piece.length) as usize];
        let mut transcript = unpack(member, piece.text).unwrap();
        if place == at {
            change(&mut transcript.hosts[0]);
        }
        let (member, text) = pack(&transcript.name, &transcript.hosts);
        (piece.at, piece.length) = (bytes.len() as u64, member.len() as u64);
        (piece.text, piece.hash) = (text, hash(&member));
        bytes.extend(member);
    }
    body.transcripts.hash = hash(&bytes);
    (body, bytes)
}

#[test]
fn a_verdict_that_doesnt_follow_from_the_transcripts_is_found() {
    let (certificate, transcripts) = issued("handoff/want/stale-parent", Some("HO-WANT-1"));
    let body = certificate.certificate;
    assert_eq!(found(body.clone(), &transcripts), [""; 0]);
    let mut forged = Body { verdict: "passed in part".into(), ..body.clone() };
    forged.pieces.iter_mut().filter(|piece| piece.verdict == "fail").for_each(|piece| piece.verdict = "pass".into());
    let found = found(forged, &transcripts);
    let said = |what: &str| found.iter().any(|line| line.contains(what));
    assert!(
        said("certificate.verdict: the certificate has \"passed in part\", the transcripts give \"not certified\""),
        "{found:?}"
    );
    assert!(said("['handoff/want/stale-parent at 1.4'].verdict: the certificate has \"pass\""), "{found:?}");
}

#[test]
fn a_forged_answer_a_forged_request_and_a_piece_left_out_are_found() {
    let (certificate, transcripts) = issued("link/ping/*", None);
    let body = certificate.certificate;
    let (forged, bytes) = retold(&body, &transcripts, 1, |said| {
        let last = said.iter_mut().rev().find(|exchange| matches!(&exchange.answer, Ok(it) if it.contains("control")));
        if let Some(exchange) = last {
            exchange.answer = Ok(format!("{{\"id\":{},\"ok\":{{\"out\":{{}}}}}}", exchange.request.len()));
        }
    });
    assert!(!found(forged, &bytes).is_empty(), "an answer");
    let (forged, bytes) = retold(&body, &transcripts, 1, |said| said[0].request = said[0].request.replace('5', "6"));
    assert!(found(forged, &bytes).iter().any(|line| line.contains("request 1 differs at byte")), "a request");
    let (forged, bytes) = retold(&body, &transcripts, 1, |said| drop(said.pop()));
    assert!(found(forged, &bytes).iter().any(|line| line.contains("the transcript ends before request")), "an end");
    let mut forged = body.clone();
    let gone = forged.pieces.pop();
    let end = gone.map_or(0, |piece| piece.at) as usize;
    forged.transcripts.hash = hash(&transcripts[..end]);
    assert!(found(forged, &transcripts[..end]).iter().any(|line| line.starts_with("pieces: there are")), "a piece");
}

#[test]
fn what_is_told_of_tier_b_counts_and_has_to_be_of_the_suite() {
    let (certificate, transcripts) = issued("link/ping/*", None);
    let body = certificate.certificate;
    let told = |case: &str, verdict: &str| {
        let told = vec![Told { case: case.into(), generation: "2".into(), verdict: verdict.into() }];
        found(Body { told, ..body.clone() }, &transcripts)
    };
    let verdict = "certificate.verdict: the certificate has \"passed in part\", the transcripts give \"not certified\"";
    assert!(told("transport/alpn/another", "fail").iter().any(|line| line == verdict));
    assert!(!told("transport/alpn/another", "pass").iter().any(|line| line == verdict));
    for (case, verdict) in
        [("transport/alpn/nowhere", "pass"), ("link/ping/answered", "pass"), ("transport/alpn/another", "good")]
    {
        assert_eq!(told(case, verdict), ["told: it names what the suite doesn't have"], "{case} {verdict}");
    }
}

#[test]
fn a_certificate_of_another_suite_is_not_judged() {
    let (certificate, transcripts) = issued("link/ping/*", None);
    let mut body = certificate.certificate;
    body.suite.version = "9.9.9".into();
    assert!(found(body, &transcripts)[0].starts_with("the certificate is of suite 9.9.9"));
}
