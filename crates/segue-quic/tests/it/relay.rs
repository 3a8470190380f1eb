//! Nodes neither of which can dial the other, linked by way of a service.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::{RecvStream, SendStream, VarInt};
use segue_proto::data::Entry;
use segue_proto::limits::{CHUNK, MAX_PACKET, MAX_RELAYS};
use segue_proto::wire::{DeviceId, Exts, Message, Relay};
use segue_quic::{Builder, Code, Error, Node, SessionId, Stats};

use crate::capture::{self, Secrets, found};
use crate::delegate::{Host, serve};
use crate::meet::{LEN, end, half, holds, open, open_at, stats};
use crate::raw::{RawLink, Tickets, client};
use crate::sealed::{CANARY, finds};
use crate::util::*;

/// One of two devices in memory that trust one another, and take no calls.
fn of_two(n: u8) -> Builder {
    Node::builder().in_memory().key(key(n)).trust(id(3 - n))
}

/// Whether the link with a device goes by way of a service.
async fn is_relayed(node: &Node, device: DeviceId) -> bool {
    node.link_info(device).await.unwrap().is_some_and(|link| link.relayed)
}

/// The two are introduced, and have a link by way of the service.
async fn relayed(one: &Node, two: &Node) {
    within("the introduction", one.introduce(two.device())).await.unwrap();
    within("the link", two.linked(one.device())).await.unwrap();
    assert!(is_relayed(one, two.device()).await && is_relayed(two, one.device()).await);
}

#[tokio::test]
async fn two_nodes_that_take_no_calls_hand_over_and_the_service_gets_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (wire, secrets) = (capture::Relay::to(host.local_addr().unwrap()).await, Arc::new(Secrets::default()));
    let one = open_at(of_two(1).key_log(secrets.clone()), &host, wire.addr).await;
    let two = open(of_two(2), &host).await;
    relayed(&one, &two).await;
    let session = one.create_session("notes", &[two.device()]).await.unwrap();
    let content = CANARY.repeat(LEN / CANARY.len());
    one.write_bytes(session, "film", content.clone()).await.unwrap();
    holds(&two, session, "film", &content).await;
    push(&one, &two, session).await;
    assert_moved(&one, &two, session).await;
    let back = noise(300_000, 5);
    two.write_bytes(session, "back", back.clone()).await.unwrap();
    holds(&one, session, "back", &back).await;
    for (node, other) in [(&one, &two), (&two, &one)] {
        within("the exchange", node.exchanged(host.device())).await.unwrap();
        assert!(is_relayed(node, other.device()).await);
    }
    let (one_did, two_did, host_did) = (stats(&one).await, stats(&two).await, stats(&host).await);
    assert!(two_did.bulk_rx >= content.len() as u64 && one_did.bulk_rx >= back.len() as u64);
    assert_eq!((one_did.mailed_tx, two_did.mailed_tx, two_did.mailed_rx), (0, 0, 0), "no content in the mailbox");
    assert_eq!(host_did.relays, 2);
    assert!(host_did.relayed > (content.len() + back.len()) as u64, "{host_did:?}");
    end([one, two, host]).await;
    let heard = wire.end(&secrets);
    assert!(found(&heard.up, id(2).as_bytes()), "the wire was read: RELAY names the other");
    assert!(heard.up.iter().map(Vec::len).sum::<usize>() > content.len(), "and what it carried");
    assert!(!heard.finds(CANARY));
    assert!(!finds(&dir.path().join("box"), CANARY) && !finds(&dir.path().join("host"), CANARY));
    let kept = std::fs::read_dir(dir.path().join("box")).unwrap().map(|it| it.unwrap().metadata().unwrap().len());
    assert!(kept.sum::<u64>() < LEN as u64, "it has no room for it either");
}

/// Two devices of other families, that can't dial one another though both take calls, and content at the first that is read
/// through a gate, which lets half of it pass.
struct Apart {
    one: Node,
    two: Node,
    host: Node,
    gate: Arc<Gate>,
    entry: Entry,
    content: Vec<u8>,
}

fn host_on(dir: &Path, addr: SocketAddr) -> Builder {
    let builder = Node::builder().state_dir(dir.join("host")).witness(dir.join("witness")).key(key(9)).listen(addr);
    builder.accept_unknown(true).host_mailbox(Host::open(dir, Duration::ZERO))
}

