//! Session Handoff 2 as its document has it: a source and a target, either of which asks.

use segue_proto::Generation;
use segue_proto::wire::{DeviceId, Hash, SessionId};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use crate::error::Error;
use crate::event::{EVENT_QUEUE, Event};
use crate::files::FileInfo;
use crate::handoff_error::HandoffError;
use crate::node::{Node, Receipt, Request, RequestKind};

/// The two devices of a handoff, one of which is this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Who gives the session.
    pub source: DeviceId,
    /// Who takes it.
    pub target: DeviceId,
}

/// A session that goes from a source to a target, seen from either of them.
///
/// What generation 2 adds is used where both ends speak it; on a lower link the same calls do what that link can
/// (GEN-PAIR-7, GEN-PAIR-10).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use segue_quic::{Ends, HandoffEvent, HandoffV2, Node};
///
/// // 1. and 2.: both sides are there, over a connection that is encrypted, and on which each proves who it is.
/// let laptop = Node::builder().in_memory().open().await?;
/// let phone = Node::builder().in_memory().listen("127.0.0.1:0".parse()?).trust(laptop.device()).open().await?;
/// let session = laptop.create_session("chat", &[phone.device()]).await?;
/// laptop.write_bytes(session, "draft.txt", "see you at").await?;
/// laptop.write_view(session, "cursor 10").await?;
/// laptop.connect(phone.local_addr().ok_or("no address")?, phone.device()).await?;
///
/// let ends = Ends { source: laptop.device(), target: phone.device() };
/// let source = HandoffV2::init(&laptop, session, ends).await?;
/// let target = HandoffV2::init(&phone, session, ends).await?;
///
/// // 3.: what comes, on the target.
/// let heard = tokio::spawn({
///     let events = HandoffV2::init(&phone, session, ends).await?;
///     async move {
///         let (mut asked, mut data) = (false, false);
///         while let Some(event) = events.next_event().await {
///             match event {
///                 HandoffEvent::RequestHandoff(_) => asked = true,
///                 HandoffEvent::Data { .. } => data = true,
///             }
///         }
///         (asked, data)
///     }
/// });
///
/// // 4. and 5.: the source hands over, the target takes what comes and goes on.
/// let (sent, draft) = tokio::join!(
///     source.request_handoff(),
///     target.accept_data(|data| data.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()),
/// );
/// assert_eq!(draft?, ["draft.txt"]);
/// println!("{} owns the session since record {}", phone.device(), sent?.record);
/// assert_eq!(phone.read_file(session, "draft.txt").await?, b"see you at");
///
/// // And back, asked for by the other side: the laptop is the target now, and the phone's user is asked.
/// let back = Ends { source: phone.device(), target: laptop.device() };
/// phone.on_request_handoff(|phone, request| async move { phone.accept_handoff(request.token).await.map(drop) });
/// HandoffV2::init(&laptop, session, back).await?.request_handoff().await?;
/// laptop.write_view(session, "cursor 12").await?;
/// # phone.shutdown().await;
/// # let (asked, data) = heard.await?;
/// # assert!(asked && data, "asked {asked}, data {data}");
/// # Ok(()) }
/// ```
pub struct HandoffV2 {
    node: Node,
    session: SessionId,
    ends: Ends,
    events: Mutex<mpsc::Receiver<Event>>,
}

/// What happens to a handoff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoffEvent {
    /// All data that the source announced is here, verified and durable; the source still owns the session.
    Data {
        /// The root of it.
        root: Hash,
    },
    /// The other end asks: a target is offered the session, a source is asked for it. Answer by
    /// [`HandoffV2::accept_data`], or by [`Node::accept_handoff`] and [`Node::reject_handoff`].
    RequestHandoff(Request),
}

/// A session's data, as its new owner has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The session.
    pub session: SessionId,
    /// By which record it is this device's.
    pub receipt: Receipt,
    /// Its files and directories; [`Node::read_file`] reads them.
    pub files: Vec<FileInfo>,
    /// The view state: where the user stood.
    pub view: Option<Vec<u8>>,
}

