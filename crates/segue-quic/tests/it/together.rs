//! Sessions that several devices keep together.

use segue_proto::data::{Entry, EntryMode};
use segue_quic::{
    Builder, Code, Conflict, Content, Error, Event, FileInfo, Hash, KeepBoth, KeepLatest, Merge, Node, Resolution,
    SessionId, UsageError,
};

use crate::util::*;

/// Two devices that keep a session of the first together.
async fn together(a: Builder, b: Builder) -> (Node, Node, SessionId) {
    let (a, b) = (a.open().await.unwrap(), b.open().await.unwrap());
    link(&a, &b).await;
    let session = a.create_session("notes", &[b.device()]).await.unwrap();
    within("the session", b.follow(session, a.device())).await.unwrap();
    (a, b, session)
}

/// Takes the devices' links away; what they write from here on, they write without knowing of each other.
async fn part(a: &Node, b: &Node) {
    a.forget(b.device()).await.unwrap();
    b.distrust(a.device()).await.unwrap();
    for node in [a, b] {
        event(node, "the end of the link", |event| matches!(event, Event::Unlinked { .. }).then_some(())).await;
    }
}

async fn meet(a: &Node, b: &Node) {
    b.trust(a.device()).await.unwrap();
    link(a, b).await;
}

async fn root(node: &Node, session: SessionId) -> Hash {
    node.session(session).await.unwrap().unwrap().root
}