impl Apart {
    async fn begin(dir: &Path) -> Apart {
        let host = host_on(dir, (Ipv6Addr::UNSPECIFIED, 0).into()).open().await.unwrap();
        let [v4, v6] = at(host.local_addr().unwrap().port());
        let content = noise(LEN, 3);
        let (gate, entry) = Gate::new("film", content.clone(), LEN / 2);
        let source = Arc::new(Gated(gate.clone()));
        let one = open_at(of_two(1).blob_source(source).listen(SocketAddr::new(v4.ip(), 0)), &host, v4).await;
        let two = open_at(of_two(2).listen(SocketAddr::new(v6.ip(), 0)), &host, v6).await;
        Apart { one, two, host, gate, entry, content }
    }

    async fn session(&self) -> SessionId {
        let session = self.one.create_session("notes", &[self.two.device()]).await.unwrap();
        self.one.put_entry(session, self.entry.clone()).await.unwrap();
        session
    }

    /// Half of the content has come over the link.
    async fn half(&self) -> SessionId {
        relayed(&self.one, &self.two).await;
        let session = self.session().await;
        half(&self.two, |stats| stats.bulk_rx).await;
        assert_eq!(stats(&self.one).await.mailed_tx, 0, "there is a link");
        session
    }
}

/// The addresses of a node that takes calls at all of them.
fn at(port: u16) -> [SocketAddr; 2] {
    [([127, 0, 0, 1], port).into(), (Ipv6Addr::LOCALHOST, port).into()]
}

/// What a device got by which way, beside what it had.
fn split(did: &Stats) -> (u64, u64) {
    (did.bulk_rx, did.mailed_rx)
}

#[tokio::test]
async fn content_goes_on_over_the_direct_link_that_takes_the_place_of_a_relayed_one() {
    let dir = tempfile::tempdir().unwrap();
    let it = Apart::begin(dir.path()).await;
    let session = it.half().await;
    // Those in flight may come twice, and what was read counts once it is verified.
    let some = async {
        loop {
            match stats(&it.two).await.chunks_rx {
                0..16 => tokio::task::yield_now().await,
                chunks => return chunks,
            }
        }
    };
    let before = within("verified chunks", some).await;
    // There comes to be a way: from one network into the other.
    let way = capture::Relay::to(it.two.local_addr().unwrap()).await;
    it.one.connect(way.addr, it.two.device()).await.unwrap();
    let direct = async {
        while is_relayed(&it.one, it.two.device()).await || is_relayed(&it.two, it.one.device()).await {
            tokio::task::yield_now().await;
        }
    };
    within("the direct link", direct).await;
    it.gate.open_wide();
    holds(&it.two, session, "film", &it.content).await;
    let did = stats(&it.two).await;
    let all = (LEN / CHUNK) as u64 + 1;
    assert!(did.chunks_rx < all + before, "the file and its list came, and what was there before came again: {did:?}");
    assert_eq!(did.mailed_rx, 0);
    end([it.one, it.two, it.host]).await;
}

#[tokio::test]
async fn content_goes_on_by_the_mailbox_when_a_relayed_link_ends() {
    let dir = tempfile::tempdir().unwrap();
    let it = Apart::begin(dir.path()).await;
    let session = it.half().await;
    it.two.forget(it.one.device()).await.unwrap();
    it.gate.open_wide();
    holds(&it.two, session, "film", &it.content).await;
    let (got, mailed) = split(&stats(&it.two).await);
    assert!((1..LEN as u64).contains(&got) && mailed > 0, "{got} {mailed}");
    end([it.one, it.two, it.host]).await;
}

#[tokio::test]
async fn content_goes_on_by_the_mailbox_of_a_service_that_is_killed_and_passes_nothing_on_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let mut it = Apart::begin(dir.path()).await;
    let session = it.half().await;
    it.host.abort().await;
    it.host = host_on(dir.path(), (Ipv6Addr::UNSPECIFIED, 0).into()).relay(false).open().await.unwrap();
    for (node, addr) in [&it.one, &it.two].into_iter().zip(at(it.host.local_addr().unwrap().port())) {
        node.use_mailbox(addr, it.host.device()).await.unwrap();
    }
    it.gate.open_wide();
    holds(&it.two, session, "film", &it.content).await;
    let (got, mailed) = split(&stats(&it.two).await);
    assert!((1..LEN as u64).contains(&got) && mailed > 0, "{got} {mailed}");
    assert!(it.one.link_info(it.two.device()).await.unwrap().is_none(), "no link is left");
    assert_eq!(stats(&it.host).await.relays, 0);
    end([it.one, it.two, it.host]).await;
}

