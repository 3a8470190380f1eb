//! A changed file costs its change and its chunk list, whatever is done to it (TRANSFER-CUT-1, TRANSFER-REUSE-1).

use segue_quic::{Node, SessionId};

use crate::util::*;

/// Bytes of the file.
const LEN: usize = 64 << 20;

/// What a change of a few bytes may cost: two chunks of the longest, and the chunk list.
const COST: u64 = 2 * (256 << 10) + (64 << 10);

#[tokio::test]
async fn a_changed_file_costs_its_change() {
    let (a, b) = pair().await;
    moves_back_and_forth(&a, &b).await;
}

#[tokio::test]
async fn a_changed_file_costs_its_change_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (disk(1, dir.path()).open().await.unwrap(), disk(2, dir.path()).open().await.unwrap());
    link(&a, &b).await;
    moves_back_and_forth(&a, &b).await;
}

/// Each device in turn changes the file, and hands the session to the other.
async fn moves_back_and_forth(a: &Node, b: &Node) {
    let session = a.create_session("film", &[b.device()]).await.unwrap();
    let mut content = noise(LEN, 7);
    a.write_bytes(session, "film", content.clone()).await.unwrap();
    push(a, b, session).await;
    assert!(cost(b).await >= LEN as u64);
    let middle = LEN / 2;
    content.insert(0, b'x');
    changed("a byte in front", (b, a), session, &content).await;
    content.splice(middle..middle, [7; 4096]);
    changed("a page in the middle", (a, b), session, &content).await;
    content.drain(middle - 9000..middle - 4000);
    changed("a page less", (b, a), session, &content).await;
    content[middle] ^= 1;
    changed("a byte overwritten", (a, b), session, &content).await;
    content.extend([7; 4096]);
    changed("appended to", (b, a), session, &content).await;
}

async fn changed(what: &str, (from, to): (&Node, &Node), session: SessionId, content: &[u8]) {
    let before = cost(to).await;
    from.write_bytes(session, "film", content.to_vec()).await.unwrap();
    push(from, to, session).await;
    let cost = cost(to).await - before;
    println!("{what}: {cost} bytes");
    assert!((1..=COST).contains(&cost), "{what}: {cost} bytes");
    assert!(to.read_file(session, "film").await.unwrap() == content, "{what}");
}

/// The bytes of blobs that a device received.
async fn cost(node: &Node) -> u64 {
    node.stats().await.unwrap().bulk_rx
}
