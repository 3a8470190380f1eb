//! Tokens: a sequence as one word, by which a failure is shown again on another machine.
//!
//! `1:ownership/handoffs:7.7:2f9c:ds:ion,12xn,500k0.2000:9a41` is the version of the play, the property, the devices'
//! generations, the seed in hexadecimal digits, the surroundings by their letters (`-` for none), the steps (`-` for none) and a check
//! sum. A step is the pause before it in milliseconds, the letter of its act, the devices, and `.` with the number if it
//! isn't the act's own.

use std::fmt::Write;

use segue_proto::Generation;

use super::sequence::{Around, Sequence, Step, Who};
use super::{Act, Property};

/// The version of the play: raised whenever the same token would have devices, network or disks do something else.
pub const VERSION: u32 = 1;

/// A sequence of a property as a token.
pub fn write(property: &Property, sequence: &Sequence) -> String {
    let generations: Vec<&str> = sequence.generations.iter().map(|generation| generation.name()).collect();
    let around: String = sequence.around.iter().map(|around| around.letter()).collect();
    let steps: Vec<String> = sequence.steps.iter().map(step_text).collect();
    let or_none = |text: String| if text.is_empty() { "-".to_string() } else { text };
    let (generations, around, steps) = (generations.join("+"), or_none(around), or_none(steps.join(",")));
    let text = format!("{VERSION}:{}:{generations}:{:x}:{around}:{steps}", property.short(), sequence.seed);
    let sum = checksum(&text);
    format!("{text}:{sum}")
}

/// The property and sequence of a token.
///
/// # Errors
/// In words: what is wrong with the token, and what to do.
pub fn read(token: &str) -> Result<(Property, Sequence), String> {
    let fields: Vec<&str> = token.trim().split(':').collect();
    let [version, property, generations, seed, around, steps, sum] = fields.as_slice() else {
        return Err(format!("{} has {} fields and not 7; copy the whole token", shorten(token), fields.len()));
    };
    let version: u32 =
        version.parse().map_err(|_| format!("{} is no replay token: it begins with no version", shorten(token)))?;
    if version != VERSION {
        return Err(format!(
            "the token is of version {version} of the play, and this suite ({}) plays version {VERSION}; replay it with the suite that printed it",
            env!("CARGO_PKG_VERSION")
        ));
    }
    let text = token.trim().rsplit_once(':').map_or("", |(text, _)| text);
    if checksum(text) != *sum {
        return Err("the token's check sum is wrong: it was changed, or cut while being copied".into());
    }
    let property = Property::find(property)
        .ok_or_else(|| format!("this suite has no property '{property}'; 'segue certify --list' names them"))?;
    let generations: Option<Vec<Generation>> = generations.split('+').map(Generation::from_name).collect();
    let generations = generations.filter(|found| (2..=3).contains(&found.len()));
    let generations = generations.ok_or("the token's generations aren't those of two or three devices")?;
    let seed = u32::from_str_radix(seed, 16).map_err(|_| format!("the token's seed '{seed}' is no number"))?;
    let letters = around.chars().filter(|letter| *letter != '-');
    let around: Option<Vec<Around>> = letters.map(Around::from_letter).collect();
    let around = around.ok_or("the token names surroundings that this suite doesn't know")?;
    let steps = steps
        .split(',')
        .filter(|step| *step != "-")
        .map(|step| read_step(step).ok_or_else(|| format!("the token's step '{step}' is none that this suite knows")));
    let steps = steps.collect::<Result<Vec<Step>, String>>()?;
    Ok((property, Sequence { seed, generations, around, steps }))
}

/// A step in words.
pub fn explain(step: &Step) -> String {
    let who = |who: Who| match who {
        Who::Device(at) => format!("device {at}"),
        Who::Owner => "the owner".into(),
        Who::Next => "the device behind the owner".into(),
        Who::Third => "the second device behind the owner".into(),
    };
    let mut text = format!("after {} ms: {} {}", step.pause, who(step.who), step.act.words());
    if step.act.has_other() {
        let _ = write!(text, " {}", who(step.other));
    }
    if step.act.number().is_some() {
        let _ = write!(text, " ({} {})", step.number, step.act.unit());
    }
    text
}

fn step_text(step: &Step) -> String {
    let mut text = String::new();
    if step.pause > 0 {
        let _ = write!(text, "{}", step.pause);
    }
    text.push(step.act.letter());
    text.push(step.who.letter());
    if step.act.has_other() {
        text.push(step.other.letter());
    }
    if step.act.number().is_some_and(|(default, _)| default != step.number) {
        let _ = write!(text, ".{}", step.number);
    }
    text
}

fn read_step(text: &str) -> Option<Step> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (pause, rest) = text.split_at(at);
    let pause = if pause.is_empty() { 0 } else { pause.parse().ok()? };
    let (letters, number) = match rest.split_once('.') {
        Some((letters, number)) => (letters, Some(number.parse().ok()?)),
        None => (rest, None),
    };
    let mut letters = letters.chars();
    let act = Act::from_letter(letters.next()?)?;
    let who = Who::from_letter(letters.next()?)?;
    let other = if act.has_other() { Who::from_letter(letters.next()?)? } else { who };
    let fits = letters.next().is_none() && (number.is_none() || act.number().is_some());
    let number = number.or(act.number().map(|(default, _)| default)).unwrap_or(0);
    fits.then_some(Step { pause, act, who, other, number })
}

/// Four hexadecimal digits: enough against a token that was cut or mistyped.
fn checksum(text: &str) -> String {
    let hash = segue_proto::wire::hash::blob_id(text.as_bytes()).to_string();
    hash.chars().take(4).collect()
}

fn shorten(token: &str) -> String {
    let short: String = token.chars().take(40).collect();
    format!("'{short}'")
}
