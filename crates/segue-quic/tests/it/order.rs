//! What is short doesn't wait for what is long.

use std::sync::Arc;

use segue_quic::{Event, Node, SessionId};

use crate::util::*;

/// More long files are asked for than are served at the same time, and not a byte of them can be read until the end of
/// the test. Meanwhile short files of another session arrive over the same link.
#[tokio::test]
async fn a_short_file_arrives_while_long_ones_are_stuck() {
    let paths = ["a", "b", "c", "d", "e", "f"];
    let (gate, entries) = Gate::of_many(&paths, 1 << 20);
    let a = memory(1).blob_source(Arc::new(Gated(gate.clone()))).open().await.unwrap();
    let b = memory(2).open().await.unwrap();
    link(&a, &b).await;
    let films = a.create_session("films", &[b.device()]).await.unwrap();
    let notes = a.create_session("notes", &[b.device()]).await.unwrap();
    b.follow(films, a.device()).await.unwrap();
    b.follow(notes, a.device()).await.unwrap();
    a.put_entries(films, entries).await.unwrap();
    // The chunk lists have come, so all of the long files are asked for.
    within("the chunk lists", async {
        while b.stats().await.unwrap().chunks_rx < paths.len() as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for round in 0..3 {
        let (path, content) = (format!("note {round}"), format!("short {round}").into_bytes());
        a.write_bytes(notes, &path, content.clone()).await.unwrap();
        assert!(arrives(&b, notes, &path).await == content);
    }
    assert!(b.read_file(films, "a").await.is_err(), "the long ones are stuck no more");
    gate.open_wide();
    assert_eq!(arrives(&b, films, "f").await.len(), 1 << 20);
}

/// Waits until a file is here; what it holds.
async fn arrives(node: &Node, session: SessionId, path: &str) -> Vec<u8> {
    within(path, async {
        loop {
            if let Ok(content) = node.read_file(session, path).await {
                return content;
            }
            event(node, "Data", |event| matches!(event, Event::Data { .. }).then_some(())).await;
        }
    })
    .await
}
