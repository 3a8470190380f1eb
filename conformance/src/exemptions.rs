//! Exemptions: failures that a vendor knows of, kept in the vendor's own repository.
//!
//! The file is JSON: `{"exemptions": [{"case", "generations", "verdict", "came", "reason"}, …]}`. An entry says which
//! cases fail, how, and why that is known. It must describe what happens: an entry whose case passes, fails otherwise,
//! or isn't one of the suite's fails the run. `GUIDE.md` has the rules.

use std::borrow::Cow;
use std::path::Path;

use segue_proto::{Code, Generation};
use serde_json::Value;

use crate::cases::matches;
use crate::protocol::json::{Json, field};
use crate::run::Reason;
use crate::verdict::Verdict;

/// A failure that the vendor knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemption {
    /// The name of a case, property or pair, or a pattern of such names.
    pub case: String,
    /// The generations for which it fails; empty means all. Pairs have none.
    pub generations: Vec<Generation>,
    /// The verdict that it comes to.
    pub verdict: Verdict,
    /// What came, by its [class].
    pub came: String,
    /// Why it is known.
    pub reason: String,
}

/// What a case came to, as exemptions see it.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// Its name.
    pub case: Cow<'a, str>,
    /// Its generation; pairs have none.
    pub generation: Option<Generation>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why it didn't pass.
    pub reason: Option<&'a Reason>,
}

/// What a list of exemptions makes of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// For each result whether an entry covers it: the entry's place in the list.
    pub exempt: Vec<Option<usize>>,
    /// What is wrong with the list. Anything here fails the run.
    pub wrong: Vec<String>,
}

/// Reads a file of exemptions.
///
/// # Errors
/// In words, with the entry that is wrong.
pub fn read(path: &Path) -> Result<Vec<Exemption>, String> {
    let said = |why: String| format!("the exemptions in {} can't be used: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| said(error.to_string()))?;
    parse(&text).map_err(said)
}

fn parse(text: &str) -> Result<Vec<Exemption>, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"))?;
    let entries = file.get("exemptions").and_then(Value::as_array).ok_or("there is no list 'exemptions'")?;
    let read = |(at, entry): (usize, &Value)| {
        exemption(entry).map_err(|why| format!("in entry {} of 'exemptions', {why}", at + 1))
    };
    entries.iter().enumerate().map(read).collect()
}

/// Reads an entry.
pub(crate) fn exemption(entry: &Value) -> Result<Exemption, String> {
    let known = ["case", "generations", "verdict", "came", "reason"];
    let other = entry.as_object().ok_or("an object is expected")?.keys().find(|key| !known.contains(&key.as_str()));
    if let Some(other) = other {
        return Err(format!("field '{other}' is unknown"));
    }
    let (case, came, reason): (String, String, String) =
        (field(entry, "case")?, field(entry, "came")?, field(entry, "reason")?);
    let verdict = match field::<String>(entry, "verdict")?.as_str() {
        "fail" => Verdict::Fail,
        "inconclusive" => Verdict::Inconclusive,
        other => return Err(format!("field 'verdict': '{other}' is neither 'fail' nor 'inconclusive'")),
    };
    if reason.trim().is_empty() {
        return Err("field 'reason' says nothing".into());
    }
    let words = CLASSES.contains(&came.as_str()) || Code::TABLE.iter().any(|row| row.name == came);
    if !words {
        return Err(format!("field 'came': '{came}' is neither an error code nor one of {}", CLASSES.join(", ")));
    }
    let generations: Vec<Generation> = field(entry, "generations")?;
    Ok(Exemption { case, generations, verdict, came, reason })
}