#[tokio::test]
async fn one_that_has_no_links_by_way_of_services_gets_everything_by_the_mailbox() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (open(of_two(1), &host).await, open(of_two(2).relay(false), &host).await);
    let none = within("the introduction", one.introduce(two.device())).await.unwrap_err();
    assert!(matches!(none, Error::Introduction { code: Code::SERVICE_NONE, .. }), "{none}");
    let session = one.create_session("notes", &[two.device()]).await.unwrap();
    let content = noise(300_000, 2);
    one.write_bytes(session, "film", content.clone()).await.unwrap();
    holds(&two, session, "film", &content).await;
    assert_eq!(stats(&two).await.bulk_rx, 0);
    end([one, two, host]).await;
}

/// A device made of bare quinn at a service.
async fn raw(n: u8, host: &Node, names: &[DeviceId]) -> RawLink {
    let client = client(Arc::new(Tickets::default()));
    let mut link = RawLink::dial(&client, host.local_addr().unwrap(), key(n)).await;
    link.authenticate().await;
    link.discover(host.device(), names).await;
    link
}

/// A stream of packets for a device.
async fn begin(link: &RawLink, to: DeviceId) -> SendStream {
    let mut stream = within("a stream", link.connection.open_uni()).await.unwrap();
    stream.write_all(&Message::from(Relay { device: to, ext: Exts::empty() }).to_frame()).await.unwrap();
    stream
}

fn packet(fill: u8, len: usize) -> Vec<u8> {
    let mut bytes = (len as u16).to_be_bytes().to_vec();
    bytes.resize(2 + len, fill);
    bytes
}

/// The stream that the service opens, whose RELAY names this device.
async fn passed(link: &RawLink, from: DeviceId) -> RecvStream {
    let mut stream = within("a stream", link.connection.accept_uni()).await.unwrap();
    let first = Message::from(Relay { device: from, ext: Exts::empty() }).to_frame();
    let mut frame = vec![0; first.len()];
    within("RELAY", stream.read_exact(&mut frame)).await.unwrap();
    assert_eq!(frame, first);
    stream
}

async fn stopped(stream: &SendStream, code: Code) {
    let stopped = within("the stop", stream.stopped()).await.unwrap();
    assert_eq!(stopped, Some(VarInt::from_u32(code.number().into())), "{code}");
}

#[tokio::test]
async fn packets_go_between_those_alone_that_named_one_another_and_end_as_they_end() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (raw(1, &host, &[id(2), id(3), id(4)]).await, raw(2, &host, &[id(1)]).await);
    let three = raw(3, &host, &[id(2)]).await;
    // The third names another, the fourth was never there, and the second didn't name the third.
    for (from, to) in [(&one, 3), (&one, 4), (&three, 2)] {
        stopped(&begin(from, id(to)).await, Code::SERVICE_AWAY).await;
    }
    let mut out = begin(&one, id(2)).await;
    out.write_all(&[packet(7, 1), packet(8, MAX_PACKET)].concat()).await.unwrap();
    let mut came = passed(&two, id(1)).await;
    let mut bytes = vec![0; 3 + 2 + MAX_PACKET];
    within("packets", came.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes, [packet(7, 1), packet(8, MAX_PACKET)].concat());
    came.stop(VarInt::from_u32(77)).unwrap();
    stopped(&out, Code::from_number(77)).await;
    // A reset, and an end.
    let mut out = begin(&one, id(2)).await;
    let mut came = passed(&two, id(1)).await;
    out.reset(VarInt::from_u32(78)).unwrap();
    let reset = within("the reset", came.read_to_end(1)).await.unwrap_err();
    assert!(reset.to_string().contains("78"), "{reset}");
    let mut out = begin(&one, id(2)).await;
    out.write_all(&packet(9, 9)).await.unwrap();
    out.finish().unwrap();
    let mut came = passed(&two, id(1)).await;
    assert_eq!(within("the end", came.read_to_end(100)).await.unwrap(), packet(9, 9));
    // No packet has no length, or one beyond the cap.
    for wrong in [[0, 0], (MAX_PACKET as u16 + 1).to_be_bytes()] {
        let mut out = begin(&one, id(2)).await;
        let _came = passed(&two, id(1)).await;
        out.write_all(&wrong).await.unwrap();
        stopped(&out, Code::WIRE_LENGTH).await;
    }
    // The receiver's link goes.
    let out = begin(&one, id(2)).await;
    let _came = passed(&two, id(1)).await;
    two.connection.close(VarInt::from_u32(0), b"");
    stopped(&out, Code::LINK_LOST).await;
    stopped(&begin(&one, id(2)).await, Code::SERVICE_AWAY).await;
    host.shutdown().await;
}

