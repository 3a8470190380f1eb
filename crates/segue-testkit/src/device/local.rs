//! The core in this process, with a key in memory and blobs in memory: what a real adapter does, without waiting.

mod incoming;

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use segue_proto::account::Invite;
use segue_proto::data::{Entry, EntryMode, Manifest, Part, PartKind, Pick, named_part};
use segue_proto::transfer::{ListBuilder, Plan};
use segue_proto::wire::{self, Bytes, DeviceId, Exts, Hash, Message, PartId, Range, Receipt, SessionId};
use segue_proto::{
    Accepted, BulkEnd, Code, Config, Endpoint, Hosted, Instant, LinkId, OpenError, Rules, Search, Serve, Served,
    SessionView, UsageError, seal,
};
use segue_service::{Given, Journaled, Quota, Service, Terms};

use super::audit::Audit;
use super::{
    AccountState, BulkOut, ChunkOut, Command, Contents, Device, Input, Inspect, Outputs, Refusal, Reply, SessionState,
};
use super::{Blobs, Setup, Start};
use crate::rng::Rng;
use incoming::Streams;

/// A device that runs the core in this process.
pub struct LocalDevice {
    endpoint: Endpoint,
    key: SigningKey,
    rules: Rules,
    wall_offset_ms: i64,
    blobs: Blobs,
    /// The blobs that were found whole, so that `inspect` hashes each only once.
    whole: BTreeSet<Hash>,
    links: BTreeMap<LinkId, Streams>,
    /// The mailbox that it hosts.
    service: Option<Service<Journaled>>,
    /// Devices that are to be woken, and weren't told yet.
    wakes: Vec<DeviceId>,
    /// What watches it in a test.
    audit: Option<Audit>,
}

impl LocalDevice {
    /// A new device with an empty disk, and what it has to say at once.
    ///
    /// # Errors
    /// As [`LocalDevice::restore`].
    pub fn new(setup: Setup, seed: u64, now: Instant) -> Result<(Self, Outputs), OpenError> {
        let entropy = Rng::new(seed, "device entropy").array();
        Self::audited(Start::fresh(setup, entropy), now)
    }

    /// As [`LocalDevice::restore`], for a test: after each step it is checked that what the core says of itself fits
    /// together, unless a clause is switched off.
    ///
    /// # Errors
    /// As [`LocalDevice::restore`].
    pub fn audited(start: Start, now: Instant) -> Result<(Self, Outputs), OpenError> {
        let audit = start.setup.without.is_none().then(|| Audit::new(config(&start.setup), &start.disk));
        Self::open(start, now, audit)
    }

    /// A device that goes on from what its disk holds, and what it has to say at once.
    ///
    /// # Errors
    /// If the journal holds what the core can't have written.
    pub fn restore(start: Start, now: Instant) -> Result<(Self, Outputs), OpenError> {
        Self::open(start, now, None)
    }

    fn open(start: Start, now: Instant, audit: Option<Audit>) -> Result<(Self, Outputs), OpenError> {
        let Start { setup, entropy, disk, continuity } = start;
        let Contents { entries, last, blobs } = disk;
        let config = config(&setup);
        let endpoint = Endpoint::open(config, entries, last, continuity, entropy, now)?;
        let mut device = LocalDevice {
            endpoint,
            key: setup.key(),
            rules: config.rules,
            wall_offset_ms: setup.wall_offset_ms,
            blobs,
            whole: BTreeSet::new(),
            links: BTreeMap::new(),
            service: None,
            wakes: Vec::new(),
            audit,
        };
        for trusted in setup.trusted {
            device.endpoint.trust(trusted);
        }
        let mut out = Outputs::default();
        device.drain(now, &mut out);
        Ok((device, out))
    }

    /// The core itself, for tests that ask what no other device could be asked.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Has the core do what no [`Command`] asks for, and what comes of it.
    pub fn drive<T>(&mut self, now: Instant, act: impl FnOnce(&mut Endpoint) -> T) -> (T, Outputs) {
        let mut out = Outputs::default();
        let done = act(&mut self.endpoint);
        self.drain(now, &mut out);
        (done, out)
    }
}

