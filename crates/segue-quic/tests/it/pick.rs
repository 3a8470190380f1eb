//! Of a session's files, a device gets the content of the types of data that its user picked.

use std::sync::Arc;

use segue_quic::{Code, Error, Event, Node, Pick, Policy, SessionId, SessionRole, Stays};

use crate::raw::{RawLink, client};
use crate::util::*;

const LETTER: &[u8] = b"Dear all";

#[tokio::test]
async fn one_type_of_data_comes_and_the_other_is_fetched_when_it_is_wanted() {
    let (a, b) =
        (memory(1).pulls(Policy::Allow).open().await.unwrap(), memory(2).pulls(Policy::Allow).open().await.unwrap());
    link(&a, &b).await;
    let session = written(&a, &b).await;
    b.pick(session, Pick::types(["letters"])).await.unwrap();
    within("the handoff", b.request_handoff(session, a.device())).await.unwrap();
    assert_eq!(b.read_file(session, "letters/first").await.unwrap(), LETTER);
    assert!(matches!(b.read_file(session, "photos/beach").await, Err(Error::NoBlob(_))));
    // It is listed with its length, and with who has it.
    let listed = b.files(session).await.unwrap().into_iter().map(|file| (file.path, file.len)).collect::<Vec<_>>();
    assert!(listed.contains(&("photos/beach".into(), photo().len() as u64)), "{listed:?}");
    let [lacking] = &b.held_elsewhere(session).await.unwrap()[..] else { panic!("one file is held elsewhere") };
    assert_eq!(
        (lacking.path.as_str(), &lacking.holders[..], lacking.left_out),
        ("photos/beach", &[a.device()][..], true)
    );
    let types = b.data_types(session).await.unwrap();
    let types: Vec<_> = types.iter().map(|it| (it.name.as_str(), it.files, it.elsewhere, it.picked)).collect();
    assert_eq!(types, [("letters", 1, 0, true), ("photos", 1, photo().len() as u64, false)]);
    // What it received is less than the photo.
    assert!(b.stats().await.unwrap().bulk_rx < photo().len() as u64);
    assert_eq!(b.fetch_content(session, vec!["photos/beach".into()]).await.unwrap(), 1);
    assert_eq!(arrives(&b, session, "photos/beach").await, photo());
    assert!(b.held_elsewhere(session).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_picked_no_more_is_read_no_further() {
    let node = memory(1).follow(true).open().await.unwrap();
    let mut peer = RawLink::dial(&client(Arc::default()), node.local_addr().unwrap(), key(2)).await;
    within("AUTH", peer.authenticate()).await;
    let content: Vec<u8> = (0..700_000_u32).map(|at| (at.wrapping_mul(at) % 251) as u8).collect();
    let (session, list) = within("a session", peer.share(node.device(), "photos/beach", &content)).await;
    let mut answer = within("a request", peer.begin_answer(&list)).await;
    answer.finish().unwrap();
    let stream = within("another", peer.begin_answer(&content[..600_000])).await;
    let comes = |event| matches!(event, Event::Progress { done: 1.., .. }).then_some(());
    event(&node, "its beginning", comes).await;
    node.pick(session, Pick::types(["letters"])).await.unwrap();
    let stopped = within("the stop", stream.stopped()).await.unwrap();
    assert_eq!(stopped.map(|code| code.into_inner()), Some(u64::from(Code::WIRE_STATE.number())));
    assert!(node.peers().await.unwrap().contains(&id(2)));
}

#[tokio::test]
async fn a_pick_outlives_both_ends_and_the_old_owner_keeps_what_was_left() {
    let dir = tempfile::tempdir().unwrap();
    let a = disk(1, dir.path()).pulls(Policy::Allow).open().await.unwrap();
    let b = disk(2, dir.path()).pulls(Policy::Allow).open().await.unwrap();
    link(&a, &b).await;
    let session = written(&a, &b).await;
    b.pick(session, Pick::types(["letters"])).await.unwrap();
    within("the handoff", b.request_handoff(session, a.device())).await.unwrap();
    a.abort().await;
    b.abort().await;
    let a = disk(1, dir.path()).pulls(Policy::Allow).open().await.unwrap();
    let b = disk(2, dir.path()).pulls(Policy::Allow).open().await.unwrap();
    assert_eq!(b.session(session).await.unwrap().unwrap().role, SessionRole::Primary);
    assert_eq!(b.held_elsewhere(session).await.unwrap().len(), 1);
    link(&a, &b).await;
    b.pick(session, Pick::all()).await.unwrap();
    assert_eq!(arrives(&b, session, "photos/beach").await, photo());
}

#[tokio::test]
async fn whoever_asks_for_what_the_owner_left_out_is_told_so_and_can_do_without() {
    let (a, b) =
        (memory(1).pulls(Policy::Allow).open().await.unwrap(), memory(2).pulls(Policy::Allow).open().await.unwrap());
    let c = memory(3).pulls(Policy::Allow).open().await.unwrap();
    link(&a, &b).await;
    let session = written(&a, &b).await;
    b.pick(session, Pick::types(["letters"])).await.unwrap();
    within("the handoff", b.request_handoff(session, a.device())).await.unwrap();
    a.shutdown().await;
    link(&b, &c).await;
    c.pick(session, Pick::types(["photos"])).await.unwrap();
    let refused = within("the end", c.request_handoff(session, b.device())).await.unwrap_err();
    assert_eq!(refused.code(), Code::DATA_UNAVAILABLE, "{refused:?}");
    // What it didn't pick, and what it couldn't get, are both listed.
    let elsewhere = c.held_elsewhere(session).await.unwrap();
    let elsewhere: Vec<_> = elsewhere.iter().map(|file| (file.path.as_str(), file.left_out)).collect();
    assert_eq!(elsewhere, [("letters/first", true), ("photos/beach", false)]);
    c.pick(session, Pick::all()).await.unwrap();
    within("a handoff of what there is", c.request_handoff(session, b.device())).await.unwrap();
    assert_eq!(c.read_file(session, "letters/first").await.unwrap(), LETTER);
    let [lacking] = &c.held_elsewhere(session).await.unwrap()[..] else { panic!("one file is held elsewhere") };
    assert!(lacking.holders.contains(&a.device()) && !lacking.left_out, "{lacking:?}");
}

#[tokio::test]
async fn a_dry_run_counts_what_the_other_user_picked() {
    let (a, b) =
        (memory(1).pulls(Policy::Allow).open().await.unwrap(), memory(2).pulls(Policy::Allow).open().await.unwrap());
    link(&a, &b).await;
    let session = written(&a, &b).await;
    within("the session", b.follow(session, a.device())).await.unwrap();
    b.pick(session, Pick::types(["letters"])).await.unwrap();
    b.consent(session, a.device(), LIMIT).await.unwrap();
    let plan = within("the consent", async {
        loop {
            let plan = a.plan_handoff(session, b.device()).await.unwrap();
            if plan.consented {
                return plan;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let left = Stays::NotPicked { path: "photos/beach".into(), len: photo().len() as u64 };
    assert!(plan.stays.contains(&left), "{:?}", plan.stays);
    assert_eq!(plan.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["letters/first"]);
    assert!(plan.bytes < photo().len() as u64, "{}", plan.bytes);
}

#[tokio::test]
async fn what_the_source_leaves_behind_isnt_waited_for_and_comes_later() {
    let (gate, photo) = Gate::new("photos/beach", photo(), 0);
    let a = memory(1).blob_source(std::sync::Arc::new(Gated(gate.clone()))).open().await.unwrap();
    let b = memory(2).open().await.unwrap();
    link(&a, &b).await;
    let session = a.create_session("holiday", &[b.device()]).await.unwrap();
    a.write_bytes(session, "letters/first", LETTER).await.unwrap();
    a.put_entry(session, photo).await.unwrap();
    a.take_along(session, Pick::types(["letters"])).await.unwrap();
    push(&a, &b, session).await;
    assert_eq!(b.read_file(session, "letters/first").await.unwrap(), LETTER);
    let [lacking] = &b.held_elsewhere(session).await.unwrap()[..] else { panic!("one file is held elsewhere") };
    assert_eq!(
        (lacking.path.as_str(), &lacking.holders[..], lacking.left_out),
        ("photos/beach", &[a.device()][..], false)
    );
    gate.open_wide();
    assert_eq!(arrives(&b, session, "photos/beach").await, self::photo());
}

#[tokio::test]
async fn what_the_source_leaves_behind_doesnt_go_by_the_service_before_the_handoff_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let host = crate::delegate::serve(dir.path(), std::time::Duration::ZERO).await;
    let open = async |n| {
        let node = memory(n).follow(true).introductions(false).open().await.unwrap();
        node.use_mailbox(host.local_addr().unwrap(), host.device()).await.unwrap();
        node
    };
    let (a, b) = (open(1).await, open(2).await);
    let session = a.create_session("holiday", &[b.device()]).await.unwrap();
    a.take_along(session, Pick::types(["letters"])).await.unwrap();
    a.write_bytes(session, "letters/first", LETTER).await.unwrap();
    a.write_bytes(session, "photos/beach", photo()).await.unwrap();
    within("the delegate", a.delegate(session, host.local_addr().unwrap(), host.device())).await.unwrap();
    within("the exchange", a.exchanged(host.device())).await.unwrap();
    assert!(a.stats().await.unwrap().mailed_tx < photo().len() as u64);
    push(&a, &b, session).await;
    assert_eq!(b.read_file(session, "letters/first").await.unwrap(), LETTER);
    assert_eq!(arrives(&b, session, "photos/beach").await, photo());
}

#[tokio::test]
async fn what_goes_along_is_chosen_for_one_handoff_however_that_ends() {
    let (gate, photo) = Gate::new("photos/beach", photo(), 0);
    let a = memory(1).blob_source(std::sync::Arc::new(Gated(gate.clone()))).open().await.unwrap();
    let b = memory(2).open().await.unwrap();
    link(&a, &b).await;
    let session = a.create_session("holiday", &[b.device()]).await.unwrap();
    a.write_bytes(session, "letters/first", LETTER).await.unwrap();
    a.put_entry(session, photo).await.unwrap();
    let offered = async || {
        event(&b, "HandoffRequest", |event| match event {
            Event::HandoffRequest { token, .. } => Some(token),
            _ => None,
        })
        .await
    };
    a.take_along(session, Pick::types(["letters"])).await.unwrap();
    let reject = async { b.reject_handoff(offered().await).await.unwrap() };
    let (answer, ()) = within("the answer", async { tokio::join!(a.initiate_handoff(session, id(2)), reject) }).await;
    assert_eq!(answer.unwrap_err().code(), Code::HO_DECLINED);
    // The next handoff takes all along, so it waits for the photo.
    let handoff = a.initiate_handoff(session, b.device());
    let accept = async {
        let token = offered().await;
        tokio::join!(b.accept_handoff(token), async {
            let fetching = event(&b, "Progress", |event| match event {
                Event::Progress { total, .. } if total > LETTER.len() as u64 => Some(()),
                Event::HandoffResolved { .. } => panic!("a handoff without the photo"),
                _ => None,
            });
            fetching.await;
            gate.open_wide();
        })
    };
    let (given, (taken, ())) = within("the handoff", async { tokio::join!(handoff, accept) }).await;
    assert_eq!(given.unwrap().record, taken.unwrap().record);
    assert!(b.held_elsewhere(session).await.unwrap().is_empty());
}

/// A session with a letter and a photo, of which both are members, and devices 3 too.
async fn written(a: &Node, b: &Node) -> SessionId {
    let session = a.create_session("holiday", &[b.device(), id(3)]).await.unwrap();
    a.write_bytes(session, "letters/first", LETTER).await.unwrap();
    a.write_bytes(session, "photos/beach", photo()).await.unwrap();
    session
}

fn photo() -> Vec<u8> {
    (0..150_000_u32).map(|at| (at % 251) as u8).collect()
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