#[tokio::test]
async fn a_device_has_so_many_streams_and_no_more_and_an_end_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (raw(1, &host, &[id(2)]).await, raw(2, &host, &[id(1)]).await);
    let mut streams = Vec::new();
    for _ in 0..MAX_RELAYS {
        streams.push((begin(&one, id(2)).await, passed(&two, id(1)).await));
    }
    stopped(&begin(&one, id(2)).await, Code::LIMIT_REQUESTS).await;
    let (mut out, mut came) = streams.pop().unwrap();
    out.finish().unwrap();
    assert!(within("the end", came.read_to_end(0)).await.unwrap().is_empty());
    let room = async {
        while stats(&host).await.relays_closed == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("room", room).await;
    let _out = begin(&one, id(2)).await;
    passed(&two, id(1)).await;
    host.shutdown().await;
}

#[tokio::test]
async fn one_that_passes_nothing_on_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let host = host_on(dir.path(), loopback()).relay(false).open().await.unwrap();
    let (one, _two) = (raw(1, &host, &[id(2)]).await, raw(2, &host, &[id(1)]).await);
    stopped(&begin(&one, id(2)).await, Code::SERVICE_NONE).await;
    host.shutdown().await;
    let no_service = memory(4).open().await.unwrap();
    let client = client(Arc::new(Tickets::default()));
    let mut link = RawLink::dial(&client, no_service.local_addr().unwrap(), key(1)).await;
    link.authenticate().await;
    stopped(&begin(&link, id(2)).await, Code::SERVICE_NONE).await;
    no_service.shutdown().await;
}

#[tokio::test]
async fn packets_are_taken_of_a_mailbox_and_of_a_device_that_may_be_met() {
    let nobody = tokio::net::UdpSocket::bind(loopback()).await.unwrap();
    let one = of_two(1).listen(loopback()).open().await.unwrap();
    // The mailbox calls itself.
    one.use_mailbox(nobody.local_addr().unwrap(), id(9)).await.unwrap();
    let client = client(Arc::new(Tickets::default()));
    let mut mailbox = RawLink::dial(&client, one.local_addr().unwrap(), key(9)).await;
    mailbox.authenticate().await;
    stopped(&begin(&mailbox, id(7)).await, Code::AUTH_UNKNOWN_DEVICE).await;
    let _out = begin(&mailbox, id(2)).await;
    passed(&mailbox, id(2)).await;
    one.abort().await;
}

/// What a device sends by way of the service, so much that a window wouldn't hold it.
const FLOOD: usize = 16 << 20;

#[tokio::test]
async fn one_that_takes_nothing_holds_up_neither_the_sender_nor_another() {
    let dir = tempfile::tempdir().unwrap();
    let host = serve(dir.path(), Duration::ZERO).await;
    let (one, two) = (raw(1, &host, &[id(2), id(3)]).await, raw(2, &host, &[id(1)]).await);
    let three = raw(3, &host, &[id(1)]).await;
    let mut flood = begin(&one, id(2)).await;
    let _unread = passed(&two, id(1)).await;
    let packets = packet(1, MAX_PACKET).repeat(FLOOD / MAX_PACKET);
    within("the flood", flood.write_all(&packets)).await.unwrap();
    let mut out = begin(&one, id(3)).await;
    let mut came = passed(&three, id(1)).await;
    out.write_all(&packet(5, 100)).await.unwrap();
    let mut bytes = vec![0; 102];
    within("the packet", came.read_exact(&mut bytes)).await.unwrap();
    assert_eq!(bytes, packet(5, 100));
    let dropped = async {
        while stats(&host).await.relay_dropped == 0 {
            tokio::task::yield_now().await;
        }
    };
    within("dropped packets", dropped).await;
    host.shutdown().await;
}
