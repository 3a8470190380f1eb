//! What every [`Directory`] must do, as a test that any of them can be put to, in whatever crate it is.
//!
//! [`check`] draws sequences of calls, stops and crashes, and compares each outcome, and all that can be asked for
//! afterwards, with a [`Model`] that is too plain to be wrong. Whoever writes a backend says by [`Backend`] how it is
//! opened and how it crashes:
//!
//! ```
//! use segue_service::laws::{Backend, check};
//! use segue_service::{Failed, Memory};
//!
//! /// Never crashes: what outlasts it is itself.
//! #[derive(Default)]
//! struct Plain(Memory);
//!
//! impl Backend for Plain {
//!     type Directory = Memory;
//!
//!     fn open(&mut self) -> Result<Memory, Failed> {
//!         Ok(std::mem::take(&mut self.0))
//!     }
//!
//!     fn close(&mut self, directory: Memory) {
//!         self.0 = directory;
//!     }
//!
//!     fn crash(&mut self, directory: Memory) {
//!         self.0 = directory;
//!     }
//! }
//!
//! check(16, Plain::default).unwrap();
//! ```

mod model;
mod steps;

use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use segue_proto::service::custody::Kept;
use segue_proto::wire::SessionId;

use crate::directory::{Binding, Directory, Failed, Note, Page};
use steps::{Call, ROOM, Step, boxes, devices, sessions};

pub use model::Model;

/// A kind of directory, and what outlasts the process that has one open: a folder, a journal, the servers of a cluster.
pub trait Backend {
    /// The directory.
    type Directory: Directory;

    /// Opens the directory on what there is; at first there is nothing.
    ///
    /// # Errors
    /// It can't be opened, which breaks [`Law::Works`].
    fn open(&mut self) -> Result<Self::Directory, Failed>;

    /// Makes durable what was done, if the directory leaves that to whoever has it. It is called after each call and
    /// before its outcome is let out.
    ///
    /// # Errors
    /// It can't be, which breaks [`Law::Works`].
    fn settle(&mut self, directory: &mut Self::Directory) -> Result<(), Failed> {
        let _ = directory;
        Ok(())
    }

    /// Ends the process in good order.
    fn close(&mut self, directory: Self::Directory);

    /// Kills the process, and takes power from whatever it runs on: the next [`Backend::open`] finds what had to be durable
    /// by now, and nothing that needn't be.
    fn crash(&mut self, directory: Self::Directory);
}

/// What a directory must do; [`Directory`] says it in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Nothing fails on sound ground.
    Works,
    /// The offsets of a box count up from 1 without gaps, in the order of the batch.
    Offsets,
    /// An envelope that its box holds keeps its offset, and is put no second time.
    Once,
    /// What has no room is refused, for the right reason.
    Room,
    /// A page begins behind the offset that was asked for, ends where its room does, and tells the last offset.
    Page,
    /// A box holds what was put, and nothing that was refused.
    Boxes,
    /// A session changes only if its head is the expected one, and who is refused is told the head.
    Compare,
    /// A session is kept as it was changed.
    Sessions,
    /// All sessions of which something waits are told, ascending, and no others.
    Waiting,
    /// Each change of a session counts, once.
    Sets,
    /// A note takes the place of the one before it, and the oldest goes.
    Notes,
    /// A device is put under an account that has room, and under no other.
    Bindings,
    /// What counts against one is what was put, with its cost.
    Used,
    /// What was there when the process ended in good order is there when the next begins.
    Stop,
    /// What was acknowledged before a crash is there behind it.
    Crash,
    /// Of a batch whose call wasn't answered the first so many are there, and of nothing else anything is missing.
    Unanswered,
}

/// A law that a directory broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which.
    pub law: Law,
    /// How: what was done, and what came of it instead of what.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.law, self.what)
    }
}

impl std::error::Error for Breach {}

/// Puts a backend to the test by `cases` sequences, each on a new one. They are the same in every run.
///
/// # Errors
/// The law that it broke, by the shortest sequence that was found to break one.
pub fn check<B: Backend>(cases: u32, make: impl Fn() -> B) -> Result<(), Breach> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    // The last that fails is the shortest.
    let last = RefCell::new(None);
    let tried = runner.run(&steps::sequences(), |steps| {
        let played = catch_unwind(AssertUnwindSafe(|| Run::new(make())?.play(&steps)));
        let panicked = |_| Err(Breach { law: Law::Works, what: "it panicked".to_owned() });
        played.unwrap_or_else(panicked).map_err(|breach| {
            let why = TestCaseError::fail(breach.to_string());
            last.replace(Some(Breach { what: format!("{} ({steps:?})", breach.what), ..breach }));
            why
        })
    });
    match (tried, last.into_inner()) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(breach)) => Err(breach),
        (Err(why), None) => Err(Breach { law: Law::Works, what: why.to_string() }),
    }
}

/// A directory beside the model.
struct Run<B: Backend> {
    backend: B,
    /// None only while it is being opened again.
    directory: Option<B::Directory>,
    model: Model,
}

