//! `segue receive`: waits for sessions, and gives away those that others ask for.

mod incoming;
pub(crate) mod place;
mod requests;
mod sessions;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use segue_quic::{Code, DeviceId, Event, HandoffError, Hash, PartId, Receipt, Request, SessionId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::alarms::Alarms;
use crate::args::Receive;
use crate::commands::sync::{another, is_another};
use crate::commands::{change, conflicts, devices, receipt};
use crate::control::{self, Asked, Control};
use crate::device::{Device, resolve};
use crate::failure::{Exit, Failure};
use crate::flow::{Flow, Way};
use crate::owner;
use crate::terminal::{Answers, Interrupt, note, say};
use crate::who::Who;
use incoming::Incoming;
use watch::Watch;

/// Runs until it is interrupted, or with `--once` until one session has changed hands.
pub(crate) async fn run(mut args: Receive) -> Result<Exit, Failure> {
    std::fs::create_dir_all(&args.into).map_err(Failure::io("make the directory", &args.into))?;
    let into = args.into.canonicalize().map_err(Failure::io("find the directory", &args.into))?;
    let pick = args.only.pick()?;
    let mut interrupt = Interrupt::open()?;
    let set = |builder: segue_quic::Builder| {
        // What comes by a mailbox is here before it is offered, so that nobody waits for it then.
        let follow = args.together || args.mailbox.mailbox.is_some();
        let builder = builder.only(&pick);
        let builder = builder.accept_unknown(args.from.is_empty()).follow(follow);
        let builder = args.listen.into_iter().fold(builder, segue_quic::Builder::listen);
        let builder = args.mailbox.links(builder);
        args.from.iter().filter_map(Who::known).fold(builder, segue_quic::Builder::trust)
    };
    let device = Device::open(&args.state, set).await?;
    if let Err(failure) = ready(&device, &mut args).await {
        device.close().await;
        return Err(failure);
    }
    if let Err(failure) = crate::commands::sync::start(&device.node, &mut args.mailbox).await {
        device.close().await;
        return Err(failure);
    }
    if let Some(listen) = args.listen {
        say(format_args!("listening on {}", device.node.local_addr().unwrap_or(listen)));
    }
    say(format_args!("device {}", device.node.device()));
    let mut receiver = Receiver::new(device, args, into);
    let done = tokio::select! {
        done = receiver.run() => done,
        () = interrupt.next() => Ok(()),
    };
    receiver.device.close().await;
    if let (Some(last), Ok(())) = (receiver.last.take(), &done) {
        // The very last: a process that is killed before it ends is started again, and must not wait for another
        // session. So it ends here, without waiting for its threads.
        receiver.device.index.change(&last.session, |place| place.note = None)?;
        std::process::exit(0);
    }
    done.map(|()| Exit::Resolved)
}

/// Looks up the names of those who are vouched for, as the roster is known once the device is open, and where those are
/// that it keeps a link to.
async fn ready(device: &Device, args: &mut Receive) -> Result<(), Failure> {
    if args.to.len() > args.from.len() {
        return Err(Failure::usage(
            "each --to needs a --from: the first --to is the address of the first --from, and so on",
        ));
    }
    for who in &mut args.from {
        who.look_up(&device.node).await?;
    }
    for address in &args.to {
        resolve(address).await?;
    }
    Ok(())
}

/// Keeps links, once what the directories hold is written down: what is written before the devices meet is written
/// without knowing of each other, and both is kept.
async fn keep_links(device: &Device, args: &Receive) -> Result<(), Failure> {
    for (address, who) in args.to.iter().zip(&args.from) {
        device.node.connect(resolve(address).await?, who.id()).await?;
    }
    Ok(())
}

/// What runs.
struct Receiver {
    device: Device,
    args: Receive,
    /// `--into`, canonical.
    into: PathBuf,
    answers: Option<Answers>,
    /// Requests that wait for the user; the first is being asked about.
    waiting: VecDeque<Request>,
    /// What the user said yes to: a process at the other end that starts anew isn't asked about again.
    accepted: BTreeSet<(SessionId, DeviceId)>,
    handoffs: JoinSet<(Request, Result<Receipt, HandoffError>)>,
    /// The head by which each session came that --on-wake was run for.
    woken: BTreeMap<SessionId, Option<Hash>>,
    /// Sessions with an offer that is accepted and not over.
    under_way: BTreeSet<SessionId>,
    /// What comes over links of each session, if no mailbox is used.
    flows: BTreeMap<SessionId, Flow>,
    /// What comes where a mailbox is used: before a session is offered, and meanwhile.
    incoming: Incoming,
    /// What each directory looked like when it was read last.
    looks: BTreeMap<SessionId, sessions::Look>,
    watch: Watch,
    /// Files that are known to have several versions, and whose user was told.
    told: BTreeSet<(SessionId, PartId)>,
    alarms: Alarms,
    /// The user was told that there is no link with the mailbox.
    unreached: bool,
    /// Devices that took their leave, and haven't come back.
    left: BTreeSet<DeviceId>,
    /// The devices that the mailbox may tell that this one is there.
    named: BTreeSet<DeviceId>,
    /// With `--once`: the one is done, as soon as its other device has taken its leave.
    last: Option<Last>,
}

/// The end of `--once`.
struct Last {
    session: SessionId,
    peer: DeviceId,
    /// When it is no longer waited for.
    until: Instant,
}

/// How long the other device's leave is waited for, after which it may not know yet that the handoff is complete. From:
/// a process that was killed is started again within that time, or by hand.
const LINGER: Duration = Duration::from_secs(10);

/// How often it is looked at what comes.
const LOOK: Duration = Duration::from_millis(200);

impl Receiver {
    fn new(device: Device, args: Receive, into: PathBuf) -> Receiver {
        let answers = if args.yes { None } else { Answers::open() };
        Receiver {
            device,
            args,
            into,
            answers,
            waiting: VecDeque::new(),
            accepted: BTreeSet::new(),
            handoffs: JoinSet::new(),
            woken: BTreeMap::new(),
            under_way: BTreeSet::new(),
            flows: BTreeMap::new(),
            incoming: Incoming::default(),
            looks: BTreeMap::new(),
            watch: Watch::new(),
            told: BTreeSet::new(),
            alarms: Alarms::default(),
            unreached: false,
            left: BTreeSet::new(),
            named: BTreeSet::new(),
            last: None,
        }
    }