impl Device for LocalDevice {
    fn input(&mut self, now: Instant, input: Input) -> Outputs {
        let mut out = Outputs::default();
        match input {
            Input::LinkUp { link, role, binding, expect } => {
                self.links.insert(link, Streams::default());
                self.endpoint.handle_link_up(now, link, role, binding, expect);
                let wall_ms = self.wall_ms(now);
                self.endpoint.tell_time(now, wall_ms);
            }
            Input::Bytes { link, bytes } => self.endpoint.handle_bytes(now, link, &bytes),
            Input::LinkDown { link } => self.link_down(now, link),
            Input::Bulk { link, stream, bytes, fin } => self.bulk(now, link, stream, &bytes, fin, &mut out),
            Input::BulkReset { link, stream } => self.bulk_end(now, link, stream, BulkEnd::Lost),
            Input::Durable { lsn } => self.endpoint.handle_durable(now, lsn),
            Input::StoreFailed => self.endpoint.handle_store_failed(now),
            Input::Time => {
                self.endpoint.handle_timeout(now);
                self.serve(now, Vec::new());
                // Else a driver would be woken for it over and over.
                let due = self.endpoint.poll_timeout().is_some_and(|at| at <= now);
                debug_assert!(!due || self.rules != Rules::ALL, "what was due still is");
            }
        }
        self.drain(now, &mut out);
        out
    }

    fn command(&mut self, now: Instant, command: Command) -> (Result<Reply, Refusal>, Outputs) {
        let mut out = Outputs::default();
        let reply = match command {
            Command::Receipt { session, record } => self.receipt(session, record),
            Command::VerifyReceipt { receipt } => Receipt::verify(self.rules, &receipt)
                .map(|_| Reply::Done)
                .map_err(|why| Refusal { code: why.code, text: why.to_string() }),
            command => self
                .run(now, command, &mut out)
                .map_err(|error| Refusal { code: error.code(), text: error.to_string() }),
        };
        self.drain(now, &mut out);
        (reply, out)
    }

    fn inspect(&mut self, _now: Instant) -> Inspect {
        let ids = self.endpoint.sessions();
        let sessions = ids.into_iter().filter_map(|id| Some((id, self.session(&id)?))).collect();
        let account = self.endpoint.roster().map(|roster| AccountState {
            account: roster.account(),
            members: roster.standing().members.keys().copied().collect(),
            revoked: roster.standing().revoked.keys().copied().collect(),
        });
        Inspect { sessions, account }
    }

    fn holds(&mut self, session: SessionId, manifest: Hash, pick: &[PartId]) -> Option<bool> {
        let own = self.endpoint.manifest(&session).filter(|own| own.announce().0.manifest == manifest);
        let fetched = || Manifest::open(self.rules, &self.endpoint.meta(&manifest)?, &session).ok();
        let Some(manifest) = own.or_else(fetched) else { return Some(false) };
        let pick = Pick::new(pick.iter().copied())?;
        let picked = |part: &Part, entry: &Entry| pick.picks(&session, &part.part, &entry.path);
        let shown = manifest.parts.iter().filter_map(|part| Some((part, part.entry()?)));
        let mut files = shown.filter(|(part, entry)| entry.is_file() && picked(part, entry));
        Some(files.all(|(_, entry)| !self.held(&entry).is_zero()))
    }
}

impl LocalDevice {
    fn receipt(&self, session: SessionId, record: Hash) -> Result<Reply, Refusal> {
        let draft = self.endpoint.receipt(&session, &record);
        let receipt = draft.and_then(|draft| draft.sign(|message| wire::sign_message(message, &self.key)));
        receipt.map(|receipt| Reply::Receipt(receipt.to_bytes())).ok_or_else(|| Refusal {
            code: Code::HO_PENDING,
            text: "this device neither gave nor took that handoff, or it isn't acknowledged".to_owned(),
        })
    }

