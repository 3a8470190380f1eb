//! Receipts: what they prove, to whom, and that nothing of them can be changed (HO-RECEIPT-1, HO-RECEIPT-2).

use segue_proto::data::PartKind;
use segue_quic::{Node, SessionId, SignedReceipt};

use crate::util::*;

/// A session with a file of 300,001 bytes and a view that went from the first device to the second.
async fn moved() -> (Node, Node, SessionId, segue_quic::Hash) {
    let (a, b) = pair().await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_bytes(session, "file", noise(300_001, 1)).await.unwrap();
    a.write_view(session, "page 3").await.unwrap();
    let record = push(&a, &b, session).await.record;
    (a, b, session, record)
}

#[tokio::test]
async fn both_sides_give_a_receipt_that_says_who_owns_what_and_why() {
    let (a, b, session, record) = moved().await;
    for giver in [&a, &b] {
        assert_eq!(giver.receipts(session).await.unwrap(), [record]);
        let receipt = giver.receipt(session, record).await.unwrap().expect("a receipt");
        let handed = SignedReceipt::verify(receipt.as_bytes()).unwrap().handed().clone();
        assert_eq!((handed.session, handed.record, handed.by), (session, record, giver.device()));
        assert_eq!((handed.source, handed.target), (a.device(), b.device()));
        assert_eq!(handed.chain.iter().map(|(_, owner)| *owner).collect::<Vec<_>>(), [a.device(), b.device()]);
        let of = |kind: PartKind| handed.moved.iter().find(|tally| tally.kind == kind.number());
        let files = of(PartKind::Blob).unwrap();
        assert!(files.parts == 1 && files.bytes > 300_001, "{files:?}");
        let view = of(PartKind::Exclusive).unwrap();
        assert_eq!((view.parts, view.bytes), (1, 6));
        assert!(handed.left.is_empty(), "{:?}", handed.left);
    }
    // It goes on, and the receipt of the past stays what it was.
    push(&b, &a, session).await;
    assert!(a.receipt(session, record).await.unwrap().is_some());
    assert_eq!(b.receipts(session).await.unwrap().len(), 2);
    let unknown = a.receipt(session, segue_quic::Hash::new([7; 32])).await.unwrap();
    assert_eq!(unknown, None);
}

#[tokio::test]
async fn any_byte_that_is_changed_is_noticed() {
    let (a, _b, session, record) = moved().await;
    let receipt = a.receipt(session, record).await.unwrap().unwrap();
    let good = receipt.as_bytes();
    SignedReceipt::verify(good).unwrap();
    for at in 0..good.len() {
        for bit in [0, 3, 7] {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << bit;
            assert!(SignedReceipt::verify(bad).is_err(), "bit {bit} of byte {at} of {} may be changed", good.len());
        }
        assert!(SignedReceipt::verify(&good[..at]).is_err(), "{at} bytes of {} will do", good.len());
    }
    assert!(SignedReceipt::verify([good, &[0]].concat()).is_err(), "a byte may be added");
}

#[tokio::test]
async fn a_receipt_outlives_restarts_and_says_what_was_written_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (disk(1, dir.path()).open().await.unwrap(), memory(2).open().await.unwrap());
    link(&a, &b).await;
    let session = a.create_session("trip", &[b.device()]).await.unwrap();
    a.write_view(session, "page 3").await.unwrap();
    a.write_register(session, "title", "one").await.unwrap();
    let record = push(&a, &b, session).await.record;
    let before = a.receipt(session, record).await.unwrap().unwrap();
    a.shutdown().await;
    drop(a);
    let a = disk(1, dir.path()).open().await.unwrap();
    let after = a.receipt(session, record).await.unwrap().unwrap();
    assert_eq!(before, after);
    let kinds: Vec<_> = after.handed().moved.iter().map(|tally| tally.kind).collect();
    assert_eq!(kinds.len(), 2, "the view and the title: {:?}", after.handed().moved);
}