impl<B: Backend> Run<B> {
    fn new(mut backend: B) -> Result<Self, Breach> {
        let directory = Some(works(backend.open())?);
        Ok(Run { backend, directory, model: Model::default() })
    }

    fn play(mut self, steps: &[Step]) -> Result<(), Breach> {
        for step in steps {
            match step {
                Step::Call(call) => self.call(call)?,
                Step::Close => {
                    self.reopen(|backend, directory| backend.close(directory))?;
                    self.compare(Law::Stop, true)?;
                }
                Step::Crash => {
                    self.reopen(|backend, directory| backend.crash(directory))?;
                    self.compare(Law::Crash, false)?;
                }
                Step::Cut(call) => self.cut(call)?,
            }
        }
        Ok(())
    }

    /// A call that is answered.
    fn call(&mut self, call: &Call) -> Result<(), Breach> {
        let (before, mut model) = (self.model.clone(), std::mem::take(&mut self.model));
        let expected = works(call.run(&mut model))?;
        self.model = model;
        let found = works(call.run(self.directory()?))?;
        if let Some((law, at)) = call.broken(&before, &expected, &found) {
            return Err(Breach { law, what: format!("{found:?} and not {expected:?}, at {at}") });
        }
        let Run { backend, directory, .. } = self;
        directory.iter_mut().try_for_each(|it| works(backend.settle(it)))?;
        let looked = Look::of(self.directory()?)?;
        looked.differs(&Look::of(&self.model)?).map_or(Ok(()), Err)
    }

    /// A call during which all ends.
    fn cut(&mut self, call: &Call) -> Result<(), Breach> {
        works(call.run(self.directory()?))?;
        self.reopen(|backend, directory| backend.crash(directory))?;
        let before = self.model.clone();
        let mut breach = None;
        for part in call.parts() {
            self.model = before.clone();
            works(part.run(&mut self.model))?;
            match self.compare(Law::Unanswered, false) {
                Ok(()) => return Ok(()),
                Err(why) => breach = breach.or(Some(why)),
            }
        }
        breach.map_or(Ok(()), Err)
    }

    fn directory(&mut self) -> Result<&mut B::Directory, Breach> {
        self.directory.as_mut().ok_or_else(|| Breach { law: Law::Works, what: "it isn't open".to_owned() })
    }

    fn reopen(&mut self, end: impl FnOnce(&mut B, B::Directory)) -> Result<(), Breach> {
        if let Some(directory) = self.directory.take() {
            end(&mut self.backend, directory);
        }
        self.directory = Some(works(self.backend.open())?);
        Ok(())
    }

    /// What is there after all ended, beside what has to be. Of notes a crash may take any, so that older ones stand.
    fn compare(&mut self, law: Law, notes: bool) -> Result<(), Breach> {
        let mut looked = Look::of(self.directory()?)?;
        let mut expected = Look::of(&self.model)?;
        if !notes {
            let noted = std::mem::take(&mut looked.noted);
            self.model.recover(&noted).map_err(|what| Breach { law, what })?;
            expected.noted = Vec::new();
        }
        looked.differs(&expected).map_or(Ok(()), |breach| Err(Breach { law, ..breach }))
    }
}

/// All that can be asked of a directory.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    boxes: Vec<Page>,
    kept: Vec<Option<Kept>>,
    waiting: Vec<SessionId>,
    sets: u64,
    noted: Vec<Option<Note>>,
    bound: Vec<Option<Binding>>,
    used: Vec<u64>,
}

impl Look {
    fn of(it: &impl Directory) -> Result<Look, Breach> {
        Ok(Look {
            boxes: works(boxes().map(|of| it.fetch(&of, 0, ROOM)).collect())?,
            kept: works(sessions().map(|session| it.kept(&session)).collect())?,
            waiting: works(it.waiting())?,
            sets: works(it.sets())?,
            noted: works(devices().map(|device| it.noted(&device)).collect())?,
            bound: works(devices().map(|device| it.bound(&device)).collect())?,
            used: works(devices().map(|by| it.used(&by)).collect())?,
        })
    }

    /// The first law by which this isn't what it should be.
    fn differs(&self, expected: &Look) -> Option<Breach> {
        let laws = [
            (Law::Boxes, self.boxes == expected.boxes),
            (Law::Sessions, self.kept == expected.kept),
            (Law::Waiting, self.waiting == expected.waiting),
            (Law::Sets, self.sets == expected.sets),
            (Law::Notes, self.noted == expected.noted),
            (Law::Bindings, self.bound == expected.bound),
            (Law::Used, self.used == expected.used),
        ];
        let (law, _) = laws.into_iter().find(|(_, holds)| !holds)?;
        Some(Breach { law, what: format!("it holds {self:?} and not {expected:?}") })
    }
}

fn works<T>(outcome: Result<T, Failed>) -> Result<T, Breach> {
    outcome.map_err(|why| Breach { law: Law::Works, what: why.to_string() })
}