    fn run(&mut self, now: Instant, command: Command, out: &mut Outputs) -> Result<Reply, UsageError> {
        let wall_ms = self.wall_ms(now);
        let core = &mut self.endpoint;
        match command {
            Command::Trust { device } => core.trust(device),
            Command::Distrust { device } => core.distrust(device),
            Command::Create { name, members } => return core.create_session(now, &name, &members).map(Reply::Session),
            Command::WriteFile { session, path, content } => {
                return self.write_file(now, session, &path, &content, out);
            }
            Command::WriteExclusive { session, bytes } => return self.write_exclusive(now, session, bytes),
            Command::Write { session, part, kind, body, resolves } => {
                let write = if resolves { Endpoint::resolve } else { Endpoint::write };
                return write(core, now, wall_ms, session, part, kind, body).map(Reply::Written);
            }
            Command::StandBy { session, limit } => core.stand_by(now, session, limit)?,
            Command::Pick { session, folders } => {
                let ids = folders.iter().map(|folder| Pick::folder(&session, folder));
                core.pick(now, session, Pick::new(ids).ok_or(UsageError::TooLarge)?)?;
            }
            Command::Follow { session, from } => core.follow(now, session, from)?,
            Command::Remove { session, path } => return self.remove(now, session, &path),
            Command::Initiate { session, to, timeout_us } => {
                return core.initiate_handoff(now, session, to, timeout_us).map(Reply::Handoff);
            }
            Command::Request { session, from, timeout_us } => {
                return core.request_handoff(now, session, from, timeout_us).map(Reply::Handoff);
            }
            Command::Accept { token } => {
                if let Accepted::Offer(id) = core.accept_handoff(now, token)? {
                    return Ok(Reply::Handoff(id));
                }
            }
            Command::Reject { token, reason } => core.reject_handoff(now, token, reason.as_deref())?,
            Command::CancelHandoff { session } => core.cancel_handoff(now, session)?,
            Command::Consent { session, to, ttl_us } => core.consent(now, session, to, ttl_us)?,
            Command::Takeover { session } => core.takeover(now, session)?,
            Command::Close { session } => core.close(now, session)?,
            Command::CloseLink { link, code } => core.close_link(now, link, code),
            Command::Shutdown => core.shutdown(now),
            Command::CreateAccount { name } => core.create_account(wall_ms, &name, None)?,
            Command::Invite { name } => {
                return core.invite(now, wall_ms, &name, &[]).map(|invite| Reply::Invite(invite.to_text()));
            }
            Command::AcceptLink { invite } => {
                let invite = Invite::from_text(&invite).map_err(|_| UsageError::NoLinking)?;
                core.accept_link(now, &invite, None)?;
            }
            Command::ConfirmLink { device, yes } => core.confirm_link(now, wall_ms, device, yes)?,
            // Answered before: no commands of the core.
            Command::Receipt { .. } | Command::VerifyReceipt { .. } => {}
            Command::Compact { session, part, content } => {
                let stream = core.state(&session).and_then(|state| state.stream(&part));
                let upto = stream.map_or(0, segue_proto::data::Stream::next_place);
                core.compact(now, session, part, content.map(|bytes| (upto, 1, bytes)))?;
            }
            Command::TakeIn { session, part, actor } => {
                core.take_in(now, wall_ms, session, part, actor)?;
            }
            Command::Revoke { device } => core.revoke(wall_ms, device)?,
            Command::UseMailbox { mailbox } => core.use_mailbox(now, mailbox)?,
            Command::HostMailbox { box_envelopes, box_bytes, device_bytes, bytes } => {
                let usual = Quota::default();
                self.host(Quota {
                    box_envelopes: box_envelopes.unwrap_or(usual.box_envelopes),
                    box_bytes: box_bytes.unwrap_or(usual.box_bytes),
                    device_bytes: device_bytes.unwrap_or(usual.device_bytes),
                    bytes: bytes.unwrap_or(usual.bytes),
                    ..usual
                });
            }
            Command::HostCustody { lease_us } => {
                self.host(Quota::default());
                let tenure = self.endpoint.host_custody(false);
                let terms = Terms { me: self.endpoint.device(), tenure, lease: lease_us };
                // What the journal holds of it was written by this device.
                self.service.iter_mut().for_each(|service| drop(service.keep_custody(now, terms)));
            }
            Command::DemandAccounts { accounts } => {
                // This directory keeps nothing by itself, so that nothing can fail.
                if let Some(service) = &mut self.service {
                    let _ = service.set_policy(super::accounts::policy(now, accounts));
                }
            }
            Command::Login { service, token } => core.login(now, service, &token)?,
            Command::Delegate { session, service, timeout_us } => core.delegate(now, session, service, timeout_us)?,
            Command::Discover { service, devices } => drop(core.discover(now, service, &devices)?),
            Command::MeetAt { addresses } => core.meet_at(Some(&addresses)),
            Command::Introduce { service, to } => core.introduce(now, service, to)?,
            Command::WakeDevices => self.service.iter_mut().for_each(Service::wake_devices),
            Command::Wake { service, device } => core.wake(now, service, device)?,
            Command::Reclaim { session, timeout_us } => core.reclaim(now, session, timeout_us)?,
        }
        Ok(Reply::Done)
    }

