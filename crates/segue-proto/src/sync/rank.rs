//! Which of two copies of an exclusive part stays.

use crate::data::Part;
use crate::handoff::Chain;
use crate::wire::Hash;
use crate::{Clause, Rules};

/// Whether a copy of an exclusive part that came takes the place of the one that is held, if one is: it was made under
/// a higher record of the head's chain, or later under the same (SYNC-RANK-1).
pub fn outranks(rules: Rules, chain: &Chain, theirs: &Part, held: Option<&Part>) -> bool {
    let place = |record: &Hash| chain.get(record).filter(|_| chain.leads_to_head(record)).map(|record| record.body().n);
    let rank = |part: &Part| part.values.iter().map(|value| (place(&value.op.record), value.op.seq)).max();
    let came = rank(theirs).filter(|(place, _)| place.is_some());
    came.is_some() && came > held.and_then(rank) || !rules.keeps(Clause::SYNC_RANK_1)
}
