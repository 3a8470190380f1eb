//! The form of a vector.

use std::collections::BTreeSet;

use segue_proto::{Code, Violation};

use crate::json::Json;
use crate::problem::Problem;

/// One scenario.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    /// The chapter whose folder it lies in.
    pub(crate) chapter: &'static str,
    /// Whether the input is to be accepted.
    pub(crate) valid: bool,
    /// Its name, and its file's.
    pub(crate) name: String,
    /// What is done with the input.
    pub(crate) kind: &'static str,
    /// The clauses that it shows.
    pub(crate) clauses: Vec<&'static str>,
    /// What it shows, in a sentence.
    pub(crate) what: String,
    /// What is given.
    pub(crate) input: Values,
    /// What comes between.
    pub(crate) intermediate: Values,
    /// What comes out.
    pub(crate) expected: Values,
    /// Whether the spec shows it in full.
    pub(crate) shown: bool,
}

/// Named values, in order.
pub(crate) type Values = Vec<(String, Json)>;

impl Vector {
    /// A vector whose input is accepted.
    pub(crate) fn valid(
        chapter: &'static str,
        kind: &'static str,
        name: impl Into<String>,
        what: impl Into<String>,
    ) -> Vector {
        Vector {
            chapter,
            valid: true,
            name: name.into(),
            kind,
            clauses: Vec::new(),
            what: what.into(),
            input: Values::new(),
            intermediate: Values::new(),
            expected: Values::new(),
            shown: false,
        }
    }

    /// A vector whose input is refused with this code.
    pub(crate) fn invalid(
        chapter: &'static str,
        kind: &'static str,
        name: impl Into<String>,
        what: impl Into<String>,
        broken: (&'static str, &'static str),
    ) -> Vector {
        let vector = Vector { valid: false, ..Vector::valid(chapter, kind, name, what) };
        vector.clause(broken.0).expect("error", broken.1)
    }

    /// Names a clause that it shows.
    pub(crate) fn clause(mut self, clause: &'static str) -> Vector {
        self.clauses.push(clause);
        self
    }

    /// Gives a value.
    pub(crate) fn input(mut self, name: &str, value: impl Into<Json>) -> Vector {
        self.input.push((name.into(), value.into()));
        self
    }

    /// States a value that comes between.
    pub(crate) fn step(mut self, name: &str, value: impl Into<Json>) -> Vector {
        self.intermediate.push((name.into(), value.into()));
        self
    }

    /// States a result.
    pub(crate) fn expect(mut self, name: &str, value: impl Into<Json>) -> Vector {
        self.expected.push((name.into(), value.into()));
        self
    }

    /// Shows it in the spec.
    pub(crate) fn shown(mut self) -> Vector {
        self.shown = true;
        self
    }

    /// The error that it expects, if it does.
    pub(crate) fn error(&self) -> &str {
        match self.expected.first() {
            Some((name, Json::Text(code))) if name == "error" => code,
            _ => "",
        }
    }

    /// Its file, from the root.
    pub(crate) fn path(&self) -> String {
        let class = if self.valid { "valid" } else { "invalid" };
        format!("conformance/vectors/{}/{class}/{}.json", self.chapter, self.name)
    }

    /// Its file's content.
    pub(crate) fn to_json(&self) -> Json {
        Json::object([
            ("name", Json::from(self.name.clone())),
            ("kind", self.kind.into()),
            ("clause", Json::list(self.clauses.iter().map(|clause| Json::from(*clause)))),
            ("what", self.what.clone().into()),
            ("input", Json::Object(self.input.clone())),
            ("intermediate", Json::Object(self.intermediate.clone())),
            ("expected", Json::Object(self.expected.clone())),
        ])
    }
}

/// Vectors as they are collected, with what is wrong about them.
#[derive(Default)]
pub(crate) struct Book {
    vectors: Vec<Vector>,
    problems: Vec<Problem>,
}

impl Book {
    /// Adds a vector.
    pub(crate) fn add(&mut self, vector: Vector) {
        self.vectors.push(vector);
    }

    /// Adds an invalid vector, if the core refuses its input with a clause and the code that it states.
    pub(crate) fn refuse<T>(&mut self, vector: Vector, found: Result<T, Violation>) {
        let found = match &found {
            Ok(_) => "nothing".into(),
            Err(violation) => format!("{} ({})", violation.code.name(), violation.clause),
        };
        let stated = vector.clauses.iter().map(|clause| format!("{} ({clause})", vector.error()));
        let stated: Vec<String> = stated.collect();
        if !stated.contains(&found) {
            self.problem(&vector, format!("the spec refuses it with {}, the core with {found}", stated.join(" or ")));
        }
        self.add(vector);
    }

    /// States that the core and a second computation agree about a value of a vector.
    pub(crate) fn same<T: PartialEq + std::fmt::Debug>(&mut self, vector: &Vector, what: &str, core: T, byhand: T) {
        if core != byhand {
            self.problem(vector, format!("{what} is {core:?} by the core, {byhand:?} by hand"));
        }
    }

    /// The vectors and problems.
    pub(crate) fn close(mut self) -> (Vec<Vector>, Vec<Problem>) {
        let mut paths = BTreeSet::new();
        for vector in &self.vectors {
            let path = vector.path();
            let code = vector.error();
            if !code.is_empty() && !Code::TABLE.iter().any(|row| row.name == code) {
                self.problems
                    .push(Problem::with(&path, format!("{code} is no error code: correct the vector in xtask")));
            }
            if !paths.insert(path.clone()) {
                self.problems.push(Problem::with(&path, "two vectors bear this name: rename one"));
            }
        }
        (self.vectors, self.problems)
    }

    fn problem(&mut self, vector: &Vector, what: String) {
        self.problems.push(Problem::with(&vector.path(), format!("{what}: correct the core, or the vector in xtask")));
    }
}

/// Text, told from hex by its own object.
pub(crate) fn text(text: &str) -> Json {
    Json::object([("text", Json::from(text))])
}

/// Bytes in hex.
pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Json {
    Json::hex(bytes)
}
