//! Mailboxes: using one, so that devices converge that are never online together, and hosting one.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use segue_proto::wire::{DeviceId, Hash, Message, SessionId};
use segue_proto::{Hosted, Instant, Lsn, Ticket};
use tokio::time::Instant as Clock;

use crate::driver::{Driver, Input};
use crate::error::Error;
use crate::node::Node;

/// What keeps the boxes of a mailbox that a node hosts. It runs on a thread of its own, so it may wait for its disk.
pub trait MailboxHost: Send + 'static {
    /// Answers what came meanwhile: one sync may make many envelopes durable.
    ///
    /// # Errors
    /// It can't go on. The node halts, and answers nothing of this.
    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Said, String>;

    /// Whether it keeps sessions in custody, and signs for those that are delegated to this node. By default it doesn't.
    fn keeps_custody(&self) -> bool {
        false
    }

    /// Whether its store is older than the node's journal remembers: an older copy was put back. `marks` is what
    /// [`Said::mark`] was last.
    fn was_put_back(&self, mark: u64) -> bool {
        let _ = mark;
        false
    }

    /// The node opens: its own key, and its tenure as one that signs for others.
    ///
    /// # Errors
    /// The store can't be used.
    fn begin(&mut self, now: Instant, device: DeviceId, tenure: Hash) -> Result<(), String> {
        let _ = (now, device, tenure);
        Ok(())
    }

    /// When [`MailboxHost::handle`] is to be called though nothing came.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

/// What a host has to say.
#[derive(Debug, Default)]
pub struct Said {
    /// Answers, each with the request that it is for.
    pub answers: Vec<(Ticket, Message)>,
    /// Messages of sessions in custody, and introductions, each for a device.
    pub tells: Vec<(DeviceId, Message)>,
    /// Records that are to be signed with the node's key: session, record, bytes.
    pub signs: Vec<(SessionId, Hash, Vec<u8>)>,
    /// Requests that have had all the answer that they get.
    pub closes: Vec<Ticket>,
    /// How often the host's store changed what it signs by: the node's journal remembers it, before any of this leaves.
    pub mark: u64,
}

/// Where the node's journal keeps the host's mark.
pub(crate) const MARK: &[u8] = b"mark";

/// What is said of a host that panicked. What it didn't answer, its devices ask again.
const PANICKED: &str = "the mailbox's host panicked: its store may be corrupt (STORE_CORRUPT); start again, and if that repeats, put a copy back";

/// What is handed to a host at once. From: its full envelopes are 16 MiB.
const BATCH: usize = 256;

impl Node {
    /// Keeps a link to a mailbox from now on, as [`Node::connect`] does to a device, and exchanges with it whatever the
    /// sessions here hold: sealed, so that it can't be read there. The mailbox is trusted with nothing else. Not
    /// remembered: say it at every start.
    ///
    /// # Errors
    /// The node has stopped, or the device is this one or revoked.
    pub async fn use_mailbox(&self, addr: SocketAddr, mailbox: DeviceId) -> Result<(), Error> {
        self.command("use the mailbox", move |driver| {
            let now = driver.now();
            driver.core.use_mailbox(now, mailbox)?;
            driver.meets.uses(mailbox);
            driver.keep(mailbox, vec![addr]);
            Ok(())
        })
        .await
    }