impl HandoffV2 {
    /// Joins this device, as source or as target, with the other end of a handoff, and waits until they are linked.
    /// The session may be unknown to a target.
    ///
    /// # Errors
    /// [`HandoffError::NotMember`] if this device is neither end, [`HandoffError::ThisDevice`] if it is both,
    /// [`HandoffError::UnknownDevice`] and [`HandoffError::Offline`] if there is no link, and none comes in the time
    /// that a handoff may take.
    pub async fn init(node: &Node, session: SessionId, ends: Ends) -> Result<HandoffV2, HandoffError> {
        let me = node.device();
        let other = match () {
            () if ends.source == ends.target => return Err(HandoffError::ThisDevice { session, device: me }),
            () if ends.source == me => ends.target,
            () if ends.target == me => ends.source,
            () => return Err(HandoffError::NotMember { session, device: me }),
        };
        let events = node.tap(EVENT_QUEUE, move |event| concerns(event, session, other));
        node.call(move |driver| driver.may_meet(session, other)).await.map_err(|_| HandoffError::Stopped)??;
        match timeout(node.handoff_timeout(), node.linked(other)).await {
            Ok(linked) => linked.map_err(|_| HandoffError::Stopped)?,
            Err(_) => return Err(HandoffError::Offline { session, device: other }),
        }
        Ok(HandoffV2 { node: node.clone(), session, ends, events: Mutex::new(events) })
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The two devices.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// The generation at which the two are linked now, if they are.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn generation(&self) -> Result<Option<Generation>, Error> {
        let other = self.other();
        self.node.call(move |driver| driver.generation_with(&other)).await
    }

    /// What happened since [`HandoffV2::init`], one event at a time; none once the node has stopped. An application that
    /// doesn't read loses the latest events beyond some thousand.
    pub async fn next_event(&self) -> Option<HandoffEvent> {
        let mut events = self.events.lock().await;
        loop {
            let token = match events.recv().await? {
                Event::Data { root, .. } => return Some(HandoffEvent::Data { root }),
                Event::HandoffRequest { token, .. } | Event::RequestHandoff { token, .. } => token,
                _ => continue,
            };
            let requests = self.node.requests().await.ok()?;
            // One that was answered or withdrawn meanwhile is no news.
            if let Some(request) = requests.into_iter().find(|request| request.token == token) {
                return Some(HandoffEvent::RequestHandoff(request));
            }
        }
    }

    /// Asks for the handoff, from either end: a source offers the session, a target asks for it. Returns when the
    /// target's record is durable and both know.
    ///
    /// # Errors
    /// As [`Node::initiate_handoff`].
    pub async fn request_handoff(&self) -> Result<Receipt, HandoffError> {
        match self.is_source() {
            true => self.node.initiate_handoff(self.session, self.ends.target).await,
            false => self.node.request_handoff(self.session, self.ends.source).await,
        }
    }

    /// Target: accepts what the source sends, waiting for its request if none is there, and gives `process` the data
    /// once this device owns it.
    ///
    /// # Errors
    /// As [`Node::accept_handoff`]; [`HandoffError::TimedOut`] if the source asks for nothing in the time that a handoff
    /// may take; [`HandoffError::AlreadyPrimary`] at the source.
    pub async fn accept_data<T>(&self, process: impl FnOnce(Data) -> T) -> Result<T, HandoffError> {
        let (session, device) = (self.session, self.ends.source);
        if self.is_source() {
            return Err(HandoffError::AlreadyPrimary { session });
        }
        let request = match timeout(self.node.handoff_timeout(), self.offered()).await {
            Ok(request) => request?,
            Err(_) => return Err(HandoffError::TimedOut { session, device }),
        };
        let receipt = self.node.accept_handoff(request.token).await?;
        let files = self.node.files(session).await.map_err(|_| HandoffError::Stopped)?;
        let view = self.node.view(session).await.map_err(|_| HandoffError::Stopped)?;
        Ok(process(Data { session, receipt, files, view }))
    }

    /// The source's request, when it is there.
    async fn offered(&self) -> Result<Request, HandoffError> {
        let (session, source) = (self.session, self.ends.source);
        let mut tap = self.node.tap(1, move |event| concerns(event, session, source));
        loop {
            let requests = self.node.requests().await.map_err(|_| HandoffError::Stopped)?;
            let offered = requests.into_iter().find(|request| {
                let offer = matches!(request.kind, RequestKind::Offered { .. });
                offer && (request.session, request.peer) == (session, source)
            });
            if let Some(request) = offered {
                return Ok(request);
            }
            tap.recv().await.ok_or(HandoffError::Stopped)?;
        }
    }

    fn is_source(&self) -> bool {
        self.ends.source == self.node.device()
    }

    fn other(&self) -> DeviceId {
        if self.is_source() { self.ends.target } else { self.ends.source }
    }
}

/// Whether an event is about a session and its other end.
fn concerns(event: &Event, session: SessionId, other: DeviceId) -> bool {
    match event {
        Event::Data { session: of, .. } => *of == session,
        Event::HandoffRequest { session: of, from, .. } => (*of, *from) == (session, other),
        Event::RequestHandoff { session: of, by, .. } => (*of, *by) == (session, other),
        _ => false,
    }
}
