//! Shrinking: a sequence that fails is played again with less and less, as long as the same promise breaks.

use super::play::Broken;
use super::sequence::{Sequence, Who};

/// A sequence that fails like `first`, with as little in it as a bounded number of plays finds.
pub fn shrink(
    first: Sequence,
    broken: Broken,
    mut play: impl FnMut(&Sequence) -> Option<Broken>,
) -> (Sequence, Broken) {
    let mut it = Shrinker { best: first, broken, left: MAX_PLAYS, play: &mut play };
    loop {
        let before = it.best.clone();
        it.drop_steps();
        it.drop_surroundings();
        it.drop_devices();
        it.same_generation();
        it.shorten_steps();
        if it.best == before || it.left == 0 {
            return (it.best, it.broken);
        }
    }
}

struct Shrinker<'a> {
    best: Sequence,
    broken: Broken,
    left: u32,
    play: &'a mut dyn FnMut(&Sequence) -> Option<Broken>,
}

impl Shrinker<'_> {
    /// Takes a smaller sequence if it fails alike.
    fn try_one(&mut self, smaller: Sequence) -> bool {
        if self.left == 0 || smaller == self.best {
            return false;
        }
        self.left -= 1;
        match (self.play)(&smaller) {
            Some(broken) if broken.class == self.broken.class => {
                (self.best, self.broken) = (smaller, broken);
                true
            }
            _ => false,
        }
    }

    /// Leaves out runs of steps, the longest first; what follows comes no earlier for it, or else as early as it can.
    fn drop_steps(&mut self) {
        let mut len = self.best.steps.len();
        while len > 0 {
            let mut at = self.best.steps.len().saturating_sub(len);
            loop {
                if at + len <= self.best.steps.len() && !self.drop_run(at, len, true) {
                    self.drop_run(at, len, false);
                }
                if at == 0 {
                    break;
                }
                at = at.saturating_sub(len);
            }
            len /= 2;
        }
    }

    fn drop_run(&mut self, at: usize, len: usize, waits: bool) -> bool {
        let mut smaller = self.best.clone();
        let gone: u32 = smaller.steps.drain(at..at + len).map(|step| step.pause).sum();
        match smaller.steps.get_mut(at) {
            Some(next) if waits => next.pause += gone,
            Some(_) if gone > 0 => {}
            _ if waits => {}
            _ => return false,
        }
        self.try_one(smaller)
    }

    fn drop_surroundings(&mut self) {
        let calm = Sequence { around: Vec::new(), ..self.best.clone() };
        if self.try_one(calm) {
            return;
        }
        for around in self.best.around.clone() {
            let mut smaller = self.best.clone();
            smaller.around.retain(|other| *other != around);
            self.try_one(smaller);
        }
    }

    fn drop_devices(&mut self) {
        if self.best.generations.len() > 2 {
            let mut smaller = self.best.clone();
            smaller.generations.pop();
            self.try_one(smaller);
        }
    }

    fn same_generation(&mut self) {
        let highest = self.best.generations.iter().copied().max();
        let Some(highest) = highest else { return };
        let generations = vec![highest; self.best.generations.len()];
        self.try_one(Sequence { generations, ..self.best.clone() });
    }

    fn shorten_steps(&mut self) {
        for at in 0..self.best.steps.len() {
            self.with_step(at, |step| step.pause = 0);
            self.with_step(at, |step| step.pause = round(step.pause));
            self.with_step(at, |step| step.number = step.act.number().map_or(0, |(default, _)| default));
            self.with_step(at, |step| step.number = round(step.number));
            self.with_step(at, |step| {
                if step.who == Who::Third {
                    step.who = Who::Next;
                }
                if step.other == Who::Third {
                    step.other = Who::Next;
                }
            });
        }
    }

    fn with_step(&mut self, at: usize, change: impl FnOnce(&mut super::Step)) {
        let mut smaller = self.best.clone();
        if let Some(step) = smaller.steps.get_mut(at) {
            change(step);
        }
        self.try_one(smaller);
    }
}

/// The number with its first digit kept and zeros behind it.
fn round(number: u32) -> u32 {
    let unit = 10u32.pow(number.checked_ilog10().unwrap_or(0));
    number / unit * unit
}

/// How often a sequence is played again at most: a slow adapter takes some tens of milliseconds for each.
const MAX_PLAYS: u32 = 200;
