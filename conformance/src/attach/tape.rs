//! What was said over a wire: written down while it is said, and played back to the suite later.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::mem;
use std::rc::Rc;

use super::Wire;

/// A request, and what answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The line that was sent.
    pub request: String,
    /// The line that answered it, or why there was none.
    pub answer: Result<String, String>,
}

/// Where exchanges are written down. Clones share one tape.
#[derive(Clone, Debug, Default)]
pub struct Tape(Rc<RefCell<Vec<Exchange>>>);

impl Tape {
    /// What was written down since this was asked last.
    pub fn take(&self) -> Vec<Exchange> {
        mem::take(&mut self.0.borrow_mut())
    }
}

/// A wire that writes down what is said over another.
pub struct Recorder {
    wire: Box<dyn Wire>,
    tape: Tape,
}

impl Recorder {
    /// Writes what is said over `wire` on `tape`.
    pub fn new(wire: Box<dyn Wire>, tape: &Tape) -> Recorder {
        Recorder { wire, tape: tape.clone() }
    }
}

impl Wire for Recorder {
    fn ask(&mut self, line: &str) -> Result<String, String> {
        let answer = self.wire.ask(line);
        self.tape.0.borrow_mut().push(Exchange { request: line.into(), answer: answer.clone() });
        answer
    }

    fn restart(&mut self) {
        self.wire.restart();
    }
}

/// A wire that answers as another did. It answers a request only if that is the very one that was asked then.
pub struct Player {
    reel: Reel,
}

/// The exchanges that a player has before it, and where it had to stop. Clones share one.
#[derive(Clone, Debug, Default)]
pub struct Reel(Rc<RefCell<Rest>>);

#[derive(Debug, Default)]
struct Rest {
    exchanges: VecDeque<Exchange>,
    played: usize,
    fault: Option<String>,
}

impl Reel {
    /// Puts other exchanges in.
    pub fn load(&self, exchanges: Vec<Exchange>) {
        *self.0.borrow_mut() = Rest { exchanges: exchanges.into(), played: 0, fault: None };
    }

    /// What differed between what the suite asked and what it had asked then, exchanges left over included.
    ///
    /// # Errors
    /// Where, and what.
    pub fn check(&self) -> Result<(), String> {
        let rest = self.0.borrow();
        match (&rest.fault, rest.exchanges.front()) {
            (Some(fault), _) => Err(fault.clone()),
            (None, Some(next)) => {
                let (at, request) = (rest.played + 1, shorten(&next.request));
                Err(format!("the suite asks nothing after request {}; request {at} was {request}", rest.played))
            }
            (None, None) => Ok(()),
        }
    }
}

impl Player {
    /// Plays what is in `reel`.
    pub fn new(reel: &Reel) -> Player {
        Player { reel: reel.clone() }
    }
}

impl Wire for Player {
    fn ask(&mut self, line: &str) -> Result<String, String> {
        let mut rest = self.reel.0.borrow_mut();
        let at = rest.played + 1;
        let fault = match rest.exchanges.front() {
            Some(next) if next.request == line => None,
            Some(next) => Some(differ(at, &next.request, line)),
            None => Some(format!("the transcript ends before request {at}, {}", shorten(line))),
        };
        if let Some(fault) = fault.or_else(|| rest.fault.clone()) {
            return Err(rest.fault.get_or_insert(fault).clone());
        }
        rest.played = at;
        rest.exchanges.pop_front().map_or_else(|| Err(String::new()), |next| next.answer)
    }

    fn restart(&mut self) {}
}

/// Where two requests part.
fn differ(at: usize, then: &str, now: &str) -> String {
    let same = then.bytes().zip(now.bytes()).take_while(|(a, b)| a == b).count();
    let (then, now) = (around(then, same), around(now, same));
    format!("request {at} differs at byte {same}: the transcript has {then}, the suite asks {now}")
}

/// What stands around a byte, as quoted text.
fn around(text: &str, at: usize) -> String {
    let bytes = text.as_bytes();
    let part = &bytes[at.saturating_sub(AROUND)..bytes.len().min(at + AROUND)];
    format!("{:?}", String::from_utf8_lossy(part))
}

fn shorten(text: &str) -> String {
    around(text, 0)
}

/// The bytes on both sides of a difference that are shown.
const AROUND: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    struct Upper;

    impl Wire for Upper {
        fn ask(&mut self, line: &str) -> Result<String, String> {
            if line == "die" { Err("it died".into()) } else { Ok(line.to_uppercase()) }
        }

        fn restart(&mut self) {}
    }

    fn recorded(lines: &[&str]) -> Vec<Exchange> {
        let tape = Tape::default();
        let mut wire = Recorder::new(Box::new(Upper), &tape);
        lines.iter().for_each(|line| drop(wire.ask(line)));
        tape.take()
    }

    fn played(reel: &Reel, lines: &[&str]) -> Vec<Result<String, String>> {
        let mut player = Player::new(reel);
        lines.iter().map(|line| player.ask(line)).collect()
    }

    #[test]
    fn what_was_said_is_played_back() {
        let reel = Reel::default();
        reel.load(recorded(&["one", "die", "two"]));
        assert_eq!(played(&reel, &["one", "die"]), [Ok("ONE".into()), Err("it died".into())]);
        assert_eq!(reel.check(), Err(r#"the suite asks nothing after request 2; request 3 was "two""#.into()));
        assert_eq!(played(&reel, &["two"]), [Ok("TWO".into())]);
        assert_eq!(reel.check(), Ok(()));
    }

    #[test]
    fn another_request_isnt_answered_and_nothing_after_it_is() {
        let reel = Reel::default();
        reel.load(recorded(&["one", "two"]));
        assert!(played(&reel, &["oxe", "one"]).iter().all(Result::is_err));
        let fault = reel.check().unwrap_err();
        assert_eq!(fault, r#"request 1 differs at byte 1: the transcript has "one", the suite asks "oxe""#);
        reel.load(recorded(&["one"]));
        assert_eq!(played(&reel, &["one", "two"])[1], Err(r#"the transcript ends before request 2, "two""#.into()));
    }
}