    /// Takes everything that the core has to say, and answers what an adapter answers at once.
    fn drain(&mut self, now: Instant, out: &mut Outputs) {
        loop {
            let mut quiet = true;
            while self.endpoint.has_to_sign() {
                let Some(request) = self.endpoint.poll_sign() else { break };
                quiet = false;
                let sig = wire::sign_message(&request.message, &self.key);
                self.endpoint.handle_signed(now, request.id, sig);
            }
            while let Some(request) = self.endpoint.poll_unwrap() {
                quiet = false;
                let plain = seal::unwrap(&self.key, &request.wrapped);
                self.endpoint.handle_unwrapped(now, request.id, plain);
            }
            quiet &= !self.serve_mailbox(now);
            quiet &= !self.mail_content(now, out);
            while let Some(search) = self.endpoint.poll_search() {
                quiet = false;
                self.search(now, &search, out);
            }
            while let Some(unwanted) = self.endpoint.poll_unwanted() {
                quiet = false;
                self.stop_reading(now, unwanted);
            }
            while let Some(serve) = self.endpoint.poll_serve() {
                quiet = false;
                self.serve_blob(now, serve, out);
            }
            if quiet {
                break;
            }
        }
        out.batches.extend(std::iter::from_fn(|| self.endpoint.poll_journal()));
        out.events.extend(std::iter::from_fn(|| self.endpoint.poll_event()));
        out.wakes.append(&mut self.wakes);
        let waiting: Vec<_> = self.endpoint.waiting_links().collect();
        for link in waiting {
            let mut bytes = Vec::new();
            while self.endpoint.poll_transmit(link, &mut bytes) {}
            if !bytes.is_empty() {
                out.control.push((link, bytes));
            }
        }
        out.closes.extend(std::iter::from_fn(|| self.endpoint.poll_close()));
        let service = self.service.as_ref().and_then(Service::next_timeout);
        out.timeout = self.endpoint.poll_timeout().into_iter().chain(service).min();
        if let Some(audit) = &mut self.audit {
            audit.look(now, &self.endpoint, out);
        }
    }

    fn link_down(&mut self, now: Instant, link: LinkId) {
        self.links.remove(&link);
        self.endpoint.handle_link_down(now, link);
    }
}

/// The mailbox that it hosts.
impl LocalDevice {
    fn host(&mut self, quota: Quota) {
        let before = self.service.take();
        let directory = match before {
            Some(service) => Ok(service.into_directory()),
            None => Journaled::load(self.endpoint.take_hosted()),
        };
        // The journal holds nothing else under these keys.
        let directory = directory.unwrap_or_default();
        self.service = Some(Service::new(directory, quota).with_rules(self.rules));
        self.endpoint.host_mailbox();
    }

    /// Reads and stores what goes by mailboxes; whether anything does.
    fn mail_content(&mut self, now: Instant, out: &mut Outputs) -> bool {
        let mut any = false;
        while let Some(read) = self.endpoint.poll_content_read() {
            any = true;
            let bytes = self.content(&read.blob, read.offset, read.size as u64);
            self.endpoint.handle_content_read(now, read.id, bytes);
        }
        while let Some(write) = self.endpoint.poll_content_write() {
            any = true;
            keep(&mut self.blobs, out, write.plan.blob(), write.chunk.chunk().offset, &write.bytes);
            self.endpoint.handle_content_written(now, write.id, true);
        }
        any
    }

