//! Peers that mean no good: whatever they send, the node closes their link with a code and goes on.
//!
//! SEC-PANIC-1: nothing that a peer sends ends the node.

use std::io;
use std::sync::{Arc, Mutex};

use segue_proto::wire::frame;
use segue_quic::{Code, Node, Policy};

use crate::raw::{RawLink, Tickets, client};
use crate::util::*;

/// The node works: it hands a session to a peer and gets it back.
async fn assert_alive(node: &Node) {
    let other = memory(3).open().await.unwrap();
    link(&other, node).await;
    let session = node.create_session("alive", &[other.device()]).await.unwrap();
    push(node, &other, session).await;
    push(&other, node, session).await;
    other.shutdown().await;
}

/// Beyond the last type of the master table.
const BEYOND: u64 = 0x90;

fn is_known(code: u64) -> bool {
    u16::try_from(code).ok().and_then(Code::known).is_some()
}

#[tokio::test]
async fn random_bytes_before_authentication_end_the_link() {
    let node = memory(1).open().await.unwrap();
    let client = client(Arc::default());
    let addr = node.local_addr().unwrap();
    // All at once: what looks like the start of a long frame is closed only when HELLO is overdue.
    let mut peers = tokio::task::JoinSet::new();
    for seed in 0..32 {
        let client = client.clone();
        peers.spawn(async move {
            let mut link = RawLink::dial(&client, addr, key(2)).await;
            // The node may close before all of it is written.
            let _ = link.send.write_all(&noise(4_096, seed)).await;
            let code = within("the close", link.closed()).await;
            assert!(is_known(code), "{code:#x}");
        });
    }
    peers.join_all().await;
    assert_alive(&node).await;
}

#[tokio::test]
async fn random_frames_before_authentication_end_the_link() {
    let node = memory(1).open().await.unwrap();
    let client = client(Arc::default());
    for number in 0..=BEYOND {
        let mut link = RawLink::dial(&client, node.local_addr().unwrap(), key(2)).await;
        let mut out = Vec::new();
        frame::write(number, &mut out, |payload| payload.extend(noise(usize::from(number as u8) * 3, 1)));
        let _ = link.send.write_all(&out).await;
        let _ = link.send.finish();
        let code = within("the close", link.closed()).await;
        assert!(is_known(code), "frame {number:#x}: {code:#x}");
    }
    assert_alive(&node).await;
}

#[tokio::test]
async fn random_frames_after_authentication_do_no_harm() {
    let node = memory(1).open().await.unwrap();
    let client = client(Arc::default());
    for number in 0..=BEYOND {
        let mut link = RawLink::dial(&client, node.local_addr().unwrap(), key(2)).await;
        within("AUTH", link.authenticate()).await;
        let mut out = Vec::new();
        for round in 0..4 {
            frame::write(number, &mut out, |payload| payload.extend(noise(usize::from(round) * 40, round)));
        }
        // An end that is no frame at all, for those that are skipped or answered.
        out.extend([0xff; 32]);
        let _ = link.send.write_all(&out).await;
        let code = within("the close", link.closed()).await;
        assert!(is_known(code), "frame {number:#x}: {code:#x}");
    }
    assert_alive(&node).await;
}

#[tokio::test]
async fn random_bulk_streams_end_the_link_or_are_refused() {
    let node = memory(1).open().await.unwrap();
    let client = client(Arc::default());
    for seed in 0..8 {
        let mut link = RawLink::dial(&client, node.local_addr().unwrap(), key(2)).await;
        within("AUTH", link.authenticate()).await;
        let mut stream = within("a bulk stream", link.connection.open_uni()).await.unwrap();
        let _ = stream.write_all(&noise(100_000, seed)).await;
        let code = within("the close", link.closed()).await;
        assert!(is_known(code), "{code:#x}");
    }
    // Well formed, but nobody asked: the stream is stopped, and the link goes on.
    let mut link = RawLink::dial(&client, node.local_addr().unwrap(), key(2)).await;
    within("AUTH", link.authenticate()).await;
    let mut stream = within("a bulk stream", link.connection.open_uni()).await.unwrap();
    let header = segue_proto::wire::Bytes {
        req: 1,
        blob: segue_quic::Hash::new([1; 32]),
        offset: 0,
        len: 1 << 40,
        ext: segue_proto::wire::Exts::empty(),
    };
    let frame = segue_proto::wire::Message::from(header).to_frame();
    stream.write_all(&frame).await.unwrap();
    let stopped = within("the stop", stream.stopped()).await.unwrap();
    assert_eq!(stopped.map(|code| code.into_inner()), Some(u64::from(Code::WIRE_STATE.number())));
    assert!(node.peers().await.unwrap().contains(&id(2)));
    assert_alive(&node).await;
}

