//! The contexts of hashes and signatures: what each names, and over what it is made.

use std::collections::BTreeSet;

use crate::problem::Problem;
use crate::tree::Tree;

/// A context.
pub(crate) struct ContextRow {
    /// The string.
    pub(crate) context: &'static str,
    /// What it names.
    pub(crate) names: &'static str,
    /// What is hashed, or signed behind the string.
    pub(crate) over: &'static str,
}

macro_rules! contexts {
    ($( $context:literal $names:literal $over:literal, )+) => {
        /// Every context, hashes first. `H(context, x)` is BLAKE3 in `derive_key` mode.
        pub(crate) const TABLE: &[ContextRow] = &[ $( ContextRow { context: $context, names: $names, over: $over }, )+ ];
    };
}

contexts! {
    "segue/1 session" "the id of a session: the first 16 bytes of the hash" "creator 32 ‖ nonce 16",
    "segue/1 actor" "an actor" "device 32 ‖ nonce 16",
    "segue/1 strand" "the empty strand: `hash(0)`" "session 16 ‖ part 16 ‖ actor 32",
    "segue/1 op" "op i of a strand: `hash(i)`" "hash(i−1) 32 ‖ the wire bytes of the header of op i",
    "segue/1 body" "the body of an op" "salt 16 ‖ body",
    "segue/1 salt" "the salt of op i of a log or opaque part: the first 16 bytes of the hash" "seed 16 ‖ i u64",
    "segue/1 named part" "the id of a part that has a name: the first 16 bytes of the hash" "session 16 ‖ kind u16 ‖ name",
    "segue/1 part" "the root of a part" "part 16 ‖ kind u16 ‖ n u32 ‖ n × (actor 32 ‖ seq u64 ‖ hash 32), actors ascending",
    "segue/1 root" "the root of a session's data" "session 16 ‖ m u32 ‖ m × (part 16 ‖ part root 32), parts ascending",
    "segue/1 auth" "what AUTH signs" "role u8 (0 initiator, 1 responder) ‖ key 32 ‖ the payload of the own HELLO ‖ channel binding 32",
    "segue/1 record" "the id of a record" "the body",
    "segue/1 final" "the id of a FINAL" "the body",
    "segue/1 want" "the id of a WANT" "the body",
    "segue/1 offer" "the id of an OFFER" "the body",
    "segue/1 statement" "the id of a statement in a receipt" "the body",
    "segue/1 entry" "the id of an entry of a roster" "the body",
    "segue/1 link proof" "the proof in LINK" "side u8 (0 linked, 1 new) ‖ secret 16 ‖ channel binding 32 ‖ linked 32 ‖ new 32",
    "segue/1 link code" "the check code: the first 8 bytes, modulo 1,000,000" "secret 16 ‖ channel binding 32 ‖ linked 32 ‖ new 32",
    "segue/1 invite" "the sum behind an invitation: the first 4 bytes" "the encoding of the invitation",
    "segue/1 key" "the id of a content key: the first 16 bytes" "key 32",
    "segue/1 box" "the box of a session's envelopes under a content key" "key 32 ‖ session 16",
    "segue/1 blob box" "the box of a content's pieces under a content key" "key 32 ‖ session 16 ‖ content 32",
    "segue/1 piece" "the nonce of a piece: the first 24 bytes" "key 32 ‖ box 32 ‖ the Piece",
    "segue/1 seal" "the AEAD's key under a content key" "key 32",
    "segue/1 inbox" "the box of what is for one device" "device 32",
    "segue/1 letter" "the id of a letter" "the body",
    "segue/1 invitation" "the id of an invitation" "the body",
    "segue/1 introduction" "the id of an introduction; also the `info` of HPKE, for its envelope" "the body",
    "segue/1 gear" "the entry of the gear table for a value of a byte: the first 8 bytes" "i u8",
    "segue/1 snapshot" "the id of a snapshot" "the body",
    "segue/1 holding" "the id of a Holding" "the body",
    "segue/1 sig auth" "the signature in AUTH" "hash 32 of `segue/1 auth`",
    "segue/1 sig record" "the signature of a record" "record id 32",
    "segue/1 sig final" "the signature of a FINAL" "FINAL id 32",
    "segue/1 sig want" "the signature of a WANT" "WANT id 32",
    "segue/1 sig offer" "the signature of an OFFER" "OFFER id 32",
    "segue/1 sig statement" "the signature of a statement" "statement id 32",
    "segue/1 sig entry" "the signature of an entry" "entry id 32",
    "segue/1 sig letter" "the signature of a letter" "letter id 32",
    "segue/1 sig invitation" "the signature of an invitation" "invitation id 32",
    "segue/1 sig introduction" "the signature of an introduction" "introduction id 32",
    "segue/1 sig snapshot" "the signature of a snapshot" "snapshot id 32",
    "segue/1 sig holding" "the signature of a Holding" "Holding id 32",
    "segue/1 wrap" "the `info` of HPKE, for an invitation's envelope" "–",
    "segue/1 wrap roster" "the `info` of HPKE, for an envelope with entries of the roster" "–",
    "segue/1 sig head" "the acknowledgement in HEAD" "record id 32",
}

