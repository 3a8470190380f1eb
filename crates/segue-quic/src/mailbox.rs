//! Mailboxes: using one, so that devices converge that are never online together, and hosting one.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;

use segue_proto::wire::{DeviceId, Message};
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
    fn handle(&mut self, now: Instant, came: Vec<Hosted>) -> Result<Vec<(Ticket, Message)>, String>;
}

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
            driver.keep(mailbox, addr);
            Ok(())
        })
        .await
    }

    /// Uses a mailbox no longer. What is in it stays there.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn leave_mailbox(&self, mailbox: DeviceId) -> Result<(), Error> {
        self.call(move |driver| driver.core.leave_mailbox(&mailbox)).await?;
        self.forget(mailbox).await
    }

    /// Waits until all that this device has is in a mailbox that it uses, and all that was there is here, durably.
    /// [`crate::Event::Exchanged`] says so, too, and [`crate::Event::Refused`] why it may take longer.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn exchanged(&self, mailbox: DeviceId) -> Result<(), Error> {
        let told = self.call(move |driver| {
            let done = driver.core.is_exchanged(&mailbox) && driver.core.last_lsn() == driver.core.durable_lsn();
            (!done).then(|| driver.waits.exchange(mailbox))
        });
        match told.await? {
            Some(told) => told.await.map_err(|_| Error::Stopped),
            None => Ok(()),
        }
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
        while let Ok(first) = told.recv() {
            let came = std::iter::once(first).chain(told.try_iter()).take(BATCH).collect();
            let input = match host.handle(core_time(origin.elapsed()), came) {
                Ok(answers) if answers.is_empty() => continue,
                Ok(answers) => Input::Call(Box::new(move |driver: &mut Driver| driver.answer_hosted(answers))),
                Err(text) => Input::StoreFailed(text),
            };
            if inbox.blocking_send(input).is_err() {
                break;
            }
        }
        drop((host, alive));
    });
    tell
}

fn core_time(elapsed: Duration) -> Instant {
    Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

impl Driver {
    fn answer_hosted(&mut self, answers: Vec<(Ticket, Message)>) {
        let now = self.now();
        for (ticket, answer) in answers {
            // What it says is durable: the host has a store of its own.
            self.core.answer_hosted(now, ticket, Lsn::default(), &answer);
        }
    }
}
