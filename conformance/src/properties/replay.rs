//! `segue certify --replay TOKEN`: one sequence again, with all that happens in it.

use super::{play, token};
use crate::certify::{CertifyOptions, Outcome, Subject};
use crate::terminal::Terminal;

/// Plays the sequence of a token against the subject, and prints what happens. [`Outcome::Failed`] if it fails,
/// [`Outcome::Certified`] if it passes now.
pub fn replay(options: &CertifyOptions, text: &str) -> Outcome {
    let mut terminal = Terminal::new();
    let (property, sequence) = match token::read(text) {
        Ok(found) => found,
        Err(why) => {
            terminal.line(&format!("the token can't be replayed: {why}"));
            return Outcome::Usage;
        }
    };
    let [_, first, second] = match Subject::new(options) {
        Ok(subject) => subject.hosts(),
        Err(why) => {
            terminal.line(&why);
            return Outcome::Suite;
        }
    };
    terminal.line(&format!("{}: {}", property.name, property.clauses.join(", ")));
    for (at, generation) in sequence.generations.iter().enumerate() {
        terminal.line(&format!("  device {at}: generation {generation}"));
    }
    for around in &sequence.around {
        terminal.line(&format!("  all along: {}", around.words()));
    }
    for step in &sequence.steps {
        terminal.line(&format!("  {}", token::explain(step)));
    }
    let Some(broken) = play(&[first, second], &property, &sequence) else {
        terminal.line("passes: nothing broke");
        return Outcome::Certified;
    };
    terminal.line("");
    broken.trace.iter().for_each(|line| terminal.line(line));
    terminal.line("");
    terminal.line("fails:");
    terminal.line(&format!("  expected: {}", broken.reason.expected));
    terminal.line(&format!("  came:     {}", broken.reason.came));
    Outcome::Failed
}
