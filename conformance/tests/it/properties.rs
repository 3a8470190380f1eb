//! Properties: the reference keeps them; a mutant is caught, its failure shrunk, and shown again by a token.

use std::cell::RefCell;
use std::rc::Rc;

use segue_conformance::attach::{AdapterOptions, Hello, Host, LineHost, LocalHost, LoopWire};
use segue_conformance::pairs::Shared;
use segue_conformance::properties::{self, Failure, Property, Sequence, play, search, token};
use segue_proto::{Clause, Generation};

fn local(host: LocalHost) -> ([Shared; 2], Hello) {
    let shared = |host: LocalHost| -> Shared { Rc::new(RefCell::new(Box::new(host))) };
    let hello = host.clone().hello().unwrap_or_default();
    ([shared(host.clone()), shared(host)], hello)
}

/// `SEGUE_SEQUENCES` tries more.
fn sequences(default: u32) -> u32 {
    std::env::var("SEGUE_SEQUENCES").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn told(property: &Property, failure: &Failure) -> String {
    let Failure { sequence, drawn, broken } = failure;
    let (token, lines) = (token::write(property, sequence), broken.reason.text().join("\n    "));
    let reason = &broken.reason;
    format!("{token} (from {drawn} steps)\n  expected {}\n  came {}\n    {lines}", reason.expected, reason.came)
}

#[test]
fn the_reference_keeps_every_property() {
    let (hosts, hello) = local(LocalHost::new());
    let mut failures = Vec::new();
    for property in properties::ALL {
        for generation in Generation::ALL {
            let failure = search(&hosts, &hello, property, generation, 1, sequences(60));
            failures.extend(failure.map(|failure| told(property, &failure)));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Mutants that the properties catch by themselves, and the property that does.
const CAUGHT: &[(Clause, &str)] = &[
    (Clause::HO_GRANT_2, "ownership/handoffs"),
    (Clause::HO_GRANT_3, "ownership/handoffs"),
    (Clause::HO_WANT_5, "ownership/handoffs"),
    (Clause::HO_OFFER_5, "ownership/handoffs"),
    (Clause::HO_WRITE_1, "ownership/handoffs"),
    (Clause::HO_HEAD_1, "ownership/takeovers"),
    (Clause::HO_WRITE_2, "ownership/takeovers"),
    (Clause::HO_STORE_1, "ownership/backups"),
    (Clause::HO_STORE_2, "ownership/backups"),
    (Clause::HO_GRANT_1, "durability/promises"),
    (Clause::HO_HEAD_4, "durability/promises"),
    (Clause::HO_STORE_3, "durability/promises"),
    (Clause::SYNC_SINCE_1, "data/everybody-writes"),
    (Clause::DATA_MERGE_1, "data/everybody-writes"),
    (Clause::TRANSFER_CHUNK_1, "data/rotten-bytes"),
    (Clause::HO_WANT_1, "replay/said-again"),
    (Clause::HO_GRANT_8, "liveness/arrives"),
    (Clause::HO_GRANT_9, "liveness/arrives"),
    (Clause::HO_TIME_1, "liveness/ends"),
    (Clause::HO_HEAD_7, "ownership/takeovers"),
    (Clause::HO_GRANT_4, "data/everybody-writes"),
    (Clause::TRANSFER_ANSWER_1, "data/rotten-bytes"),
    (Clause::SYNC_RANK_1, "liveness/arrives"),
];

#[test]
fn mutants_are_caught_by_properties_alone_and_shrunk_to_a_few_steps() {
    let (mut alive, mut steps) = (Vec::new(), Vec::new());
    for (clause, name) in CAUGHT {
        let property = Property::find(name).unwrap();
        assert!(property.clauses.contains(&clause.id()), "{name} doesn't name {clause}");
        let (hosts, hello) = local(LocalHost::mutant(*clause));
        let caught = [Generation::V7, Generation::V1_4]
            .into_iter()
            .find_map(|generation| search(&hosts, &hello, &property, generation, 1, sequences(200)));
        let Some(failure) = caught else {
            alive.push(format!("{clause} by {name}"));
            continue;
        };
        let token = token::write(&property, &failure.sequence);
        println!(
            "{clause}: {} steps, from {}; {}; {token}",
            failure.sequence.steps.len(),
            failure.drawn,
            failure.broken.class
        );
        steps.push(failure.sequence.steps.len());
        // The token alone shows it again, on devices that were never asked anything else; and the reference passes it.
        let (read, sequence) = token::read(&token).unwrap();
        assert_eq!(sequence, failure.sequence);
        let again = play(&local(LocalHost::mutant(*clause)).0, &read, &sequence);
        assert_eq!(again, Some(failure.broken), "{token}");
        assert_eq!(play(&local(LocalHost::new()).0, &read, &sequence), None, "{token}");
    }
    steps.sort_unstable();
    let median = steps.get(steps.len() / 2).copied().unwrap_or_default();
    println!("{} mutants caught, the median of their steps is {median}", steps.len());
    assert!(alive.is_empty(), "nobody noticed {alive:?}");
    assert!(steps.len() >= 20 && (1..=8).contains(&median), "{} caught, median {median}", steps.len());
}

/// Over the line protocol, as a vendor's process has it.
#[test]
fn a_failure_is_shrunk_and_replayed_over_the_line_protocol() {
    let options = AdapterOptions { mutant: Some("HO-GRANT-2".into()), ..AdapterOptions::default() };
    let lines =
        || -> Shared { Rc::new(RefCell::new(Box::new(LineHost::new(Box::new(LoopWire::new(options.clone())))))) };
    let hello = lines().borrow_mut().hello().unwrap();
    let property = Property::find("ownership/handoffs").unwrap();
    let failure = search(&[lines(), lines()], &hello, &property, Generation::V7, 1, 200).unwrap();
    assert!(failure.sequence.steps.len() <= 8, "{}", told(&property, &failure));
    let (property, sequence) = token::read(&token::write(&property, &failure.sequence)).unwrap();
    assert_eq!(play(&[lines(), lines()], &property, &sequence), Some(failure.broken));
}

#[test]
fn a_token_that_is_stale_cut_or_changed_is_refused_by_name() {
    let property = properties::ALL[0];
    let offers = properties::Offers {
        generations: Generation::ALL.to_vec(),
        commands: segue_conformance::attach::COMMANDS.map(String::from).to_vec(),
    };
    for at in 0..200 {
        let sequence = Sequence::draw(&property, property.seed(1, Generation::V2, at), Generation::V2, &offers);
        let token = token::write(&property, &sequence);
        assert!(token.chars().all(|c| c.is_ascii_alphanumeric() || ":/.,+-".contains(c)), "{token}");
        assert_eq!(token::read(&token).map(|(_, sequence)| sequence), Ok(sequence));
    }
    let sequence = Sequence::draw(&property, 1, Generation::V2, &offers);
    let token = token::write(&property, &sequence);
    let stale = format!("2{}", token.strip_prefix('1').unwrap());
    for (text, why) in [
        (stale.as_str(), "replay it with the suite that printed it"),
        (&token[..token.len() - 1], "check sum"),
        (&token.replace(":ownership", ":membership"), "check sum"),
        (&token[..20], "copy the whole token"),
        ("nonsense", "copy the whole token"),
    ] {
        let said = token::read(text).map(|_| ()).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}

/// What is drawn for a seed is part of what a version of the play means.
#[test]
fn a_seed_draws_what_it_drew_in_this_version_of_the_play() {
    let property = properties::ALL[0];
    let offers = properties::Offers {
        generations: Generation::ALL.to_vec(),
        commands: segue_conformance::attach::COMMANDS.map(String::from).to_vec(),
    };
    let sequence = Sequence {
        around: properties::Around::ALL.map(|row| row.0).to_vec(),
        ..Sequence::draw(&property, 7, Generation::V7, &offers)
    };
    insta::assert_snapshot!(format!("{:?}\n{:?}", token::write(&property, &sequence), sequence.options()));
}
