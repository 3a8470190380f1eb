//! What the old primary's users and a secondary write while a handoff runs: the new primary settles it by the strategy
//! that its application set, and nothing is lost.

use segue_quic::{Ask, Builder, Event, KeepBoth, KeepLatest, Merge, Node, SessionId};

use crate::util::*;

/// A primary, the device that it hands the session to, and a secondary that was offline when it wrote.
struct Three {
    primary: Node,
    next: Node,
    away: Node,
    session: SessionId,
}

/// The title and the notes were written by the primary and by the secondary that was away, neither knowing of the other.
/// The secondary comes back while the next device is still asked whether it takes the session, which it then does: it has
/// this strategy, the others leave conflicts alone.
async fn handed_over_meanwhile(next: Builder) -> Three {
    let (primary, away) = (memory(1).open().await.unwrap(), memory(3).open().await.unwrap());
    let next = next.open().await.unwrap();
    link(&primary, &next).await;
    link(&away, &next).await;
    let session = primary.create_session("board", &[next.device(), away.device()]).await.unwrap();
    primary.write_view(session, "page 1").await.unwrap();
    within("the session", next.follow(session, primary.device())).await.unwrap();
    within("the session", away.follow(session, next.device())).await.unwrap();
    // Away, it writes without knowing.
    away.forget(next.device()).await.unwrap();
    event(&away, "the end of the link", |event| matches!(event, Event::Unlinked { .. }).then_some(())).await;
    away.write_register(session, "title", "by the secondary").await.unwrap();
    away.write_bytes(session, "notes", "by the secondary").await.unwrap();
    away.append(session, "chat", "secondary").await.unwrap();
    let take = async {
        let token = event(&next, "HandoffRequest", |event| match event {
            Event::HandoffRequest { token, .. } => Some(token),
            _ => None,
        });
        let token = token.await;
        primary.write_register(session, "title", "by the primary").await.unwrap();
        primary.write_bytes(session, "notes", "by the primary").await.unwrap();
        primary.append(session, "chat", "primary").await.unwrap();
        away.connect(next.local_addr().unwrap(), next.device()).await.unwrap();
        away.linked(next.device()).await.unwrap();
        // The primary learns through the next device what the secondary wrote.
        within("what the secondary wrote", async {
            while primary.conflicts(session).await.unwrap().len() < 2 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        next.accept_handoff(token).await.unwrap();
    };
    let (given, ()) =
        within("the handoff", async { tokio::join!(primary.initiate_handoff(session, next.device()), take) }).await;
    given.unwrap();
    let three = Three { primary, next, away, session };
    three.until("all that was said", |chat, _| chat == 2).await;
    three
}

impl Three {
    /// Waits until every device holds the same, and that is as it should be: by the entries of the chat and the number
    /// of conflicts.
    async fn until(&self, what: &str, good: impl Fn(usize, usize) -> bool) {
        within(what, async {
            loop {
                let mut roots = Vec::new();
                let mut all = true;
                for node in [&self.primary, &self.next, &self.away] {
                    roots.push(node.session(self.session).await.unwrap().unwrap().root);
                    let chat = node.log(self.session, "chat").await.unwrap_or_default().len();
                    all &= good(chat, node.conflicts(self.session).await.unwrap().len());
                }
                if all && roots.iter().all(|root| *root == roots[0]) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The contents of all files at the new primary, once they are here.
    async fn contents(&self) -> Vec<Vec<u8>> {
        let read = async {
            let mut contents = Vec::new();
            for file in self.next.files(self.session).await.unwrap() {
                loop {
                    match self.next.read_file(self.session, &file.path).await {
                        Ok(content) => break contents.push(content),
                        Err(segue_quic::Error::NoBlob(_)) => tokio::task::yield_now().await,
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            contents
        };
        within("the contents", read).await
    }

    async fn title(&self, node: &Node) -> Vec<u8> {
        node.register(self.session, "title").await.unwrap().unwrap().value().to_vec()
    }

    async fn is_moved(&self) {
        assert_moved(&self.primary, &self.next, self.session).await;
        assert_eq!(self.next.view(self.session).await.unwrap().unwrap(), b"page 1");
    }
}

#[tokio::test]
async fn keep_latest_leaves_one_value_the_same_everywhere() {
    let three = handed_over_meanwhile(memory(2).conflicts(KeepLatest)).await;
    three.until("no conflict", |_, conflicts| conflicts == 0).await;
    let title = three.title(&three.next).await;
    assert!(title == b"by the primary" || title == b"by the secondary");
    for node in [&three.primary, &three.away] {
        assert_eq!(three.title(node).await, title);
    }
    three.is_moved().await;
}

#[tokio::test]
async fn keep_both_makes_files_of_all_versions_and_leaves_registers_to_the_application() {
    let three = handed_over_meanwhile(memory(2).conflicts(KeepBoth)).await;
    three.until("the register alone in conflict", |_, conflicts| conflicts == 1).await;
    let mut contents = three.contents().await;
    contents.sort();
    assert_eq!(contents, [b"by the primary".to_vec(), b"by the secondary".to_vec()]);
    three.is_moved().await;
}

#[tokio::test]
async fn merge_makes_one_of_all() {
    let joined = |_: &segue_quic::Conflict, contents: &[Vec<u8>]| {
        let mut contents = contents.to_vec();
        contents.sort();
        Some(contents.join(&b" and "[..]))
    };
    let three = handed_over_meanwhile(memory(2).conflicts(Merge(joined))).await;
    three.until("no conflict", |_, conflicts| conflicts == 0).await;
    for node in [&three.primary, &three.next, &three.away] {
        assert_eq!(three.title(node).await, b"by the primary and by the secondary");
    }
    let notes = three.next.read_file(three.session, "notes").await.unwrap();
    assert_eq!(notes, b"by the primary and by the secondary");
    three.is_moved().await;
}

/// The values of a file come before its content, so a merge has to wait for that.
#[tokio::test]
async fn merge_waits_for_content_that_takes_its_time() {
    let longest = |_: &segue_quic::Conflict, contents: &[Vec<u8>]| contents.iter().max_by_key(|it| it.len()).cloned();
    let (primary, away) = (memory(1).conflicts(Merge(longest)).open().await.unwrap(), memory(2).open().await.unwrap());
    let session = primary.create_session("board", &[away.device()]).await.unwrap();
    link(&primary, &away).await;
    within("the session", away.follow(session, primary.device())).await.unwrap();
    away.forget(primary.device()).await.unwrap();
    event(&away, "the end of the link", |event| matches!(event, Event::Unlinked { .. }).then_some(())).await;
    primary.write_bytes(session, "notes", "short").await.unwrap();
    away.write_bytes(session, "notes", noise(3_000_000, 7)).await.unwrap();
    away.connect(primary.local_addr().unwrap(), primary.device()).await.unwrap();
    within("the merge", async {
        loop {
            let merged = primary.read_file(session, "notes").await;
            if merged.is_ok_and(|merged| merged.len() == 3_000_000)
                && primary.conflicts(session).await.unwrap().is_empty()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn ask_keeps_all_until_the_application_says() {
    let three = handed_over_meanwhile(memory(2).conflicts(Ask)).await;
    three.until("both in conflict", |_, conflicts| conflicts == 2).await;
    for conflict in three.next.conflicts(three.session).await.unwrap() {
        assert_eq!(conflict.versions.len(), 2);
        // A version can stand once its content is here.
        within("the content", async {
            while let Err(error) = three.next.resolve(&conflict, segue_quic::Resolution::Take(1)).await {
                assert!(matches!(error, segue_quic::Error::NoBlob(_)), "{error}");
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    three.until("no conflict", |_, conflicts| conflicts == 0).await;
    three.is_moved().await;
}

#[tokio::test]
async fn an_exclusive_write_that_comes_too_late_is_a_labelled_copy_and_told() {
    let (a, b) = pair().await;
    let session = a.create_session("board", &[b.device()]).await.unwrap();
    push(&a, &b, session).await;
    push(&b, &a, session).await;
    a.forget(b.device()).await.unwrap();
    b.distrust(a.device()).await.unwrap();
    for node in [&a, &b] {
        event(node, "the end of the link", |event| matches!(event, Event::Unlinked { .. }).then_some(())).await;
    }
    // Its user takes the session over by name, and the old primary writes on without knowing.
    b.takeover(session).await.unwrap();
    b.write_view(session, "the new owner's").await.unwrap();
    a.write_view(session, "too late").await.unwrap();
    a.append(session, "chat", "shared all the same").await.unwrap();
    b.trust(a.device()).await.unwrap();
    link(&a, &b).await;
    let copies = event(&a, "Fenced", |event| match event {
        Event::Fenced { owner, copies, .. } => {
            assert_eq!(owner, Some(id(2)));
            Some(copies)
        }
        _ => None,
    });
    assert_eq!(copies.await, 1);
    within("the new owner's view", async {
        while a.view(session).await.unwrap().as_deref() != Some(b"the new owner's") {
            tokio::task::yield_now().await;
        }
        while b.log(session, "chat").await.unwrap_or_default().len() != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(a.session(session).await.unwrap().unwrap().copies, 1);
    assert_moved(&a, &b, session).await;
}