/// The class of what came: the error code that came first, the promise that broke, or one of a few words. It is told
/// from the suite's own words, never from the subject's.
pub fn class(reason: &Reason) -> String {
    let promise = reason.expected.split_once(':').map(|(promise, _)| promise);
    if let Some(promise) = promise.filter(|promise| PROMISES.contains(promise)) {
        return promise.into();
    }
    if reason.expected.ends_with(ADAPTER) || reason.expected.ends_with(DECLARED) {
        return "adapter".into();
    }
    let mut words = reason.came.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let code = words.find(|word| Code::TABLE.iter().any(|row| row.name == *word));
    match code {
        Some(code) => code.into(),
        None if NOTHING.contains(&reason.came.as_str()) => "nothing".into(),
        None => "other".into(),
    }
}

/// Holds a list of exemptions against what a run showed. `names` are all names that the suite has.
pub fn judge(exemptions: &[Exemption], shown: &[Shown<'_>], names: &[String]) -> Judged {
    let mut judged = Judged { exempt: vec![None; shown.len()], wrong: Vec::new() };
    for (at, entry) in exemptions.iter().enumerate() {
        let covered = names.iter().filter(|name| matches(&entry.case, name)).count();
        if covered == 0 {
            judged.wrong.push(format!("the exemption of '{}' matches no case of this suite", entry.case));
        } else if covered > MAX_COVERED {
            let words = format!("covers {covered} cases, and no exemption may cover more than {MAX_COVERED}");
            judged.wrong.push(format!("the exemption of '{}' {words}", entry.case));
        } else {
            for (exempt, result) in judged.exempt.iter_mut().zip(shown).filter(|(_, result)| entry.is_about(result)) {
                match entry.describes(result) {
                    Ok(()) => *exempt = Some(at),
                    Err(why) => judged.wrong.push(format!("the exemption of '{}' {why}", entry.case)),
                }
            }
        }
    }
    judged
}

impl Exemption {
    fn is_about(&self, shown: &Shown<'_>) -> bool {
        let generation =
            shown.generation.is_none_or(|it| self.generations.is_empty() || self.generations.contains(&it));
        generation && shown.verdict != Verdict::Unsupported && matches(&self.case, &shown.case)
    }

    fn describes(&self, shown: &Shown<'_>) -> Result<(), String> {
        let place = match shown.generation {
            Some(generation) => format!("{} at {generation}", shown.case),
            None => shown.case.clone().into_owned(),
        };
        if shown.verdict == Verdict::Pass {
            return Err(format!("is stale: {place} passes; remove the entry, or narrow it"));
        }
        let came = shown.reason.map_or_else(|| "nothing".into(), class);
        if shown.verdict != self.verdict || came != self.came {
            let (verdict, expected) = (shown.verdict.name(), self.verdict.name());
            return Err(format!("expects '{expected}' by '{}', and {place} shows '{verdict}' by '{came}'", self.came));
        }
        Ok(())
    }
}

/// As JSON, for the report.
pub fn to_json(entry: &Exemption) -> Value {
    serde_json::json!({
        "case": entry.case,
        "generations": entry.generations.to_json(),
        "verdict": entry.verdict.name(),
        "came": entry.came,
        "reason": entry.reason,
    })
}

/// How many cases an entry with a wildcard may cover.
pub const MAX_COVERED: usize = 20;
/// What is expected where the adapter itself broke.
pub(crate) const ADAPTER: &str = "an adapter that answers";
/// What is expected where the adapter doesn't offer what it declared.
pub(crate) const DECLARED: &str = "what the adapter declared in 'hello'";
const PROMISES: [&str; 7] = ["S1", "S2", "S3", "S4", "S5", "L2", "L3"];
const NOTHING: [&str; 2] = ["nothing", "no event"];
/// The classes that are no error codes.
const CLASSES: [&str; 10] = ["adapter", "nothing", "other", "S1", "S2", "S3", "S4", "S5", "L2", "L3"];

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"exemptions": [{"case": "handoff/offer/*", "generations": ["1.7"],
        "verdict": "fail", "came": "HO_DECLINED", "reason": "ticket 311"}]}"#;

    fn reason(expected: &str, came: &str) -> Reason {
        Reason { expected: expected.into(), came: came.into(), lines: Vec::new() }
    }

    fn names() -> Vec<String> {
        ["handoff/offer/again", "handoff/offer/late", "wire/canon/bool"].map(String::from).to_vec()
    }

    fn shown<'a>(case: &'a str, verdict: Verdict, reason: Option<&'a Reason>) -> Shown<'a> {
        Shown { case: case.into(), generation: Some(Generation::V1_7), verdict, reason }
    }

    #[test]
    fn a_failure_that_is_known_is_exempt() {
        let list = parse(LIST).unwrap();
        let came = reason("ERROR HO_TOKEN_BAD with req 7", "ERROR HO_DECLINED");
        let results =
            [shown("handoff/offer/late", Verdict::Fail, Some(&came)), shown("wire/canon/bool", Verdict::Pass, None)];
        assert_eq!(judge(&list, &results, &names()), Judged { exempt: vec![Some(0), None], wrong: Vec::new() });
    }

    #[test]
    fn an_entry_whose_case_passes_is_stale() {
        let list = parse(LIST).unwrap();
        let judged = judge(&list, &[shown("handoff/offer/late", Verdict::Pass, None)], &names());
        assert!(judged.wrong[0].contains("is stale"), "{judged:?}");
        assert_eq!(judged.exempt, [None]);
    }

    #[test]
    fn an_entry_for_another_generation_is_not_about_it() {
        let list = parse(&LIST.replace("1.7", "2")).unwrap();
        let came = reason("GOAWAY", "nothing");
        let judged = judge(&list, &[shown("handoff/offer/late", Verdict::Fail, Some(&came))], &names());
        assert_eq!(judged, Judged { exempt: vec![None], wrong: Vec::new() });
    }

    #[test]
    fn an_entry_that_fails_otherwise_is_wrong() {
        let list = parse(LIST).unwrap();
        for came in [reason("OFFER", "nothing"), reason("OFFER", "ERROR HO_STALE_PARENT")] {
            let judged = judge(&list, &[shown("handoff/offer/late", Verdict::Fail, Some(&came))], &names());
            assert!(judged.wrong[0].contains("expects 'fail' by 'HO_DECLINED'"), "{judged:?}");
            assert_eq!(judged.exempt, [None]);
        }
    }

    #[test]
    fn an_entry_that_matches_nothing_is_wrong() {
        let list = parse(&LIST.replace("handoff/offer/*", "handoff/offer/removed")).unwrap();
        assert!(judge(&list, &[], &names()).wrong[0].contains("matches no case"));
    }

    #[test]
    fn a_wildcard_covers_at_most_twenty_cases() {
        let list = parse(LIST).unwrap();
        let names: Vec<String> = (0..21).map(|at| format!("handoff/offer/{at}")).collect();
        assert!(judge(&list, &[], &names).wrong[0].contains("covers 21 cases"));
        assert!(judge(&list, &[], &names[1..]).wrong.is_empty());
    }

    #[test]
    fn what_came_is_told_by_code_promise_or_word() {
        assert_eq!(class(&reason("S3: what was acknowledged is kept", "HO_FENCED")), "S3");
        assert_eq!(class(&reason(ADAPTER, "it ended with LINK_LOST")), "adapter");
        assert_eq!(class(&reason("GRANT", "GOAWAY HO_CHAIN, closed with LINK_LOST")), "HO_CHAIN");
        assert_eq!(class(&reason("GRANT", "nothing")), "nothing");
        assert_eq!(class(&reason("GRANT", "a malformed frame")), "other");
    }

    #[test]
    fn entries_that_say_nothing_or_too_much_are_refused() {
        for (from, to) in [
            ("ticket 311", " "),
            ("HO_DECLINED", "a string of the vendor"),
            ("\"fail\"", "\"pass\""),
            ("\"reason\"", "\"why\""),
        ] {
            let why = parse(&LIST.replace(from, to)).unwrap_err();
            assert!(why.starts_with("in entry 1"), "{why}");
        }
        assert!(parse("[]").unwrap_err().contains("'exemptions'"));
    }
}
