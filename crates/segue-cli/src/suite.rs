//! `segue certify` and `segue adapter`: the conformance suite.

use std::io::{stdin, stdout};

use segue_conformance::attach::{AdapterOptions, Place, adapter as serve, list_mutants};
use segue_conformance::{CertifyOptions, Outcome, cases, list_cases};

use crate::args::{Adapter, Certify, Generation};
use crate::failure::{Exit, Failure};
use crate::terminal::say;

/// Certifies the subject behind an adapter.
pub(crate) fn certify(args: &Certify) -> Result<Exit, Failure> {
    if args.list {
        let selected = |name: &&String| args.case.as_deref().is_none_or(|glob| cases::matches(glob, name));
        list_cases().iter().filter(selected).for_each(say);
        return Ok(Exit::Resolved);
    }
    let attach = args.attach.as_deref().map(Place::parse).transpose().map_err(Failure::usage)?;
    let options = CertifyOptions {
        adapter: args.adapter.clone(),
        peer: args.peer.clone(),
        generations: args.generation.one().into_iter().collect(),
        case: args.case.clone(),
        report: args.report.clone(),
        seed: args.seed,
        sequences: args.sequences,
        exemptions: args.exemptions.clone(),
        requirements: args.requirements.clone(),
        attach,
        time: args.time,
    };
    let outcome = match &args.replay {
        Some(token) => segue_conformance::replay(&options, token),
        None if args.smoke => segue_conformance::smoke(&options),
        None => segue_conformance::certify(&options),
    };
    Ok(match outcome {
        Outcome::Certified => Exit::Resolved,
        Outcome::Failed => Exit::Failed,
        Outcome::Usage => Exit::Usage,
        Outcome::Suite => Exit::Suite,
    })
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
    let options = AdapterOptions { generations, mutant: args.mutant.clone() };
    serve(&options, stdin().lock(), stdout().lock()).map_err(Failure::failed)?;
    Ok(Exit::Resolved)
}
