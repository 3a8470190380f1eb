//! Certificates: what was issued is verified, and one changed byte anywhere is noticed.

use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{EncodePrivateKey, spki::der::pem::LineEnding};
use segue_conformance::attach::{AdapterOptions, Host, LineHost, LoopWire, Recorder, Tape, Wire};
use segue_conformance::certificate::{CERTIFICATE, Evidence, Key, Member, TRANSCRIPTS, VerifyOptions, issue, verify};
use segue_conformance::certify::Outcome;
use segue_conformance::plan::{self, Job, Stage};
use segue_conformance::report::{Asked, Report, write};

/// A folder that is gone at the end of a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn verify(&self, key: Option<&str>) -> Outcome {
        verify(&VerifyOptions { certificate: self.0.join(CERTIFICATE), key: key.map(Into::into) })
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.join(name), bytes).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs these cases on the reference, or a mutant of it, over recorded lines, and leaves report and certificate.
fn run(folder: &Folder, pattern: &str, mutant: Option<&str>, key: Option<Key>) -> Outcome {
    let tapes: [Tape; 3] = Default::default();
    let options = AdapterOptions { mutant: mutant.map(Into::into), ..AdapterOptions::default() };
    let wire =
        |tape: &Tape| -> Box<dyn Wire> { Box::new(Recorder::new(Box::new(LoopWire::new(options.clone())), tape)) };
    let hello = LineHost::new(wire(&tapes[0])).hello();
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
    let mut evidence = Evidence::new(&[tapes[0].take()]);
    let hello = hello.unwrap();
    let mut stage = Stage::new([wire(&tapes[0]), wire(&tapes[1]), wire(&tapes[2])]);
    for job in plan::jobs(&report.asked, &hello, None).unwrap() {
        let piece = stage.play(job, &hello, 3, 2);
        let exchanges = match job {
            Job::Case(..) => vec![tapes[0].take()],
            Job::Property(..) | Job::Pair(_) => vec![tapes[1].take(), tapes[2].take()],
        };
        evidence.add(&job.name(), &piece, Member::new(&job.name(), &exchanges));
        report.take(vec![piece]);
    }
    let outcome = report.judge();
    let mut files = report.files();
    files.extend(issue(&report, evidence, &files, key));
    write(&folder.0, &files).unwrap();
    outcome
}

#[test]
fn what_was_issued_is_verified() {
    let folder = Folder::new("issued");
    for (pattern, mutant, expected) in [
        ("handoff/want/*", None, Outcome::Certified),
        ("pairs/1.4-to-2/*", None, Outcome::Certified),
        ("handoff/want/*", Some("HO-WANT-1"), Outcome::Failed),
        ("link/hello/*", Some("accept-all"), Outcome::Failed),
    ] {
        assert_eq!(run(&folder, pattern, mutant, None), expected, "{pattern} {mutant:?}");
        assert_eq!(folder.verify(None), expected, "{pattern} {mutant:?}");
    }
}

#[test]
fn who_signed_is_told_apart() {
    let folder = Folder::new("signed");
    let file = folder.0.with_extension("pem");
    let key = SigningKey::from_bytes(&[7; 32]);
    std::fs::write(&file, key.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap();
    let public = hex::encode(key.verifying_key().to_bytes());
    run(&folder, "link/ping/*", None, Some(Key::read(&file).unwrap()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(folder.verify(None), Outcome::Certified);
    assert_eq!(folder.verify(Some(&public)), Outcome::Certified);
    assert_eq!(folder.verify(Some(&"5a".repeat(32))), Outcome::Failed);
    assert_eq!(folder.verify(Some("no such file")), Outcome::Usage);
}

#[test]
fn one_changed_byte_anywhere_is_noticed() {
    let folder = Folder::new("flipped");
    run(&folder, "link/ping/*", None, None);
    assert_eq!(folder.verify(None), Outcome::Certified);
    for name in [CERTIFICATE, TRANSCRIPTS, "report.json", "report.html", "junit.xml", "badge.svg"] {
        let whole = folder.read(name);
        // Some forty places of each file, each with another bit: every one of them costs a whole derivation.
        let step = (whole.len() / 40).max(1);
        for at in (0..whole.len()).step_by(step) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            folder.put(name, &bytes);
            assert_eq!(folder.verify(None), Outcome::Failed, "{name}, byte {at}");
        }
        for bytes in [&whole[..whole.len() - 1], &[&whole[..], b"\n"].concat()[..], b""] {
            folder.put(name, bytes);
            assert_eq!(folder.verify(None), Outcome::Failed, "{name}, {} bytes of {}", bytes.len(), whole.len());
        }
        folder.put(name, &whole);
    }
    assert_eq!(folder.verify(None), Outcome::Certified);
    std::fs::remove_file(folder.0.join(TRANSCRIPTS)).unwrap();
    assert_eq!(folder.verify(None), Outcome::Usage);
}