    /// Uses a mailbox no longer. What is in it stays there.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn leave_mailbox(&self, mailbox: DeviceId) -> Result<(), Error> {
        let left = self.call(move |driver| {
            driver.core.leave_mailbox(&mailbox);
            driver.meets.leaves(&mailbox);
        });
        left.await?;
        self.forget(mailbox).await
    }

    /// Waits until all that this device has is in a mailbox that it uses, and all that was there is here, durably.
    /// [`crate::Event::Exchanged`] says so, too, and [`crate::Event::Refused`] why it may take longer.
    ///
    /// # Errors
    /// The mailbox lets this device in under no account. The node has stopped.
    pub async fn exchanged(&self, mailbox: DeviceId) -> Result<(), Error> {
        let told = self.call(move |driver| {
            if driver.core.is_locked_out(&mailbox) {
                return Err(Error::Login { service: mailbox, code: driver.waits.locked_out(&mailbox) });
            }
            let done = driver.core.is_exchanged(&mailbox) && driver.core.last_lsn() == driver.core.durable_lsn();
            Ok((!done).then(|| driver.waits.exchange(mailbox)))
        });
        match told.await?? {
            Some(told) => told.await.map_err(|_| Error::Stopped)?,
            None => Ok(()),
        }
    }

    /// The files of a session that a mailbox isn't given, though this device holds them and they go along: those that are
    /// too long for it, and those for which it had no room, by path with their bytes. Who lacks them gets them over a link
    /// alone.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn not_mailed(&self, mailbox: DeviceId, session: SessionId) -> Result<Vec<(String, u64)>, Error> {
        let left = self.call(move |driver| driver.core.not_mailed(&mailbox, &session)).await?;
        Ok(left.into_iter().map(|entry| (entry.path.to_string(), entry.len)).collect())
    }
}

/// The way to the thread of a host.
pub(crate) type ToHost = mpsc::Sender<Hosted>;

/// Starts the thread of a host. It ends when the way to it is dropped, or nobody takes its answers; `alive` then.
pub(crate) fn host(
    mut host: Box<dyn MailboxHost>,
    origin: Clock,
    inbox: tokio::sync::mpsc::Sender<Input>,
    alive: tokio::sync::mpsc::Sender<()>,
) -> ToHost {
    let (tell, told) = mpsc::channel::<Hosted>();
    std::thread::spawn(move || {
        let mut mark = None;
        loop {
            let now = core_time(origin.elapsed());
            let wait = host.next_timeout().map(|at| Duration::from_micros(at.since(now)));
            let first = match wait {
                Some(wait) => told.recv_timeout(wait),
                None => told.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            };
            let came = match first {
                Ok(first) => std::iter::once(first).chain(told.try_iter()).take(BATCH).collect(),
                Err(mpsc::RecvTimeoutError::Timeout) => Vec::new(),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            // A database panics over some of what it can't have written (SEC-STORE-1).
            let said = catch_unwind(AssertUnwindSafe(|| host.handle(core_time(origin.elapsed()), came)));
            let broken = said.is_err();
            let input = match said.unwrap_or_else(|_| Err(PANICKED.to_owned())) {
                Ok(said) => {
                    let new = mark.replace(said.mark) != Some(said.mark);
                    Input::Call(Box::new(move |driver: &mut Driver| driver.say_hosted(said, new)))
                }
                Err(text) => Input::StoreFailed(text),
            };
            if inbox.blocking_send(input).is_err() || broken {
                break;
            }
        }
        drop(catch_unwind(AssertUnwindSafe(|| drop(host))));
        drop(alive);
    });
    tell
}

fn core_time(elapsed: Duration) -> Instant {
    Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

impl Driver {
    /// What the host's store holds is durable. Its mark is kept in the journal first, so that a store that is put back
    /// later shows.
    fn say_hosted(&mut self, said: Said, new: bool) {
        let (now, core) = (self.now(), &mut self.core);
        let after = match new && said.mark > 0 {
            true => core.keep_hosted(vec![(MARK.to_vec(), said.mark.to_be_bytes().to_vec())]),
            false => core.last_lsn(),
        };
        said.answers.into_iter().for_each(|(ticket, answer)| {
            core.answer_hosted(now, ticket, Lsn::default(), &answer);
        });
        said.tells.into_iter().for_each(|(to, message)| core.tell_hosted(now, to, after, &message));
        said.signs.into_iter().for_each(|(session, record, bytes)| core.sign_hosted(session, record, bytes));
        said.closes.into_iter().for_each(|ticket| core.close_hosted(ticket));
    }
}