/// Waits until both hold the same ops.
async fn same(a: &Node, b: &Node, session: SessionId) {
    within("equal roots", async {
        while root(a, session).await != root(b, session).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until a node's conflicts are as they should be.
async fn conflicts(node: &Node, session: SessionId, good: impl Fn(&[Conflict]) -> bool) -> Vec<Conflict> {
    within("the conflicts", async {
        loop {
            let found = node.conflicts(session).await.unwrap();
            if good(&found) {
                return found;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Waits until a content is here.
async fn has(node: &Node, blob: Hash, len: u64) {
    within("the content", async {
        while node.read_blob(blob, len).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Waits until a file has this content.
async fn holds(node: &Node, session: SessionId, path: &str, content: &[u8]) {
    within(path, async {
        while node.read_file(session, path).await.ok().as_deref() != Some(content) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_writes_the_other_reads() {
    let (a, b, session) = together(memory(1), memory(2)).await;
    a.write_register(session, "title", "Trip").await.unwrap();
    a.append(session, "chat", "hello").await.unwrap();
    b.append(session, "chat", "hello yourself").await.unwrap();
    a.push_ops(session, "map", vec![b"one".to_vec(), b"two".to_vec()]).await.unwrap();
    b.push_op(session, "map", "three").await.unwrap();
    b.write_bytes(session, "photo", noise(300_000, 1)).await.unwrap();
    same(&a, &b, session).await;
    assert_eq!(b.register(session, "title").await.unwrap().unwrap().value(), b"Trip");
    assert_eq!(b.register(session, "subtitle").await.unwrap(), None);
    let (log, other) = (a.log(session, "chat").await.unwrap(), b.log(session, "chat").await.unwrap());
    let bodies = |log: &[segue_quic::Delivered]| log.iter().map(|entry| entry.body.clone()).collect::<Vec<_>>();
    assert_eq!((bodies(&log).len(), bodies(&log)), (2, bodies(&other)));
    let ops = a.ops(session, "map", 0).await.unwrap();
    assert_eq!((ops.snapshot, ops.next), (None, 3));
    assert_eq!(ops.ops.iter().map(|op| op.own).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(bodies(&a.ops(session, "map", 2).await.unwrap().ops), [&b"three"[..]]);
    assert_eq!(a.ops(session, "map", 3).await.unwrap().ops, []);
    holds(&a, session, "photo", &noise(300_000, 1)).await;
    assert_eq!(a.followers(session).await.unwrap()[0].0, b.device());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn following_fails_with_what_the_other_says_and_succeeds_at_once_when_caught_up() {
    let (a, b, session) = together(memory(1), memory(2)).await;
    within("a second call", b.follow(session, a.device())).await.unwrap();
    let unknown = SessionId::new([9; 16]);
    let refused = within("the refusal", b.follow(unknown, a.device())).await.unwrap_err();
    assert!(matches!(refused, Error::Follow { code: Code::HO_UNKNOWN_SESSION, .. }), "{refused}");
    assert!(refused.to_string().contains(&unknown.to_string()), "{refused}");
    assert!(matches!(b.follow(unknown, b.device()).await, Err(Error::Usage { source: UsageError::SelfTarget, .. })));
    let nowhere = b.write_register(unknown, "x", "y").await;
    assert!(matches!(nowhere, Err(Error::Usage { source: UsageError::UnknownSession, .. })), "{nowhere:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_follows_whatever_it_hears_of_needs_no_call() {
    let (a, b) = (memory(1).open().await.unwrap(), memory(2).follow(true).open().await.unwrap());
    let session = a.create_session("notes", &[b.device()]).await.unwrap();
    a.write_register(session, "title", "Trip").await.unwrap();
    link(&a, &b).await;
    event(&b, "Synced", |event| matches!(event, Event::Synced { session: s, .. } if s == session).then_some(())).await;
    assert_eq!(b.register(session, "title").await.unwrap().unwrap().value(), b"Trip");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_values_of_a_register_stay_until_one_stands_for_both() {
    let (a, b, session) = together(memory(1), memory(2)).await;
    part(&a, &b).await;
    a.write_register(session, "title", "Trip").await.unwrap();
    b.write_register(session, "title", "Journey").await.unwrap();
    meet(&a, &b).await;
    same(&a, &b, session).await;
    let (one, two) = (a.register(session, "title").await.unwrap().unwrap(), b.conflicts(session).await.unwrap());
    assert_eq!((one.conflicts.len(), two.len(), two[0].versions.len()), (1, 1, 2));
    assert_eq!(two[0].versions[0].content, Content::Value(one.value().to_vec()));
    assert!(two[0].versions.iter().any(|version| version.device == Some(b.device())));
    let refused = a.write_register(session, "title", "Voyage").await;
    assert!(matches!(refused, Err(Error::Usage { source: UsageError::Conflicted, .. })), "{refused:?}");

    assert!(matches!(b.resolve(&two[0], Resolution::Take(2)).await, Err(Error::Resolution { .. })));
    assert!(matches!(b.resolve(&two[0], Resolution::Both).await, Err(Error::Resolution { .. })));
    b.resolve(&two[0], Resolution::Put(b"Voyage".to_vec())).await.unwrap();
    same(&a, &b, session).await;
    let resolved = a.register(session, "title").await.unwrap().unwrap();
    assert_eq!((resolved.value(), resolved.conflicts.len()), (&b"Voyage"[..], 0));
    assert_eq!(a.conflicts(session).await.unwrap(), []);
    let late = b.resolve(&two[0], Resolution::Take(0)).await;
    assert!(matches!(late, Err(Error::Usage { source: UsageError::Conflicted, .. })), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_file_that_two_devices_add_has_two_versions_and_both_contents_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, session) = together(disk(1, dir.path()), disk(2, dir.path())).await;
    part(&a, &b).await;
    a.write_bytes(session, "plan.txt", "by a").await.unwrap();
    b.write_bytes(session, "plan.txt", noise(100_000, 2)).await.unwrap();
    // The same bytes are no conflict.
    a.write_bytes(session, "same.txt", "same").await.unwrap();
    b.write_bytes(session, "same.txt", "same").await.unwrap();
    meet(&a, &b).await;
    same(&a, &b, session).await;
    for node in [&a, &b] {
        let found = node.conflicts(session).await.unwrap();
        assert_eq!((found.len(), found[0].path.as_deref()), (1, Some("plan.txt")));
        assert_eq!(node.files(session).await.unwrap().len(), 2);
        for version in &found[0].versions {
            has(node, version.hash, version.len).await;
        }
    }
    b.write_bytes(session, "same.txt", "not any more").await.unwrap();
    let refused = b.write_bytes(session, "plan.txt", "again").await;
    assert!(matches!(refused, Err(Error::Usage { source: UsageError::Conflicted, .. })), "{refused:?}");

    // Both devices keep both, before they meet again.
    part(&a, &b).await;
    for node in [&a, &b] {
        let found = node.conflicts(session).await.unwrap();
        node.resolve(&found[0], Resolution::Both).await.unwrap();
    }
    meet(&a, &b).await;
    same(&a, &b, session).await;
    for node in [&a, &b] {
        assert_eq!(node.conflicts(session).await.unwrap(), []);
        let files = node.files(session).await.unwrap();
        assert_eq!(files.len(), 3, "{files:?}");
        for file in files {
            has(node, file.blob, file.len).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_gives_way_to_an_edit_if_both_are_kept() {
    let (a, b, session) = together(memory(1), memory(2)).await;
    a.write_bytes(session, "plan.txt", "first").await.unwrap();
    holds(&b, session, "plan.txt", b"first").await;
    part(&a, &b).await;
    b.write_bytes(session, "plan.txt", "second").await.unwrap();
    a.remove_file(session, "plan.txt").await.unwrap();
    meet(&a, &b).await;
    same(&a, &b, session).await;
    let found = b.conflicts(session).await.unwrap();
    assert!(found[0].versions.iter().any(|version| version.content == Content::Removed), "{found:?}");
    b.resolve(&found[0], Resolution::Both).await.unwrap();
    holds(&a, session, "plan.txt", b"second").await;
    assert_eq!(a.files(session).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_for_what_was_seen_stands_beside_what_the_other_wrote_since() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, session) = together(memory(1), memory(2)).await;
    for path in ["gone", "list", "plan"] {
        a.write_bytes(session, path, "of both").await.unwrap();
        holds(&b, session, path, b"of both").await;
    }
    let entries = async |node: &Node, texts: &[(&str, &str)]| {
        let files = texts.iter().map(|(path, text)| {
            let source = dir.path().join(format!("{path} {text}"));
            std::fs::write(&source, text).unwrap();
            ((*path).to_owned(), source)
        });
        node.read_files(files.collect()).await.unwrap()
    };
    let paths = |files: &[FileInfo]| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    let seen = b.files(session).await.unwrap();
    for path in ["gone", "new", "plan"] {
        a.write_bytes(session, path, "by a").await.unwrap();
        holds(&b, session, path, b"by a").await;
    }
    let mut of_b = entries(&b, &[("list", "of b"), ("new", "by b"), ("plan", "by b")]).await;
    of_b.extend(Entry::bare("gone", EntryMode::Removed));
    let replaced = b.replace_entries(session, of_b.clone(), &seen).await.unwrap();
    assert_eq!(
        (paths(&replaced.written), paths(&replaced.beside)),
        (vec!["list".into()], vec!["new".into(), "plan".into()])
    );
    same(&a, &b, session).await;
    for node in [&a, &b] {
        let found = conflicts(node, session, |found| found.len() == 2).await;
        assert!(found.iter().all(|conflict| conflict.versions.len() == 2), "{found:?}");
        holds(node, session, "gone", b"by a").await;
    }
    // What lies in a file that was changed since isn't given out as what it was.
    let of_list = b.files(session).await.unwrap().into_iter().find(|file| file.path == "list").unwrap();
    std::fs::write(dir.path().join("list of b"), "else").unwrap();
    let changed = b.read_blob(of_list.blob, of_list.len).await;
    assert!(matches!(changed, Err(Error::NoBlob(_))), "{changed:?}");
    std::fs::write(dir.path().join("list of b"), "of b").unwrap();
    // What is there, shown or beside it, isn't written again.
    let before = root(&b, session).await;
    let again = b.replace_entries(session, of_b, &seen).await.unwrap();
    assert_eq!((again.written.len(), again.beside.len(), root(&b, session).await), (3, 0, before));
    let of_a = entries(&a, &[("plan", "by a")]).await;
    let again = a.replace_entries(session, of_a, &seen).await.unwrap();
    assert_eq!((again.written, paths(&again.beside), root(&a, session).await), (vec![], vec!["plan".into()], before));
    // Who sees a version edits that one, and the other stays.
    let seen = b.files(session).await.unwrap();
    let edited = entries(&b, &[("plan", "by b, again")]).await;
    let replaced = b.replace_entries(session, edited, &seen).await.unwrap();
    assert_eq!((paths(&replaced.written), replaced.beside), (vec!["plan".into()], vec![]));
    holds(&a, session, "plan", b"by b, again").await;
    assert_eq!(a.conflicts(session).await.unwrap().len(), 2);
    // The own that isn't shown isn't replaced unseen; all else is written.
    let (seen, of_a) =
        (a.files(session).await.unwrap(), entries(&a, &[("plan", "by a, again"), ("list", "by a")]).await);
    let replaced = a.replace_entries(session, of_a, &seen).await.unwrap();
    assert_eq!((paths(&replaced.written), replaced.refused), (vec!["list".into()], vec!["plan".to_owned()]));
    holds(&b, session, "list", b"by a").await;
    holds(&b, session, "plan", b"by b, again").await;
    assert_eq!(b.conflicts(session).await.unwrap().len(), 2);
}

/// Writes one register and one file on both sides of a cut, and meets again.
async fn conflicted(a: Builder) -> (Node, Node, SessionId) {
    let (a, b, session) = together(a, memory(2)).await;
    part(&a, &b).await;
    for (node, text) in [(&a, "by a"), (&b, "by b")] {
        node.write_register(session, "title", text).await.unwrap();
        node.write_bytes(session, "plan.txt", text).await.unwrap();
    }
    meet(&a, &b).await;
    (a, b, session)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_keeps_the_latest() {
    let (a, b, session) = conflicted(memory(1).conflicts(KeepLatest)).await;
    for node in [&a, &b] {
        conflicts(node, session, |found| found.is_empty()).await;
    }
    same(&a, &b, session).await;
    let shown = a.register(session, "title").await.unwrap().unwrap();
    assert!([&b"by a"[..], b"by b"].contains(&shown.value()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_keeps_both() {
    let (a, b, session) = conflicted(memory(1).conflicts(KeepBoth)).await;
    for node in [&a, &b] {
        // The register waits for somebody who knows.
        let left = conflicts(node, session, |found| found.len() == 1 && found[0].path.is_none()).await;
        assert_eq!(left[0].versions.len(), 2);
        within("two files", async {
            while node.files(session).await.unwrap().len() != 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_merges_what_is_here() {
    let merge = Merge(|conflict: &Conflict, contents: &[Vec<u8>]| {
        let mut lines = contents.to_vec();
        lines.sort();
        conflict.path.is_none().then(|| lines.join(&b'+'))
    });
    let (a, b, session) = conflicted(memory(1).conflicts(merge)).await;
    for node in [&a, &b] {
        conflicts(node, session, |found| found.len() == 1 && found[0].path.is_some()).await;
        assert_eq!(node.register(session, "title").await.unwrap().unwrap().value(), b"by a+by b");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_crash_and_reaches_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, session) = together(disk(1, dir.path()), disk(2, dir.path())).await;
    part(&a, &b).await;
    b.append(session, "chat", "before the crash").await.unwrap();
    b.push_op(session, "text", "typed").await.unwrap();
    b.write_register(session, "title", "offline").await.unwrap();
    b.abort().await;
    let b = disk(2, dir.path()).open().await.unwrap();
    link(&a, &b).await;
    same(&a, &b, session).await;
    assert_eq!(a.log(session, "chat").await.unwrap().len(), 1);
    assert_eq!(a.ops(session, "text", 0).await.unwrap().ops[0].body, &b"typed"[..]);
    assert_eq!(a.register(session, "title").await.unwrap().unwrap().value(), b"offline");
}

#[tokio::test]
async fn to_write_no_ops_waits_for_nothing_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = disk(1, dir.path()).open().await.unwrap();
    let session = node.create_session("notes", &[]).await.unwrap();
    node.push_op(session, "text", "typed").await.unwrap();
    node.shutdown().await;
    let node = disk(1, dir.path()).open().await.unwrap();
    within("nothing", node.push_ops(session, "text", Vec::new())).await.unwrap();
}