    /// Answers what the mailbox was asked; whether it was.
    fn serve_mailbox(&mut self, now: Instant) -> bool {
        let came: Vec<_> = std::iter::from_fn(|| self.endpoint.poll_hosted()).collect();
        if came.is_empty() || self.service.is_none() {
            return false;
        }
        self.serve(now, came);
        true
    }

    /// Hands the service what came, and carries out what it says.
    fn serve(&mut self, now: Instant, came: Vec<Hosted>) {
        let Some(service) = &mut self.service else { return };
        // This directory keeps nothing by itself, so that nothing can fail.
        let Given { answers, tells, signs, closes, wakes, .. } = service.handle(now, came).unwrap_or_default();
        self.wakes.extend(wakes.into_iter().map(|it| it.device));
        let core = &mut self.endpoint;
        let after = core.keep_hosted(service.directory_mut().take_entries());
        answers.into_iter().for_each(|(ticket, answer)| core.answer_hosted(now, ticket, after, &answer));
        tells.into_iter().for_each(|(to, message)| core.tell_hosted(now, to, after, &message));
        signs.into_iter().for_each(|(session, record, bytes)| core.sign_hosted(session, record, bytes));
        closes.into_iter().for_each(|ticket| core.close_hosted(ticket));
    }
}

impl LocalDevice {
    /// Reports the chunks of a plan that are held already.
    fn search(&mut self, now: Instant, search: &Search, out: &mut Outputs) {
        let plan: &Plan = &search.plan;
        self.reuse(search, out);
        let found = if self.is_another_whole(plan) { 0 } else { plan.chunks() };
        for index in 0..found {
            let Some(chunk) = plan.chunk(index) else { continue };
            let Some(bytes) = self.content(&plan.blob(), chunk.offset, u64::from(chunk.len)) else { continue };
            if let Ok(verified) = plan.verify_chunk(self.rules, index, &bytes) {
                self.endpoint.handle_chunk(now, verified);
            }
        }
        self.endpoint.handle_searched(now, search.session, plan.blob());
    }

    /// Copies the chunks of a plan that lie in what its content replaces (TRANSFER-REUSE-1).
    fn reuse(&mut self, search: &Search, out: &mut Outputs) {
        let (plan, mut copies) = (&search.plan, Vec::new());
        for entry in &search.old {
            let list = entry.chunks.get().and_then(|list| self.content(&list.hash, 0, u64::from(list.len)));
            for (index, from) in plan.shared(self.rules, entry.len, &list.unwrap_or_default()) {
                let Some(chunk) = plan.chunk(index) else { continue };
                let Some(bytes) = self.content(&entry.blob, from, u64::from(chunk.len)) else { continue };
                let absent = self.content(&plan.blob(), chunk.offset, u64::from(chunk.len)).is_none();
                if absent && plan.verify_chunk(self.rules, index, &bytes).is_ok() {
                    copies.push((chunk.offset, bytes));
                }
            }
        }
        copies.into_iter().for_each(|(offset, bytes)| keep(&mut self.blobs, out, plan.blob(), offset, &bytes));
    }
}

/// Bulk that is sent.
impl LocalDevice {
    fn serve_blob(&mut self, now: Instant, serve: Serve, out: &mut Outputs) {
        let Serve { link, req, blob, len, mut ranges, .. } = serve;
        if ranges.is_empty() {
            ranges.push(Range { offset: 0, len });
        }
        let read = |range: &Range| Some((range.offset, self.content(&blob, range.offset, range.len)?));
        let outcome = match ranges.iter().map(read).collect::<Option<Vec<_>>>() {
            Some(slices) => {
                for (offset, bytes) in slices {
                    self.send_stream(
                        link,
                        Bytes { req, blob, offset, len: bytes.len() as u64, ext: Exts::empty() },
                        &bytes,
                        out,
                    );
                }
                Served::Done
            }
            None => Served::Unavailable,
        };
        self.endpoint.handle_served(now, link, req, outcome);
    }

