//! Linking and revoking over real connections.

use std::time::{Duration, Instant};

use segue_quic::{Code, Error, Event, Invite, Node};

use crate::util::*;

/// A device that lets nobody in but those of its account.
async fn lone(n: u8) -> Node {
    Node::builder().in_memory().key(key(n)).listen(loopback()).open().await.unwrap()
}

async fn invite(new: &Node, name: &str) -> Invite {
    new.invite(name, &[new.local_addr().unwrap().to_string()]).await.unwrap()
}

async fn code(node: &Node) -> u32 {
    event(node, "LinkCode", |event| match event {
        Event::LinkCode { code, .. } => Some(code),
        _ => None,
    })
    .await
}

/// `by`, which belongs to an account, links a new device.
async fn link_new(by: &Node, new: &Node, name: &str) {
    let invite = invite(new, name).await;
    by.accept_link(&invite, &[new.local_addr().unwrap()], None).await.unwrap();
    let (one, two) = tokio::join!(code(by), code(new));
    assert_eq!(one, two);
    let (one, two) =
        within("the linking", async { tokio::join!(by.confirm_link(new.device()), new.confirm_link(by.device())) })
            .await;
    assert_eq!(one.unwrap(), two.unwrap());
}

#[tokio::test]
async fn a_revocation_ends_the_link_within_a_second_and_for_good() {
    let (laptop, phone, tablet) = (lone(1).await, lone(2).await, lone(3).await);
    laptop.create_account("laptop").await.unwrap();
    link_new(&laptop, &phone, "phone").await;
    link_new(&laptop, &tablet, "tablet").await;
    // The devices of the account let each other in, and both know the three.
    link(&tablet, &phone).await;
    let session = phone.create_session("trip", &[]).await.unwrap();
    push(&phone, &tablet, session).await;
    let since = Instant::now();
    laptop.revoke(tablet.device()).await.unwrap();
    let ended = |node: &Node, peer| {
        let node = node.clone();
        async move {
            event(&node, "Unlinked", move |event| match event {
                Event::Unlinked { peer: Some(it), code, .. } if it == peer => Some(code),
                _ => None,
            })
            .await
        }
    };
    // The phone hears of it by ROSTER, and ends its own link with the tablet.
    let (by_laptop, by_phone) = tokio::join!(ended(&laptop, tablet.device()), ended(&phone, tablet.device()));
    assert_eq!((by_laptop, by_phone), (Code::AUTH_REVOKED, Code::AUTH_REVOKED));
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    let owner = event(&phone, "OwnerRevoked", |event| match event {
        Event::OwnerRevoked { session: it, owner } if it == session => Some(owner),
        _ => None,
    });
    assert_eq!(owner.await, tablet.device());
    let account = phone.account().await.unwrap().unwrap();
    assert_eq!((account.devices.len(), account.revoked.len()), (2, 1));
    assert!(matches!(laptop.revoke(tablet.device()).await, Err(Error::Usage { .. })));
}

#[tokio::test]
async fn an_address_at_which_another_device_answers_hinders_nobody() {
    let (laptop, phone, other) = (lone(1).await, lone(2).await, lone(3).await);
    laptop.create_account("laptop").await.unwrap();
    let invite = invite(&phone, "phone").await;
    let addrs = [&other, &phone].map(|node| node.local_addr().unwrap());
    laptop.accept_link(&invite, &addrs, None).await.unwrap();
    let (one, two) = tokio::join!(code(&laptop), code(&phone));
    assert_eq!(one, two);
}

#[tokio::test]
async fn a_device_that_says_no_is_not_linked() {
    let (laptop, phone) = (lone(1).await, lone(2).await);
    laptop.create_account("laptop").await.unwrap();
    let invite = invite(&phone, "phone").await;
    laptop.accept_link(&invite, &[phone.local_addr().unwrap()], None).await.unwrap();
    let (one, two) = tokio::join!(code(&laptop), code(&phone));
    assert_eq!(one, two);
    phone.decline_link(laptop.device()).await.unwrap();
    let why = event(&laptop, "LinkResolved", |event| match event {
        Event::LinkResolved { result, .. } => Some(result),
        _ => None,
    });
    assert_eq!(why.await, Err(Code::LINK_DECLINED));
    assert_eq!(phone.account().await.unwrap(), None);
    assert_eq!(laptop.account().await.unwrap().unwrap().devices.len(), 1);
}

#[tokio::test]
async fn an_account_begins_once_both_users_have_confirmed() {
    let (laptop, phone) = (lone(1).await, lone(2).await);
    for both in [false, true] {
        let invite = invite(&phone, "phone").await;
        let addrs = [phone.local_addr().unwrap()];
        assert!(laptop.accept_link(&invite, &addrs, None).await.is_err(), "it isn't called anything");
        laptop.accept_link(&invite, &addrs, Some("laptop")).await.unwrap();
        let (one, two) = tokio::join!(code(&laptop), code(&phone));
        assert_eq!(one, two);
        let confirmed = {
            let (laptop, phone) = (laptop.clone(), phone.device());
            tokio::spawn(async move { laptop.confirm_link(phone).await })
        };
        assert_eq!(laptop.account().await.unwrap(), None);
        if both {
            let account = within("the account", phone.confirm_link(laptop.device())).await.unwrap();
            assert_eq!(within("the end", confirmed).await.unwrap().unwrap(), account);
        } else {
            phone.decline_link(laptop.device()).await.unwrap();
            within("the end", confirmed).await.unwrap().unwrap_err();
            assert_eq!(laptop.account().await.unwrap(), None);
            laptop.forget(phone.device()).await.unwrap();
        }
    }
    let (one, two) = (laptop.account().await.unwrap().unwrap(), phone.account().await.unwrap().unwrap());
    assert_eq!((&one, one.devices.len()), (&two, 2));
    assert!(one.devices.iter().any(|it| it.by == it.device && (it.device, &*it.name) == (laptop.device(), "laptop")));
}

/// TRANSPORT-CLOSE-1: what a link ends with gets a moment to arrive, also if the node ends next.
#[tokio::test]
async fn a_device_that_says_no_and_stops_is_heard() {
    let (laptop, phone) = (lone(1).await, lone(2).await);
    laptop.create_account("laptop").await.unwrap();
    let invite = invite(&phone, "phone").await;
    laptop.accept_link(&invite, &[phone.local_addr().unwrap()], None).await.unwrap();
    tokio::join!(code(&laptop), code(&phone));
    let confirmed = {
        let (laptop, phone) = (laptop.clone(), phone.device());
        tokio::spawn(async move { laptop.confirm_link(phone).await })
    };
    phone.decline_link(laptop.device()).await.unwrap();
    phone.shutdown().await;
    let Err(Error::Link { code, .. }) = within("the end", confirmed).await.unwrap() else {
        panic!("nothing was linked");
    };
    assert_eq!(code, Code::LINK_DECLINED);
}
