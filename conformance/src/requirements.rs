//! Frozen sets of requirements: what a generation had to do as of some version, so that a newer suite asks for no more.
//!
//! A set is a file in `requirements/`, named by generation and version: `1.4-1.json`. It lists clauses and names of
//! cases, and never changes once it is published; what is new goes into the next version. Sets are numbered apart from the
//! suite and from the specification.

use segue_proto::Generation;
use serde_json::{Value, json};

use crate::cases;
use crate::pairs::Cell;
use crate::properties;
use crate::protocol::json::field;

/// Every published set, by name.
pub const SETS: &[(&str, &str)] = &[
    ("1.4-1", include_str!("../requirements/1.4-1.json")),
    ("1.7-1", include_str!("../requirements/1.7-1.json")),
    ("2-1", include_str!("../requirements/2-1.json")),
    ("7-1", include_str!("../requirements/7-1.json")),
];

/// A frozen set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The generation.
    pub generation: Generation,
    /// The version.
    pub version: u64,
    /// The clauses that are checked, ascending.
    pub clauses: Vec<String>,
    /// The names of cases, properties and pairs, as the suite lists them.
    pub cases: Vec<String>,
}

impl Set {
    /// Its name.
    pub fn name(&self) -> String {
        format!("{}-{}", self.generation, self.version)
    }

    /// What the suite has for a generation now.
    pub fn draw(generation: Generation, version: u64) -> Set {
        let applying = cases::all().into_iter().filter(|case| case.applies(generation));
        let (mut names, mut clauses): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for case in applying {
            names.push(case.name.into());
            clauses.extend(case.clauses.iter().map(|clause| (*clause).to_string()));
        }
        for property in properties::ALL {
            names.push(property.name.into());
            clauses.extend(property.clauses.iter().map(|clause| (*clause).to_string()));
        }
        let cells = Cell::all().into_iter().filter(|cell| cell.source.max(cell.target) == generation);
        names.extend(cells.map(|cell| cell.name()));
        clauses.sort();
        clauses.dedup();
        Set { generation, version, clauses, cases: names }
    }

    /// As the text of its file.
    pub fn to_text(&self) -> String {
        let value = json!({
            "generation": self.generation.name(),
            "version": self.version,
            "clauses": self.clauses,
            "cases": self.cases,
        });
        serde_json::to_string_pretty(&value).unwrap_or_default() + "\n"
    }

    /// From the text of its file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_text(text: &str) -> Result<Set, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let (generation, version) = (field(&value, "generation")?, field(&value, "version")?);
        Ok(Set { generation, version, clauses: field(&value, "clauses")?, cases: field(&value, "cases")? })
    }

    /// Whether it asks for a case at a generation; pairs have none.
    pub fn has(&self, name: &str, generation: Option<Generation>) -> bool {
        generation.is_none_or(|generation| generation == self.generation) && self.cases.iter().any(|case| case == name)
    }
}

/// The sets of a version: `1` for every generation, or `1.4-1` for one.
///
/// # Errors
/// If there are none, with those that there are.
pub fn find(version: &str) -> Result<Vec<Set>, String> {
    let named = |name: &str| name == version || name.rsplit_once('-').is_some_and(|(_, number)| number == version);
    let found: Result<Vec<Set>, String> =
        SETS.iter().filter(|(name, _)| named(name)).map(|(_, text)| Set::from_text(text)).collect();
    let found = found?;
    if found.is_empty() {
        let names: Vec<&str> = SETS.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no set of requirements '{version}'; there are {}", names.join(", ")));
    }
    Ok(found)
}
