//! Which requirements a run checked.

use std::collections::{BTreeMap, BTreeSet};

use segue_proto::Generation;

use super::Report;
use crate::cases::{self, Case};
use crate::pairs::Cell;
use crate::run::applies;
use crate::spec;
use crate::verdict::Verdict;

/// What became of the requirements of the spec.
pub struct Coverage {
    /// Checked by a case that was run.
    pub tested: BTreeSet<String>,
    /// Excluded, with the reason.
    pub excluded: BTreeMap<String, String>,
    /// Neither.
    pub untested: BTreeSet<String>,
}

/// How a requirement stands after a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// All cases for it that were run passed, and there was one.
    Passed,
    /// A case for it failed.
    Failed,
    /// No case observes it, for this reason.
    Excluded(String),
    /// No case for it was run to a verdict, for this reason.
    Untested(String),
}

impl Report {
    /// What became of each requirement. A case that came to no verdict has tested nothing.
    pub fn coverage(&self) -> Coverage {
        let (mut tested, mut excluded, mut untested) = (BTreeSet::new(), BTreeMap::new(), BTreeSet::new());
        for (id, standing) in self.standing() {
            match standing {
                Standing::Passed | Standing::Failed => drop(tested.insert(id.to_string())),
                Standing::Excluded(why) => drop(excluded.insert(id.to_string(), why)),
                Standing::Untested(_) => drop(untested.insert(id.to_string())),
            }
        }
        Coverage { tested, excluded, untested }
    }

    /// How each requirement stands.
    pub(super) fn standing(&self) -> BTreeMap<&'static str, Standing> {
        let mut verdicts: BTreeMap<String, bool> = BTreeMap::new();
        let mut note = |clause: String, good: bool| {
            let stands = verdicts.entry(clause).or_insert(true);
            *stands &= good;
        };
        for result in &self.cases {
            if matches!(result.verdict, Verdict::Pass | Verdict::Fail) {
                let checked = super::clauses(result.case);
                checked.iter().for_each(|clause| note((*clause).into(), result.verdict == Verdict::Pass));
            }
        }
        self.pairs.iter().for_each(|found| note(found.cell.clause(), found.fault.is_none()));
        let excluded = exclusions();
        let all = cases::all();
        let stands = |id: &'static str| match (verdicts.get(id), excluded.get(id)) {
            (Some(true), _) => Standing::Passed,
            (Some(false), _) => Standing::Failed,
            (None, Some(why)) => Standing::Excluded(why.clone()),
            (None, None) => Standing::Untested(self.why_untested(id, &all)),
        };
        spec::requirements().iter().map(|requirement| (requirement.id, stands(requirement.id))).collect()
    }

    fn why_untested(&self, id: &str, all: &[Case]) -> String {
        let cases: Vec<&Case> = all.iter().filter(|case| case.clauses.contains(&id)).collect();
        let pair = Cell::all().iter().any(|cell| cell.clause() == id);
        let Ok(hello) = &self.hello else { return "the subject can't be examined".into() };
        let fits = |case: &&Case| hello.generations.iter().any(|generation| applies(case, hello, *generation));
        if cases.is_empty() && !pair {
            "no case of the suite checks it".into()
        } else if !self.asked_whole() {
            "its cases were not asked for".into()
        } else if pair && cases.is_empty() && hello.generations.len() < Generation::ALL.len() {
            "it concerns a pair with a generation that neither the subject nor a peer speaks".into()
        } else if !pair && !cases.iter().any(fits) {
            "it concerns generations that the subject doesn't speak".into()
        } else {
            "its cases need what the subject doesn't offer, or came to no verdict".into()
        }
    }
}

/// The requirements that no case observes: those of the spec, and those of this tier.
pub fn exclusions() -> BTreeMap<String, String> {
    // What goes by way of a service are packets of QUIC, on streams of QUIC.
    let quic = |id: &String| ["TRANSPORT-", "SERVICE-RELAY-"].iter().any(|chapter| id.starts_with(chapter));
    let transport = spec::ids().into_iter().filter(quic);
    let transport =
        transport.map(|id| (id, "concerns QUIC, which tier A doesn't use: it is examined in tier B".to_string()));
    let tier = TIER_A.iter().map(|(id, reason)| ((*id).to_string(), (*reason).to_string()));
    transport.chain(tier).chain(spec::exclusions()).collect()
}

/// What this tier can't observe.
const TIER_A: &[(&str, &str)] = &[
    ("LINK-QUEUE-1", "the suite takes at once what a subject sends, so no queue grows"),
    (
        "LINK-DUP-3",
        "of two links one has to go by way of a service, and the suite makes no connection over packets that are passed on; tests of the core, and of the reference over QUIC, watch it",
    ),
    (
        "SERVICE-RELAY-7",
        "concerns packets of a mailbox, and over sockets no subject is told to use one; a test of the reference over QUIC watches it",
    ),
    ("GEN-REDIAL-1", "the suite dials; a subject has no say in it"),
    ("DATA-PART-2", "an exclusive part comes near its limit only once hundreds of devices have owned it"),
    ("DATA-LOG-1", "'inspect' shows no logs: in which order they are shown is between subject and application"),
    ("SEC-PANIC-1", "concerns every input; the fuzz targets and every case count against it"),
];
