//! `segue certify`, `segue verify` and `segue adapter`: the conformance suite.

use std::io::{stdin, stdout};
use std::net::ToSocketAddrs;

use segue_conformance::attach::{AdapterOptions, Place, Tier as Examined, adapter as serve, list_mutants};
use segue_conformance::loopback::Running;
use segue_conformance::{CertifyOptions, Outcome, VerifyOptions, cases, certify_running, list_cases, list_sockets};

use crate::args::{Adapter, Certify, Generation, Tier, Verify};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// Certifies the subject behind an adapter.
pub(crate) fn certify(args: &Certify) -> Result<Exit, Failure> {
    if args.list {
        return list(args);
    }
    if let Some(report) = &args.report {
        // Before the run, which takes a while.
        let made = std::fs::create_dir_all(report).map_err(Failure::io("make the directory of the report", report));
        made.map_err(|failure| Failure::usage(failure.text))?;
    }
    let attach = args.attach.as_deref().map(Place::parse).transpose().map_err(Failure::usage)?;
    let options = CertifyOptions {
        adapter: args.adapter.clone(),
        peer: args.peer.clone(),
        generations: args.generation.one().into_iter().collect(),
        case: args.case.clone(),
        report: args.report.clone(),
        sign_key: args.sign_key.clone(),
        seed: args.seed,
        sequences: args.sequences,
        exemptions: args.exemptions.clone(),
        requirements: args.requirements.clone(),
        attach,
        time: args.time,
        tiers: args.tier.map(|tier| match tier {
            Tier::A => vec![Examined::A],
            Tier::B => vec![Examined::B],
            Tier::All => vec![Examined::A, Examined::B],
        }),
    };
    let outcome = match (&args.replay, &args.connect, args.device) {
        (Some(token), ..) => segue_conformance::replay(&options, token),
        (_, Some(addr), Some(device)) => {
            let found = addr.to_socket_addrs().ok().and_then(|mut found| found.next());
            let addr = found.ok_or_else(|| Failure::usage(format!("no address is known of {addr}")))?;
            certify_running(&options, &Running { addr, device, service: args.service, seed: args.seed })
        }
        _ if args.smoke => segue_conformance::smoke(&options),
        _ => segue_conformance::certify(&options),
    };
    Ok(exit(outcome))
}

/// Verifies a certificate.
pub(crate) fn verify(args: &Verify) -> Exit {
    let options = VerifyOptions { certificate: args.certificate.clone(), key: args.key.clone() };
    exit(segue_conformance::verify(&options))
}

fn exit(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Certified => Exit::Resolved,
        Outcome::Failed => Exit::Failed,
        Outcome::Usage => Exit::Usage,
        Outcome::Suite => Exit::Suite,
    }
}

/// Is the adapter of this implementation.
pub(crate) fn adapter(args: &Adapter) -> Result<Exit, Failure> {
    if args.list_mutants {
        list_mutants().iter().for_each(say);
        return Ok(Exit::Resolved);
    }
    if let Some(name) = args.mutant.as_ref().filter(|name| !list_mutants().contains(&name.as_str())) {
        return Err(Failure::usage(format!("there is no mutant {name}; `segue adapter --list-mutants` lists them")));
    }
    let generations = match args.generation.contains(&Generation::All) {
        true => Vec::new(),
        false => args.generation.iter().filter_map(|generation| generation.one()).collect(),
    };
    let options = AdapterOptions { generations, mutant: args.mutant.clone(), quic: args.quic };
    serve(&options, stdin().lock(), stdout().lock()).map_err(Failure::failed)?;
    Ok(Exit::Resolved)
}

/// Names what would be run, one a line.
fn list(args: &Certify) -> Result<Exit, Failure> {
    let applies = |name: &str| match (args.generation.one(), cases::find(name)) {
        (Some(generation), Some(case)) => case.applies(generation),
        (Some(generation), None) => match name.strip_prefix("pairs/") {
            Some(pair) => pair.split(['-', '/']).any(|part| part == generation.name()),
            None => true,
        },
        (None, _) => true,
    };
    let selected = |name: &str| args.case.as_deref().is_none_or(|glob| cases::matches(glob, name)) && applies(name);
    let lines: Vec<String> = if args.tier == Some(Tier::B) {
        let rows = list_sockets().into_iter().filter(|[name, ..]| selected(name));
        rows.map(|[name, clauses, sign]| format!("{name:<50} {sign:<28} {clauses}")).collect()
    } else {
        list_cases().into_iter().filter(|name| selected(name)).collect()
    };
    if lines.is_empty() {
        return Err(Failure::usage("no case and no pair of that name; 'segue certify --list' names them all"));
    }
    lines.iter().for_each(say);
    Ok(Exit::Resolved)
}
