//! Running cases: one host, one case, one generation at a time.

use segue_proto::Generation;

use crate::attach::{COMMANDS, Failure, Hello, Host};
use crate::cases::{Body, Case, Step};
use crate::exemptions::{ADAPTER, DECLARED};
use crate::lab::{Lab, Line, Shake};
use crate::verdict::{Fault, Verdict};

/// What a case came to for one generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Result {
    /// The case.
    pub case: &'static str,
    /// The subject's generation.
    pub generation: Generation,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it didn't pass.
    pub reason: Option<Reason>,
    /// The token by which `segue certify --replay` shows the failure of a property again.
    pub replay: Option<String>,
}

/// Why a case didn't pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// What was demanded.
    pub expected: String,
    /// What came.
    pub came: String,
    /// The last lines of the transcript, decoded.
    pub lines: Vec<Line>,
}

impl Reason {
    /// The transcript as text.
    pub fn text(&self) -> Vec<String> {
        self.lines.iter().map(Line::to_string).collect()
    }
}

/// The lines of a transcript that a report shows.
pub(crate) const LINES: usize = 80;

/// Runs a case for a generation.
pub fn run(host: &mut dyn Host, hello: &Hello, case: &Case, generation: Generation, seed: u64) -> Result {
    let result = |verdict, reason| Result { case: case.name, generation, verdict, reason, replay: None };
    if let Some(command) = case.needs.iter().find(|need| !hello.offers(need)) {
        return result(Verdict::Unsupported, Some(undeclared(command)));
    }
    let steps: Vec<(&str, Step)> = match case.body {
        Body::Works(step) => vec![("", step)],
        Body::Refused { twin, bad } => vec![("its twin, which must work: ", twin), ("", bad)],
        Body::Loopback(_) => {
            let (expected, came) = ("a case of tier A".into(), "one on real sockets".into());
            return result(Verdict::Inconclusive, Some(Reason { expected, came, lines: Vec::new() }));
        }
    };
    for shake in [Shake::NONE, Shake::ALL] {
        for (which, step) in &steps {
            let outcome = examine(host, hello, case, generation, seed, *step, shake);
            if let Some(Failure::Unsupported { asked, .. }) = host.failure()
                && COMMANDS.contains(&&*asked)
                && !hello.offers(&asked)
            {
                return result(Verdict::Unsupported, Some(undeclared(&asked)));
            }
            if let Err(reason) = outcome {
                let needs = if shake == Shake::NONE { "" } else { needed(host, hello, case, generation, seed, *step) };
                let reason = Reason { expected: format!("{which}{needs}{}", reason.expected), ..reason };
                return result(Verdict::Fail, Some(reason));
            }
        }
    }
    result(Verdict::Pass, None)
}

/// What a case needs that the subject doesn't declare.
fn undeclared(command: &str) -> Reason {
    Reason { expected: format!("'do' of '{command}'"), came: "not declared".into(), lines: Vec::new() }
}

/// In how many ways a case is run for a generation: plainly, and with its delivery shaken.
pub const WAYS: usize = 2;

/// What of shaken delivery a failure needs, in words.
fn needed(
    host: &mut dyn Host,
    hello: &Hello,
    case: &Case,
    generation: Generation,
    seed: u64,
    step: Step,
) -> &'static str {
    let alone =
        Shake::EACH.iter().find(|(shake, _)| examine(host, hello, case, generation, seed, step, *shake).is_err());
    alone.map_or("with its delivery shaken: ", |(_, words)| words)
}

fn examine(
    host: &mut dyn Host,
    hello: &Hello,
    case: &Case,
    generation: Generation,
    seed: u64,
    step: Step,
    shake: Shake,
) -> std::result::Result<(), Reason> {
    host.renew();
    let mut lab = Lab::new(host, generation, seed, case.name);
    lab.shake = shake;
    lab.choices = hello.choices.clone();
    let outcome = step(&mut lab);
    let lines = lab.into_lines();
    let tail = lines[lines.len().saturating_sub(LINES)..].to_vec();
    // Whatever the case made of it: an adapter that broke has shown nothing.
    let fault = match host.failure() {
        Some(Failure::Broken(why)) => Err(Fault::fail(ADAPTER, why)),
        Some(Failure::Unsupported { asked, why }) => Err(Fault::fail(DECLARED, format!("unsupported: {asked}, {why}"))),
        None => outcome,
    };
    fault.map_err(|fault| Reason { expected: fault.expected, came: fault.came, lines: tail })
}

/// Whether a generation of a case is to be run for this subject.
pub fn applies(case: &Case, hello: &Hello, generation: Generation) -> bool {
    hello.generations.contains(&generation) && case.applies(generation)
}