    async fn run(&mut self) -> Result<(), Failure> {
        let mut control = serve_control(&self.device);
        self.resume().await?;
        keep_links(&self.device, &self.args).await?;
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mailed = self.mailbox().is_some();
        while !self.is_done() {
            let answers = self.answers.as_mut().filter(|_| !self.waiting.is_empty());
            let until = self.last.as_ref().map(|last| last.until);
            let watch = self.args.together.then(|| self.watch.next());
            tokio::select! {
                biased;
                Some(Ok((request, result))) = self.handoffs.join_next() => self.over(request, result).await?,
                event = self.device.node.next_event() => match event {
                    Some(event) => self.hear(event).await?,
                    None => return Err(segue_quic::Error::Stopped.into()),
                },
                yes = next_answer(answers) => self.answered(yes).await?,
                Some(asked) = control.recv() => self.control(asked).await,
                () = deadline(until) => break,
                _ = ticks.tick(), if mailed || !self.flows.is_empty() => self.look().await?,
                () = deadline(watch), if watch.is_some() => self.watch().await,
            }
        }
        Ok(())
    }

    /// Whether the one session is received and its other device knows.
    fn is_done(&self) -> bool {
        self.last.as_ref().is_some_and(|last| self.left.contains(&last.peer))
    }

    async fn hear(&mut self, event: Event) -> Result<(), Failure> {
        self.alarms.tell(&event);
        match event {
            Event::HandoffRequest { token, session, from, name } => {
                let kind = segue_quic::RequestKind::Offered { name };
                self.decide(Request { token, session, peer: from, kind }).await
            }
            Event::RequestHandoff { token, session, by } => {
                let kind = segue_quic::RequestKind::Wanted;
                self.decide(Request { token, session, peer: by, kind }).await
            }
            Event::Withdrawn { token, code, .. } => {
                self.withdrawn(token, code);
                Ok(())
            }
            // What comes by a mailbox, or beside it, has a bar of its own, which shows what goes there, too.
            event @ (Event::Progress { .. } | Event::Mailed { .. }) if self.mailbox().is_some() => {
                self.incoming.hear(&self.device.node, &event);
                Ok(())
            }
            Event::Progress { session, done, total } => {
                self.flow(session).await?.set(done, total);
                Ok(())
            }
            // Without an offer under way: a GRANT from before the last start.
            Event::Activated { session, .. } if !self.under_way.contains(&session) => self.receive(session).await,
            Event::Changed { session, .. } | Event::Data { session, .. } | Event::Synced { session, .. }
                if !self.under_way.contains(&session) =>
            {
                if self.device.index.place(&session).is_none() {
                    self.adopt(session).await?;
                }
                match self.device.index.place(&session) {
                    Some(_) => self.changed(session).await,
                    None => Ok(()),
                }
            }
            Event::Linked { peer, .. } => {
                self.left.remove(&peer);
                if self.mailbox() == Some(peer) {
                    if std::mem::take(&mut self.unreached) {
                        note(format_args!("linked with mailbox {peer} again"));
                    }
                    self.named.clear();
                    self.show_up(peer).await?;
                }
                self.refresh().await
            }
            Event::Login { service, result: Err(code) } if code != Code::LINK_LOST => {
                note(format_args!("{}", segue_quic::Error::Login { service, code }));
                Ok(())
            }
            // Sessions came, and with them devices that may learn that this one is there.
            Event::Exchanged { mailbox } => self.show_up(mailbox).await,
            Event::Unlinked { peer: Some(peer), code, remote, .. }
                if self.mailbox() == Some(peer) && code != Code::AUTH_REVOKED =>
            {
                self.unreached(peer, code, remote).await
            }
            Event::Unlinked { peer: Some(peer), code: Code::LINK_SHUTDOWN, remote: true, .. } => {
                self.left.insert(peer);
                Ok(())
            }
            Event::Unlinked { peer: Some(peer), code: Code::AUTH_REVOKED, remote: true, .. } => {
                note(format_args!(
                    "device {peer} says that this device was revoked: the account lets it in no more, and its key never returns; what is here stays here. To take part again, link it anew with another --state"
                ));
                Ok(())
            }
            Event::Fenced { session, owner: Some(owner), copies, .. } => {
                note(format_args!("session {session}: device {owner} owns it now; {copies} labelled copies were kept"));
                Ok(())
            }
            Event::DeviceLinked { device, name, by } => {
                note(format_args!(
                    "device {by} linked a new device to your account: {name:?}, {device}; if that wasn't you, `segue revoke` it"
                ));
                Ok(())
            }
            Event::DeviceRevoked { device, by } => {
                note(format_args!("device {by} revoked device {device}"));
                Ok(())
            }
            Event::OwnerRevoked { session, owner } => {
                note(format_args!(
                    "session {session}: its owner, device {owner}, is revoked; unless another device takes it over, `segue takeover` does"
                ));
                Ok(())
            }
            Event::Lagged { .. } => self.catch_up().await,
            Event::Halted { text } => Err(Failure::failed(text)),
            _ => Ok(()),
        }
    }

