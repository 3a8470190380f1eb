//! What a subject declares is tested: more than it keeps is no way to a certificate.

use segue_conformance::attach::{AdapterOptions, Failure, Hello, Host, LineHost, LocalHost, LoopWire, Slot};
use segue_conformance::cases::{Case, all};
use segue_conformance::choices::Chosen;
use segue_conformance::run::run;
use segue_conformance::verdict::Verdict;
use segue_proto::{Generation, Instant};
use segue_testkit::device::{Outputs, Refusal, Start};

/// A subject that claims all generations, and has no more than 1.7.
struct OverClaims(LocalHost);

impl Host for OverClaims {
    fn hello(&mut self) -> Result<Hello, String> {
        self.0.hello()
    }

    fn start(&mut self, mut start: Start, now: Instant) -> Result<(Slot, Outputs), Refusal> {
        start.setup.generation = start.setup.generation.min(Generation::V1_7);
        self.0.start(start, now)
    }

    fn failure(&self) -> Option<Failure> {
        self.0.failure()
    }

    fn renew(&mut self) {
        self.0.renew();
    }
}

fn case(name: &str) -> Case {
    all().into_iter().find(|case| case.name == name).unwrap_or_else(|| panic!("no case {name}"))
}

fn verdict(host: &mut dyn Host, hello: &Hello, name: &str, generation: Generation) -> Verdict {
    run(host, hello, &case(name), generation, 1).verdict
}

#[test]
fn a_generation_that_is_claimed_and_not_there_is_noticed() {
    let mut host = OverClaims(LocalHost::new());
    let hello = host.hello().unwrap();
    let mut at = |generation| verdict(&mut host, &hello, "generations/pick/with-7", generation);
    assert_eq!([Generation::V1_4, Generation::V1_7].map(&mut at), [Verdict::Pass; 2]);
    assert_eq!([Generation::V2, Generation::V7].map(&mut at), [Verdict::Fail; 2]);
}

#[test]
fn a_subject_is_held_to_what_it_chose() {
    let mut host = LocalHost::new();
    let chosen = |name: &str, taken: &str| Chosen::new([(name.to_string(), taken.to_string())].into()).unwrap();
    for (case, choices, expected) in [
        ("wire/frame/grease-as-declared", Chosen::default(), Verdict::Pass),
        ("wire/frame/grease-as-declared", chosen("grease", "sends"), Verdict::Fail),
        ("transfer/list/as-declared", Chosen::default(), Verdict::Pass),
        ("transfer/list/as-declared", chosen("chunks", "equal"), Verdict::Fail),
        ("transfer/list/as-declared", chosen("chunks", "other"), Verdict::Pass),
    ] {
        let hello = Hello { choices: choices.clone(), ..host.hello().unwrap() };
        assert_eq!(verdict(&mut host, &hello, case, Generation::V7), expected, "{case} with {choices:?}");
    }
}

#[test]
fn a_command_that_isnt_declared_costs_no_more_than_its_cases() {
    let mut host = LocalHost::new();
    let mut hello = host.hello().unwrap();
    hello.commands.retain(|command| command != "write-file");
    assert_eq!(verdict(&mut host, &hello, "transfer/list/as-declared", Generation::V7), Verdict::Unsupported);
}

#[test]
fn the_reference_serves_no_generation_that_it_doesnt_declare() {
    let options = AdapterOptions { generations: vec![Generation::V1_7], ..AdapterOptions::default() };
    let mut host = LineHost::new(Box::new(LoopWire::new(options)));
    let hello = host.hello().unwrap();
    assert_eq!(hello.generations, [Generation::V1_7]);
    assert_eq!(verdict(&mut host, &hello, "generations/pick/with-7", Generation::V1_7), Verdict::Pass);
    assert_eq!(verdict(&mut host, &hello, "generations/pick/with-7", Generation::V7), Verdict::Fail);
    assert!(matches!(host.failure(), Some(Failure::Unsupported { asked, .. }) if asked == "new"));
}
