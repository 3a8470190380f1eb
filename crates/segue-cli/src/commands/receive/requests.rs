//! Whether a request is granted, and by whom that is decided.

use std::time::Duration;

use segue_quic::{Code, HandoffError, Receipt, Request, RequestKind, Token};

use super::Receiver;
use super::place::place_for;
use crate::commands::sync::settled;
use crate::failure::Failure;
use crate::index::Note;
use crate::terminal::{ask, note, say, unask};
use crate::watch::why;

/// How long nothing may come of a mailbox before a session is accepted without it. From: a few round trips.
const SILENCE: Duration = Duration::from_secs(5);

impl Receiver {
    /// Decides, or asks the user.
    pub(super) async fn decide(&mut self, request: Request) -> Result<(), Failure> {
        let (session, peer) = (request.session, request.peer);
        let known = self.args.from.is_empty() || self.args.from.iter().any(|who| who.id() == peer);
        if !known {
            let tell = "it takes sessions from the devices that its user named, and gives them to those alone";
            return self.reject(&request, "--from doesn't name that device", Some(tell)).await;
        }
        if self.args.yes || self.accepted.contains(&(session, peer)) {
            return self.accept(request).await;
        }
        if self.answers.is_none() {
            let why = "there is no terminal to ask at; start with --yes to accept";
            return self.reject(&request, why, Some("nobody is there to answer")).await;
        }
        self.waiting.push_back(request);
        if self.waiting.len() == 1 {
            self.ask();
        }
        Ok(())
    }

    /// The user answered the question that was asked.
    pub(super) async fn answered(&mut self, yes: bool) -> Result<(), Failure> {
        let Some(request) = self.waiting.pop_front() else { return Ok(()) };
        match yes {
            true => self.accept(request).await?,
            false => self.reject(&request, "you said no", None).await?,
        }
        self.ask();
        Ok(())
    }

    /// A request is void.
    pub(super) fn withdrawn(&mut self, token: Token, code: Code) {
        let first = self.waiting.front().is_some_and(|request| request.token == token);
        self.waiting.retain(|request| request.token != token);
        if first {
            note(format_args!("\nit was withdrawn ({})", code.name()));
            unask();
            self.ask();
        }
    }

    /// Requests whose events were dropped.
    pub(super) async fn catch_up(&mut self) -> Result<(), Failure> {
        for request in self.device.node.requests().await? {
            if !self.waiting.iter().any(|known| known.token == request.token) {
                self.decide(request).await?;
            }
        }
        self.adopt_all().await?;
        self.refresh().await
    }

    /// A handoff that was accepted is over.
    pub(super) async fn over(
        &mut self,
        request: Request,
        result: Result<Receipt, HandoffError>,
    ) -> Result<(), Failure> {
        let (session, peer) = (request.session, request.peer);
        let offered = matches!(request.kind, RequestKind::Offered { .. });
        if offered {
            self.under_way.remove(&session);
        }
        match result {
            Ok(_) if offered => self.receive(session).await,
            Ok(receipt) => {
                say(format_args!("gave session {session} to {peer}; record {}", receipt.record));
                self.looks.remove(&session);
                self.ends(session, peer).await
            }
            // Another request of the same device took its place, and tells its own end.
            Err(HandoffError::Superseded { .. } | HandoffError::UnknownRequest { .. }) => Ok(()),
            Err(error) => {
                self.flows.remove(&session);
                note(why(&self.device.node, self.mailbox(), &error).await);
                Ok(())
            }
        }
    }

    fn ask(&self) {
        let Some(request) = self.waiting.front() else { return };
        let (session, peer) = (request.session, request.peer);
        match &request.kind {
            RequestKind::Offered { name } => {
                ask(format_args!("device {peer}\noffers session {name:?} ({session}). Accept?"));
            }
            RequestKind::Wanted => ask(format_args!("device {peer}\nasks for session {session}. Hand it over?")),
        }
    }

    async fn accept(&mut self, request: Request) -> Result<(), Failure> {
        self.accepted.insert((request.session, request.peer));
        let ready = match request.kind {
            RequestKind::Offered { .. } => self.prepare(&request).await,
            RequestKind::Wanted => self.bring_up_to_date(request.session).await,
        };
        if let Err(failure) = ready {
            return self.reject(&request, &failure.text, Some("it has no place for the session at present")).await;
        }
        if matches!(request.kind, RequestKind::Offered { .. }) {
            self.under_way.insert(request.session);
            if self.mailbox().is_none() {
                self.flow(request.session).await?;
            }
        }
        if let RequestKind::Offered { name } = &request.kind {
            note(format_args!("session {:?} comes from device {}", name, request.peer));
        }
        let node = self.device.node.clone();
        let mailbox = self.args.mailbox.named().map(|(_, mailbox)| mailbox);
        let offered = matches!(request.kind, RequestKind::Offered { .. });
        self.handoffs.spawn(async move {
            // The owner goes on writing until this device has what the mailbox holds.
            if let Some(mailbox) = mailbox.filter(|_| offered) {
                let _ = settled(&node, mailbox, SILENCE, None).await;
            }
            let result = node.accept_handoff(request.token).await;
            (request, result)
        });
        Ok(())
    }

    /// Finds the directory for a session that is coming, so that a process that is killed knows it later.
    async fn prepare(&mut self, request: &Request) -> Result<(), Failure> {
        let view = self.device.session(request.session).await?;
        place_for(&mut self.device, &view, &self.into)?;
        let from = request.peer;
        self.device.index.change(&request.session, |place| place.note = Some(Note::Receiving { from }))
    }

    /// Rejects a request: `why` is for this user, and `tell` for the other one, who is not told of paths and options.
    async fn reject(&mut self, request: &Request, why: &str, tell: Option<&str>) -> Result<(), Failure> {
        let (session, peer) = (request.session, request.peer);
        let what = match &request.kind {
            RequestKind::Offered { name } => format!("the offer of session {session} {name:?} by device {peer}"),
            RequestKind::Wanted => format!("the request for session {session} by device {peer}"),
        };
        note(format_args!("rejected {what}: {why}"));
        // It may have been withdrawn meanwhile.
        let _ = match tell {
            Some(reason) => self.device.node.reject_handoff_with(request.token, reason).await,
            None => self.device.node.reject_handoff(request.token).await,
        };
        Ok(())
    }
}