    fn send_stream(&mut self, link: LinkId, header: Bytes, content: &[u8], out: &mut Outputs) {
        let Some(streams) = self.links.get_mut(&link) else { return };
        let stream = streams.sent;
        streams.sent += 1;
        let mut bytes = Message::from(header).to_frame();
        bytes.extend_from_slice(content);
        out.bulk.push(BulkOut { link, stream, bytes, fin: true });
    }

    /// A range of a blob, or of one of the core's own manifests.
    fn content(&self, blob: &Hash, offset: u64, len: u64) -> Option<Vec<u8>> {
        self.blobs.read(blob, offset, len).or_else(|| {
            let meta = self.endpoint.meta(blob)?;
            let start = usize::try_from(offset).ok()?;
            Some(meta.get(start..start.checked_add(usize::try_from(len).ok()?)?)?.to_vec())
        })
    }
}

/// What the application writes and reads.
impl LocalDevice {
    fn write_file(
        &mut self,
        now: Instant,
        session: SessionId,
        path: &str,
        content: &[u8],
        out: &mut Outputs,
    ) -> Result<Reply, UsageError> {
        let len = content.len() as u64;
        let by_content = self.rules.keeps(segue_proto::Clause::TRANSFER_CUT_1);
        let mut list = if by_content { ListBuilder::new(len) } else { ListBuilder::equal(len) };
        list.push(content);
        let (blob, chunks) = list.finish();
        let refs = chunks.as_ref().map(|(list, _)| list.clone());
        let entry = Entry::file(path, false, content.len() as u64, blob, refs).ok_or(UsageError::BadPart)?;
        let mut kept = Outputs::default();
        for (at, slice) in content.chunks(segue_proto::limits::CHUNK).enumerate() {
            keep(&mut self.blobs, &mut kept, blob, (at * segue_proto::limits::CHUNK) as u64, slice);
        }
        if let Some((list, bytes)) = chunks {
            keep(&mut self.blobs, &mut kept, list.hash, 0, &bytes);
        }
        let reply = self.write_entry(now, session, entry)?;
        out.chunks.append(&mut kept.chunks);
        // The file itself must be durable before the batch that names it, just as fetched chunks must.
        out.batches.extend(std::iter::from_fn(|| self.endpoint.poll_journal()));
        out.batches.iter_mut().for_each(|batch| batch.after_chunks = true);
        Ok(reply)
    }

    fn write_entry(&mut self, now: Instant, session: SessionId, entry: Entry) -> Result<Reply, UsageError> {
        let manifest = self.endpoint.manifest(&session).ok_or(UsageError::UnknownSession)?;
        let known = manifest.entries().find(|(_, held)| held.path == entry.path);
        let part = known.map_or_else(|| named_part(&session, PartKind::Blob, &entry.path), |(part, _)| part);
        self.write(now, session, part, PartKind::Blob, entry.to_bytes())
    }

    fn remove(&mut self, now: Instant, session: SessionId, path: &str) -> Result<Reply, UsageError> {
        let manifest = self.endpoint.manifest(&session).ok_or(UsageError::UnknownSession)?;
        let (part, _) = manifest.entries().find(|(_, held)| *held.path == *path).ok_or(UsageError::BadPart)?;
        let entry = Entry::bare(path, EntryMode::Removed).ok_or(UsageError::BadPart)?;
        self.write(now, session, part, PartKind::Blob, entry.to_bytes())
    }

    fn write_exclusive(&mut self, now: Instant, session: SessionId, bytes: Vec<u8>) -> Result<Reply, UsageError> {
        let manifest = self.endpoint.manifest(&session).ok_or(UsageError::UnknownSession)?;
        let known = manifest.parts.iter().find(|part| part.kind == PartKind::Exclusive.number()).map(|part| part.part);
        let part = known.unwrap_or_else(|| named_part(&session, PartKind::Exclusive, "view"));
        self.write(now, session, part, PartKind::Exclusive, bytes)
    }

