//! How a user says no: the words, extension 1 of DECLINE, and the code.

use alloc::string::{String, ToString};
use core::str;

use crate::Code;
use crate::clause::{Clause, Rules};
use crate::limits::MAX_REASON;
use crate::wire::text::is_plain;
use crate::wire::{Ext, Exts, List};

/// The number of the extension.
const REASON: u32 = 1;

/// The extensions of a DECLINE that gives this reason (HO-REASON-3).
pub(super) fn write(rules: Rules, reason: Option<&str>) -> Exts {
    let Some(reason) = reason.filter(|_| rules.keeps(Clause::HO_REASON_3)) else { return Exts::empty() };
    let bytes = crate::wire::codec::Blob::new(clean(reason).into_bytes());
    let ext = bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| Ext { id: REASON, bytes });
    ext.and_then(|ext| List::new(alloc::vec![ext])).unwrap_or_default()
}

/// The reason that a DECLINE gives, if it gives one that may be shown (HO-REASON-1, HO-REASON-2).
pub(super) fn read(rules: Rules, ext: &Exts) -> Option<String> {
    let found = ext.iter().find(|ext| ext.id == REASON).filter(|_| rules.keeps(Clause::HO_REASON_1))?;
    let text = str::from_utf8(&found.bytes).ok()?;
    let good = (1..=MAX_REASON).contains(&text.chars().count()) && text.chars().all(is_plain);
    (good || !rules.keeps(Clause::HO_REASON_2)).then(|| text.to_string())
}

/// What of a reason may be sent.
fn clean(reason: &str) -> String {
    reason.chars().filter(|c| is_plain(*c)).take(MAX_REASON).collect()
}

/// A peer may name any code as its reason; one that isn't definite would say too much.
pub(super) fn declined(code: Code) -> Code {
    match (Code::known(code.number()), code.outcome()) {
        (Some(known), crate::Outcome::Definite) => known,
        _ => Code::HO_DECLINED,
    }
}
