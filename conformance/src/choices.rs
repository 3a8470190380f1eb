//! Choices that the specification leaves: the subject declares in `hello` which it takes, and is held to it.

use std::collections::BTreeMap;

/// A choice.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// Its name in `hello`.
    pub name: &'static str,
    /// The clause that leaves it, or bounds it.
    pub clause: &'static str,
    /// What may be chosen. The first is taken of a subject that doesn't say.
    pub options: &'static [&'static str],
}

/// Every choice.
pub const TABLE: &[Choice] = &[
    Choice { name: "grease", clause: "WIRE-TYPE-1", options: &["never", "sends"] },
    Choice { name: "chunks", clause: "TRANSFER-CUT-1", options: &["by-content", "equal", "other"] },
];

/// What a subject chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen(BTreeMap<String, String>);

impl Chosen {
    /// What is declared.
    ///
    /// # Errors
    /// If a choice or what is chosen isn't one of the table; in words.
    pub fn new(declared: BTreeMap<String, String>) -> Result<Chosen, String> {
        for (name, taken) in &declared {
            let Some(choice) = TABLE.iter().find(|choice| choice.name == name) else {
                let names: Vec<&str> = TABLE.iter().map(|choice| choice.name).collect();
                return Err(format!("the choice '{name}' is none that the suite knows: {}", names.join(", ")));
            };
            if !choice.options.contains(&taken.as_str()) {
                let options = choice.options.join(", ");
                return Err(format!("'{taken}' isn't one of what may be chosen for '{name}': {options}"));
            }
        }
        Ok(Chosen(declared))
    }

    /// What was chosen, or is taken if nothing was said.
    pub fn of(&self, name: &str) -> &str {
        let first = || TABLE.iter().find(|choice| choice.name == name).and_then(|it| it.options.first()).copied();
        self.0.get(name).map(String::as_str).or_else(first).unwrap_or_default()
    }

    /// What was declared.
    pub fn declared(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, taken: &str) -> Result<Chosen, String> {
        Chosen::new([(name.to_string(), taken.to_string())].into())
    }

    #[test]
    fn what_isnt_said_is_the_first() {
        assert_eq!(Chosen::default().of("grease"), "never");
        assert_eq!(chosen("grease", "sends").unwrap().of("grease"), "sends");
    }

    #[test]
    fn only_what_is_left_open_may_be_chosen() {
        assert!(chosen("colour", "red").unwrap_err().contains("grease"));
        assert!(chosen("grease", "sometimes").unwrap_err().contains("never, sends"));
    }
}
