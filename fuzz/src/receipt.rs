//! Receipts: files of anybody.

use segue_proto::Rules;
use segue_proto::wire::Receipt;
use segue_proto::wire::codec::decode;

/// The bytes of a file. Verifying ends, whatever they are; what verifies is encoded in the one way, is stated by the old
/// owner or the new one, and doesn't verify with a bit changed.
pub fn receipt(data: &[u8]) {
    let verified = Receipt::verify(Rules::ALL, data);
    let decoded = decode::<Receipt>(Rules::ALL, data);
    assert!(verified.is_err() || decoded.is_ok(), "what isn't a receipt isn't verified");
    if let Ok(decoded) = &decoded {
        assert_eq!(decoded.to_bytes(), data, "one receipt, one encoding");
    }
    let (Ok(handed), Ok(_)) = (verified, decoded) else { return };
    assert!(handed.by == handed.source || handed.by == handed.target, "somebody else states what moved");
    assert_eq!(handed.chain.last(), Some(&(handed.record, handed.target)));
    // Each byte counts: looking at every seventh is enough for one input.
    for at in (0..data.len()).step_by(7) {
        let mut changed = data.to_vec();
        changed[at] ^= 1;
        assert!(Receipt::verify(Rules::ALL, &changed).is_err(), "byte {at} may be changed");
    }
}