/// Checks that the core uses these contexts and no others.
pub(crate) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut used: BTreeSet<String> =
        super::schema::signed().iter().flat_map(|row| [row.id_context.into(), row.sig_context.into()]).collect();
    for file in tree.under(CORE).filter(|file| file.path.ends_with(".rs")) {
        for (line, text) in file.lines() {
            for context in literals(text) {
                if !listed(context) && !LOCAL.contains(&context) {
                    problems.push(Problem::at(
                        &file.path,
                        line,
                        format!("the context '{context}' isn't listed: add it to the table in xtask"),
                    ));
                }
                used.insert(context.into());
            }
        }
    }
    if tree.under(CORE).next().is_some() {
        let unused = TABLE.iter().filter(|row| !used.contains(row.context));
        problems.extend(
            unused.map(|row| {
                Problem::with(CORE, format!("the context '{}' is listed, but nothing uses it", row.context))
            }),
        );
    }
    problems
}

/// Contexts whose hashes never leave the device: random numbers from the entropy given at open.
const LOCAL: [&str; 1] = ["segue/1 fresh"];

const CORE: &str = "crates/segue-proto/src/";

fn listed(context: &str) -> bool {
    TABLE.iter().any(|row| row.context == context)
}

/// The contexts that stand as string literals in a line of code. (Prefixes for `concat!` end in a space.)
fn literals(line: &str) -> impl Iterator<Item = &str> {
    let code = line.trim_start();
    let code = if code.starts_with("//") { "" } else { code };
    let parts = code.split('"').skip(1).step_by(2);
    parts.filter(|text| text.starts_with("segue/1 ") && !text.ends_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let all: Vec<_> = TABLE.iter().map(|row| format!("\"{}\";\n", row.context)).collect();
        let tree = Tree::of(&[("crates/segue-proto/src/a.rs", &all.concat()), ("crates/segue-proto/src/b.rs", text)]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unlisted_context_is_found() {
        assert_eq!(found("// \"segue/1 nope\"\nconcat!(\"segue/1 sig \", x)"), [""; 0]);
        assert_eq!(found("Hasher::new(\"segue/1 nope\")").len(), 1);
    }

    #[test]
    fn an_unused_context_is_found() {
        let tree = Tree::of(&[("crates/segue-proto/src/a.rs", "\"segue/1 op\"")]);
        assert!(check(&tree).iter().any(|problem| problem.to_string().contains("'segue/1 session' is listed, but")));
        assert!(!check(&tree).iter().any(|problem| problem.to_string().contains("'segue/1 op' is listed")));
    }
}