    /// Says that there is no link with the mailbox, once for as long as there is none.
    async fn unreached(&mut self, mailbox: DeviceId, code: Code, remote: bool) -> Result<(), Failure> {
        let linked = self.device.node.peers().await?.contains(&mailbox);
        if linked || std::mem::replace(&mut self.unreached, true) {
            return Ok(());
        }
        let address = self.args.mailbox.mailbox.as_deref().unwrap_or_default();
        match is_another((mailbox, code, remote), mailbox) {
            true => note(another(address, mailbox)),
            false => note(format_args!(
                "no link with mailbox {mailbox} at {address}: {}; dialling again. Nothing comes by it, or goes there, meanwhile",
                code.meaning().trim_end_matches('.')
            )),
        }
        Ok(())
    }

    /// Looks at what comes.
    async fn look(&mut self) -> Result<(), Failure> {
        if self.mailbox().is_some() {
            self.incoming.look(&self.device.node, !self.under_way.is_empty()).await?;
        }
        for flow in self.flows.values_mut() {
            flow.count().await?;
        }
        Ok(())
    }

    /// What comes over links of a session, measured from the first time on that this is asked.
    async fn flow(&mut self, session: SessionId) -> Result<&mut Flow, Failure> {
        let flow = self.flows.entry(session).or_insert_with(|| Flow::new(&self.device.node, Some(session), Way::In));
        flow.count().await?;
        Ok(flow)
    }

    /// The mailbox that is used.
    fn mailbox(&self) -> Option<DeviceId> {
        self.args.mailbox.named().map(|(_, device)| device)
    }

    /// Lets the mailbox tell the devices that are known here, and those that the user named, that this one is there, if
    /// they aren't those that it was told before.
    async fn show_up(&mut self, mailbox: DeviceId) -> Result<(), Failure> {
        let named = self.args.from.iter().filter_map(Who::known);
        let known: BTreeSet<_> = named.chain(self.device.node.known_devices().await?).collect();
        if known == self.named {
            return Ok(());
        }
        let devices: Vec<_> = known.iter().copied().collect();
        self.named = known;
        let node = self.device.node.clone();
        // In a task of its own: an old mailbox doesn't answer, and nothing here waits for it.
        tokio::spawn(async move {
            if let Err(error) = node.discover(mailbox, &devices).await {
                tracing::info!(%error, "the mailbox tells nobody that this device is there");
            }
        });
        Ok(())
    }

    async fn control(&mut self, asked: Asked) {
        let answer = match asked.request.clone() {
            control::Request::Owner => owner::json(&self.device).await,
            control::Request::Receipt { session, record } => receipt::hex(&self.device, session, record).await,
            control::Request::Devices => devices::report(&self.device).await,
            control::Request::Revoke(who) => devices::put_out(&self.device, who).await,
            control::Request::Conflicts(session) => conflicts::json(&self.device, session).await,
            control::Request::Resolve { session, part, how } => {
                let done = conflicts::resolve(&self.device, session, part, how).await;
                // The directory shows it as well; what goes wrong there is told here.
                let _ = self.changed(session).await;
                done
            }
            request => change::change(&mut self.device, request).await,
        };
        asked.answer(answer).await;
    }
}

/// Takes questions in a task of its own, so that none is dropped half read.
fn serve_control(device: &Device) -> mpsc::Receiver<Asked> {
    let (tell, told) = mpsc::channel(1);
    if let Some(control) = Control::open(&device.state) {
        tokio::spawn(async move { while tell.send(control.next().await).await.is_ok() {} });
    }
    told
}

async fn next_answer(answers: Option<&mut Answers>) -> bool {
    match answers {
        Some(answers) => answers.next().await,
        None => std::future::pending().await,
    }
}

async fn deadline(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