    fn write(
        &mut self,
        now: Instant,
        session: SessionId,
        part: PartId,
        kind: PartKind,
        body: Vec<u8>,
    ) -> Result<Reply, UsageError> {
        let wall_ms = self.wall_ms(now);
        self.endpoint.write(now, wall_ms, session, part, kind.number(), body).map(Reply::Written)
    }

    fn wall_ms(&self, now: Instant) -> u64 {
        (WALL_START_MS + now.micros() / 1000).saturating_add_signed(self.wall_offset_ms)
    }

    fn session(&mut self, id: &SessionId) -> Option<SessionState> {
        let view = self.endpoint.session(id)?;
        // A session may be known before any of its data is.
        let manifest = self.endpoint.manifest(id);
        let (parent, taker) = lineage(&view);
        let entries = manifest.iter().flat_map(Manifest::entries).map(|(_, entry)| entry);
        let live: Vec<Entry> = entries.filter(Entry::is_file).collect();
        let mut parts = manifest.iter().flat_map(|manifest| manifest.parts.iter());
        let exclusive = parts.find(|part| part.kind == PartKind::Exclusive.number());
        let exclusive = exclusive.and_then(|part| part.body()).map(<[u8]>::to_vec);
        let losing = |part: &Part| {
            let shown = part.entry()?;
            let others = part.entries().filter(|entry| entry.is_file() && entry.blob != shown.blob);
            Some((shown.path.to_string(), others.map(|entry| entry.blob).collect::<Vec<_>>()))
        };
        let conflicted = manifest.iter().flat_map(|manifest| manifest.parts.iter()).filter(|part| part.is_conflicted());
        let conflicts = conflicted.filter_map(losing).collect();
        Some(SessionState {
            named: live.iter().map(|entry| (entry.path.to_string(), entry.blob)).collect(),
            conflicts,
            role: view.role,
            head: view.head,
            parent,
            term: view.term,
            taker,
            n: view.n,
            owner: view.owner,
            grantor: view.grantor,
            entitled: view.entitled,
            root: view.root,
            files: live.into_iter().map(|entry| (entry.path.to_string(), self.held(&entry))).collect(),
            exclusive,
            copies: view.copies,
            pending: view.pending,
            aside: Some(self.endpoint.set_aside(id).len() as u64),
            kept: self.endpoint.state(id).map(|state| {
                let streams = state.parts().filter_map(|part| state.stream(&part.part));
                streams.map(|stream| stream.len() as u64).sum()
            }),
        })
    }

    /// The hash of a file's content as it is held; zero if it isn't held whole.
    fn held(&mut self, entry: &Entry) -> Hash {
        let whole = self.whole.contains(&entry.blob) || self.blobs.is_whole(&entry.blob, entry.len);
        if whole {
            self.whole.insert(entry.blob)
        } else {
            return Hash::ZERO;
        };
        entry.blob
    }
}

fn config(setup: &Setup) -> Config {
    let mut config = Config::new(setup.device());
    config.generation = setup.generation;
    config.floor = setup.floor;
    config.pulls = setup.pulls;
    config.accept_unknown = setup.accept_unknown;
    config.follow = setup.follow;
    config.rules = setup.without.map_or(Rules::ALL, Rules::without);
    config
}

fn keep(blobs: &mut Blobs, out: &mut Outputs, blob: Hash, offset: u64, bytes: &[u8]) {
    blobs.put(blob, offset, bytes);
    out.chunks.push(ChunkOut { blob, offset, bytes: bytes.to_vec() });
}

/// The head's parent, and the takeover that opened its term.
fn lineage(view: &SessionView) -> (Hash, Hash) {
    let parent = view.chain.last().map_or(Hash::ZERO, |record| record.body().parent);
    let taker = view.chain.iter().rev().find(|record| record.body().kind == wire::Kind::Takeover.number());
    (parent, taker.map_or(Hash::ZERO, |record| record.id()))
}

/// Where the simulated wall clocks start: an arbitrary day in 2026.
const WALL_START_MS: u64 = 1_780_000_000_000;