#[tokio::test]
async fn an_unauthenticated_peer_has_no_bulk_streams_and_one_control_stream() {
    let node = memory(1).open().await.unwrap();
    let client = client(Arc::default());
    let link = RawLink::dial(&client, node.local_addr().unwrap(), key(2)).await;
    let (bulk, second) = (link.connection.open_uni(), link.connection.open_bi());
    tokio::select! {
        biased;
        Ok(_) = bulk => panic!("a bulk stream before AUTH"),
        Ok(_) = second => panic!("a second control stream"),
        // HELLO didn't come in time: by then either stream would have been there.
        code = within("the close", link.closed()) => assert_eq!(code, u64::from(Code::LIMIT_PROGRESS.number())),
    }
}

#[tokio::test]
async fn there_are_no_tickets_and_no_early_data() {
    let node = memory(1).open().await.unwrap();
    let tickets = Arc::new(Tickets::default());
    let client = client(tickets.clone());
    for _ in 0..2 {
        let connecting = client.connect(node.local_addr().unwrap(), "segue.invalid").unwrap();
        assert!(connecting.into_0rtt().is_err(), "there is something to resume");
        let mut link = RawLink::dial(&client, node.local_addr().unwrap(), key(2)).await;
        // A ticket would come before the answer to AUTH.
        within("AUTH", link.authenticate()).await;
        link.connection.close(0u32.into(), b"");
    }
    assert_eq!(tickets.seen(), 0);
}

/// TRANSFER-WHOLE-1: every chunk is what the list says, but together they aren't the blob.
#[tokio::test]
async fn a_list_of_other_content_ends_the_handoff_and_nothing_of_it_is_held() {
    let dir = tempfile::tempdir().unwrap();
    for (target, chunks) in [(memory(2), 5), (disk(2, dir.path()), 5), (memory(2), 1)] {
        let content = noise(if chunks == 1 { 70_000 } else { 300_000 }, 1);
        let (forgery, entry) = Forgery::new("notes", content, chunks);
        let source = memory(1).blob_source(forgery).pulls(Policy::Allow).open().await.unwrap();
        let target = target.open().await.unwrap();
        link(&source, &target).await;
        let session = source.create_session("notes", &[target.device()]).await.unwrap();
        source.put_entry(session, entry.clone()).await.unwrap();
        let refused = within("the end", target.request_handoff(session, source.device())).await.unwrap_err();
        assert_eq!(refused.code(), Code::DATA_HASH);
        assert!(is_primary(&source, session).await && !is_primary(&target, session).await);
        assert!(target.read_blob(entry.blob, entry.len).await.is_err(), "it holds what nobody vouched for");
        assert!(target.read_file(session, "notes").await.is_err());
        assert_alive(&target).await;
        target.shutdown().await;
    }
}

/// What is logged on this thread while it is held.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_rule_that_a_peer_broke_is_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _held = tracing::subscriber::set_default(subscriber);
    // With one listener in the process, who logs for the first time on a thread without it would note that nobody listens.
    let _another = tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(io::sink).finish());
    tracing::callsite::rebuild_interest_cache();
    let node = memory(1).open().await.unwrap();
    let client = client(Arc::default());
    let addr = node.local_addr().unwrap();
    // A message that is nobody's, before AUTH and after it.
    for known in [false, true] {
        let mut link = RawLink::dial(&client, addr, key(2)).await;
        if known {
            within("AUTH", link.authenticate()).await;
        }
        let mut out = Vec::new();
        frame::write(BEYOND, &mut out, |_| ());
        link.send.write_all(&out).await.unwrap();
        within("the close", link.closed()).await;
    }
    // The node ends a link before it says so to its application.
    assert_alive(&node).await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let ended: Vec<&str> = text.lines().filter(|line| line.contains("a rule was broken")).collect();
    assert_eq!(ended.len(), 2, "{text}");
    assert!(ended.iter().all(|line| line.contains("WIRE_UNKNOWN_CRITICAL") && line.contains("WIRE-FRAME-2")), "{text}");
    assert!(!text.contains("WARN"), "a stranger can't fill a log that holds warnings: {text}");
}
