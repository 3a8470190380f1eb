'use strict';
// A session on a device: the source and the target of spec/07-handoff at generation 1.4. Requests and blobs are in
// fetch.js, what is written without ownership in sync.js.

const wire = require('./wire.js');
const data = require('./data.js');
const { Chain, record: readRecord, hex, zero, ZERO, GENESIS, GRANT, CLOSE } = require('./chain.js');
const { Fetch } = require('./fetch.js');
const { Sync } = require('./sync.js');
const { derive, limits, refuse } = wire;

class Session {
  constructor(device, id) {
    Object.assign(this, {
      device, id, chain: new Chain(id), name: '', parts: [], takesPart: false, live: true, consents: {}, activated: [], copies: 0, staged: {},
      made: new Map(), wants: new Map(), lapsed: [], shown: new Set(), asked: new Set(),
    });
    this.sync = new Sync(this);
  }

  /** What of it is durable. */
  get kept() {
    const { id, name, parts, takesPart, actor, nonce, consents, activated, copies, staged, grant } = this;
    const records = [...this.chain.records.values()].map(({ body, sig }) => ({ body, sig }));
    return { id, name, parts, takesPart, actor, nonce, consents, activated, copies, staged, grant, records, sync: this.sync.kept };
  }

  static restore(device, kept, proven) {
    const session = new Session(device, kept.id);
    const { records, sync, ...rest } = kept;
    Object.assign(session, rest);
    records.forEach((it) => session.chain.take(readRecord(it)));
    session.sync.restore(sync, proven);
    if (session.grant) session.resend();
    if (!proven) session.renew();
    return session;
  }

  static create(device, name, members) {
    const nonce = device.random(16);
    const id = derive('segue/1 session', Buffer.concat([device.me.id, nonce])).subarray(0, 16);
    const session = new Session(device, id);
    Object.assign(session, { name, takesPart: true, live: false });
    session.renew();
    const others = members.filter((member) => !member.equals(device.me.id)).sort(Buffer.compare);
    session.sign({ kind: GENESIS, parent: ZERO, term: 0, n: 0, owner: device.me.id, want: session.actor, genesis: [{ nonce, members: others }] });
    return session;
  }

  /** Takes a new actor. */
  renew() {
    this.nonce = this.device.random(16);
    this.actor = derive('segue/1 actor', Buffer.concat([this.device.me.id, this.nonce]));
  }

  sign(fields) {
    const me = this.device.me;
    const common = { session: this.id, signer: me.id, grantor: fields.owner, roster: ZERO, genesis: [], ...fields };
    const it = readRecord(wire.signed(me, 'record', common));
    this.chain.take(it);
    return it;
  }

  get head() { return this.chain.head; }

  mayKnow(peer) { return this.live && (this.chain.isMember(peer) || this.device.trusted.has(hex(peer))); }

  /** Whether a record names this device as owner, and it is the one that was meant (7.3). */
  entitled(it) {
    if (!it || !it.owner.equals(this.device.me.id)) return false;
    if (it.kind === GRANT) return this.consents[hex(it.want)] === hex(this.actor);
    return it.kind === 2 ? this.entitled(this.chain.get(it.parent)) : it.want.equals(this.actor);
  }

  get primary() { return this.entitled(this.head) && !this.signing; }

  get role() {
    if (this.signing || this.grant) return 'releasing';
    if (this.head.kind === CLOSE) return 'closed';
    if (!this.head.owner.equals(this.device.me.id)) return 'secondary';
    return this.primary ? 'primary' : 'rolled-back';
  }

  // What the application asks for.

  writeExclusive(bytes) {
    this.mayWrite();
    if (!this.primary) refuse('HO_NOT_OWNER', 'this device does not own the session');
    if (bytes.length > 16384) refuse('WIRE_LIMIT', 'a value has at most 16,384 bytes');
    const held = this.parts.find((part) => part.kind === data.EXCLUSIVE);
    return this.put(held ?? this.part(this.named(data.EXCLUSIVE, 'view'), data.EXCLUSIVE), bytes);
  }

  writeFile(path, content) {
    this.mayWrite();
    data.checkPath(path);
    const { chunks, bytes } = data.chunkList(content);
    const blob = wire.hash(content);
    if (bytes) this.device.keep(chunks[0].hash, bytes);
    this.device.keep(blob, content);
    const at = (part) => part.kind === data.BLOB && data.entryOf(data.shown(part)).path === path;
    const id = this.named(data.BLOB, path);
    const part = this.parts.find(at) ?? this.parts.find((it) => it.part.equals(id)) ?? this.part(id, data.BLOB);
    return this.put(part, wire.encode('Entry', { path, mode: data.FILE, len: content.length, blob, chunks }));
  }

  mayWrite() {
    if (!this.live || !this.takesPart || !this.head) refuse('HO_UNKNOWN_SESSION');
    if (this.head.kind === CLOSE) refuse('HO_CLOSED', 'the session is closed');
  }

  /** The id of the part that two devices make without asking each other (DATA-PART-1). */
  named(kind, name) {
    return derive('segue/1 named part', Buffer.concat([this.id, data.number(kind, 2), Buffer.from(name)])).subarray(0, 16);
  }

  part(part, kind) { return { part, kind, strands: [], values: [] }; }

  put(part, body) {
    const value = data.shown(part);
    const ms = this.device.wall();
    const random = (length) => this.device.random(length);
    data.write(this.id, part, this.actor, { body, record: this.head.id, replaces: value ? [value] : [], ms, random });
    this.parts = [...this.parts.filter((it) => it !== part), part];
    this.sync.changed(part);
    return this.device.store(() => this.sync.feed());
  }

  /** Wants the session from a device. */
  request(from, timeout) {
    if (this.wish) this.end('HO_SUPERSEDED');
    const id = this.device.handoffs++;
    this.wish = { id, from, deadline: this.device.now + (timeout ?? limits.HANDOFF_TIMEOUT), wants: [] };
    if (!this.actor) this.renew();
    this.takesPart = true;
    this.device.store();
    this.ask();
    return id;
  }

  ask() {
    const link = this.device.linkTo(this.wish.from);
    if (!link) return;
    this.wish.fetch = undefined;
    this.wish.asked = link.request({ session: this });
    link.send('HAVE', { req: this.wish.asked, session: this.id, head: this.head?.id ?? ZERO, data: [] });
  }

  /** The source can't give what it announced: it may have gone on since (TRANSFER-NEWER-1). */
  gone(announced) {
    this.wish.gone = announced.manifest;
    this.ask();
  }

  /** The wish ends: at once, unless a GRANT may be on its way (HO-TIME-3). */
  end(code) {
    const { wish } = this;
    this.wish = undefined;
    if (!wish.wants.length) return this.resolve(wish, { error: code });
    this.lapsed.push(Object.assign(wish, { code }));
    this.device.event({ type: 'handoff-pending', id: wish.id, session: hex(this.id), peer: hex(wish.from) });
  }

  resolve({ id, from }, result) {
    this.device.event({ type: 'handoff-resolved', id, session: hex(this.id), peer: hex(from), result });
  }

  /** Those of the lapsed wishes end of whose WANTs none is out any more. */
  endLapsed() {
    const over = this.lapsed.filter((it) => !it.wants.length);
    this.lapsed = this.lapsed.filter((it) => it.wants.length);
    over.forEach((it) => this.resolve(it, { error: it.code }));
  }

  // What a peer says.

  told(link) {
    if (!this.live) return;
    if (this.grant && this.grant.to.equals(link.peer)) this.sendGrant(link, 0);
    if (this.chain.isMember(link.peer)) this.tell(link, false);
    this.sync.ask(link);
    if (this.wish?.from.equals(link.peer)) this.ask();
  }

  have(link, { req, head, data: announced }) {
    if (req) {
      return this.device.whenDurable(() => {
        if (!head.equals(this.head.id)) this.sendChain(link, head);
        this.tell(link, this.primary);
      });
    }
    if (!this.chain.has(head)) {
      if (this.once(link, 'asked', head)) link.send('HAVE', { req: link.request({}), session: this.id, head: this.head.id, data: [] });
    } else if (!head.equals(this.head.id)) this.lower(link, head);
    else if (!this.head.owner.equals(link.peer)) this.notOwner(link, announced);
    else if (announced.length) this.announced(link, announced[0]);
  }

  tell(link, whole) { link.send('HAVE', { req: 0, session: this.id, head: this.head.id, data: whole ? [this.announce()] : [] }); }

  /** The device that was asked for the session says that it doesn't own it. */
  notOwner(link, announced) {
    const { wish } = this;
    if (!wish?.from.equals(link.peer) || announced.length || this.entitled(this.head)) return;
    if (wish.wants.some((id) => id.equals(this.head.want))) return;
    wish.wants = [];
    this.end('HO_NOT_OWNER');
  }

  once(link, what, head) {
    const key = `${link.number} ${hex(head)}`;
    if (this[what].has(key)) return false;
    return this[what].add(key);
  }

  announced(link, it) {
    if (!this.wish?.from.equals(link.peer)) {
      return this.device.event({ type: 'available', session: hex(this.id), from: hex(link.peer) });
    }
    if (it.manifest_len < 1 || it.manifest_len > limits.MAX_MANIFEST) return this.end('LIMIT_MANIFEST');
    if (this.wish.gone?.equals(it.manifest)) return this.end('DATA_UNAVAILABLE');
    this.wish.fetch = new Fetch(this, link, it);
    return this.wish.fetch.next();
  }

  /** A peer was seen with a head that isn't the own one. */
  lower(link, head) {
    const known = this.chain.get(head);
    if (known && known !== this.head && !this.signing && this.once(link, 'shown', head)) this.sendChain(link, head);
  }

  sendChain(link, from) {
    const records = this.chain.suffix(from).map(({ body, sig }) => ({ body, sig }));
    const acks = this.ack();
    do {
      const some = records.splice(0, limits.MAX_RECORDS);
      link.send('HEAD', { session: this.id, records: some, more: records.length > 0, ack: records.length ? [] : acks });
    } while (records.length);
  }

  ack() {
    const { head } = this;
    if (head.kind !== GRANT || !this.entitled(head) || !this.acked) return [];
    return [{ record: head.id, sig: wire.sign(this.device.me, 'segue/1 sig head', head.id) }];
  }

  /** Takes in a HEAD. */
  heads(link, { records, more, ack: [ack] }) {
    const before = this.head;
    let last;
    try {
      for (const signed of records) {
        const it = readRecord(signed);
        const { isNew, twin } = this.chain.take(it);
        if (isNew && twin) this.device.event({ type: 'equivocation', session: hex(this.id), key: hex(it.signer), records: [hex(twin.id), hex(it.id)] });
        last = it.id;
      }
    } catch (error) {
      if (!(error instanceof wire.Refused)) throw error;
      if (!this.head) return;
      this.device.event({ type: 'violation', peer: hex(link.peer), session: hex(this.id), violation: { code: error.code } });
    }
    if (this.head !== before) this.rises(before);
    if (this.grant) this.acknowledge(ack);
    if (last && !more) this.lower(link, last);
  }

  rises(before) {
    const { device } = this;
    const granted = this.grant && this.chain.get(this.grant.record);
    const fenced = granted ? !this.chain.stands(this.head, granted.id) : before && this.takesPart && this.entitled(before);
    if (fenced) {
      const under = granted ? granted.parent : before.id;
      const wrote = (part) => part.kind === data.EXCLUSIVE && part.values.some(({ op }) => op.record.equals(under) && op.actor.equals(this.actor));
      if (this.parts.some(wrote)) this.copies += 1;
      this.grant = undefined;
      device.event({ type: 'fenced', session: hex(this.id), head: hex(this.head.id), owner: hex(this.head.owner), copies: this.copies });
    }
    const taken = before && !this.head.opener.equals(before.opener) && !this.chain.get(this.head.opener).owner.equals(device.me.id);
    const wrote = (part) => part.kind === data.EXCLUSIVE && part.strands.some((it) => it.actor.equals(this.actor));
    // DATA-OP-3
    if (before && (taken || !this.chain.stands(this.head, before.id)) && this.parts.some(wrote)) this.renew();
    this.wants.clear();
    device.store();
    device.event({ type: 'head-changed', session: hex(this.id), head: hex(this.head.id), ...(!zero(this.head.owner) && { owner: hex(this.head.owner) }) });
    // Its GRANT is under way if the record answers a WANT of a wish (HO-TIME-3).
    const answers = (wish) => wish.wants.some((id) => id.equals(this.head.want));
    this.lapsed.filter((it) => !answers(it)).forEach((it) => { it.wants = []; });
    this.endLapsed();
    if (this.wish && before && !answers(this.wish) && !this.entitled(this.head)) {
      this.wish.wants = [];
      if (this.head.owner.equals(this.wish.from)) this.ask();
      else this.end('HO_STALE_PARENT');
    }
  }

  acknowledge(ack) {
    const { grant } = this;
    const record = this.chain.get(grant.record);
    const good = ack && ack.record.equals(grant.record) && wire.verify(record.owner, 'segue/1 sig head', record.id, ack.sig);
    const next = [...this.chain.records.values()].some((it) => it.parent.equals(grant.record) && it.signer.equals(record.grantor));
    if (!good && !next) return;
    this.grant = undefined;
    this.device.store();
    this.tellMembers();
  }

  tellMembers() {
    for (const link of this.device.links.values()) {
      if (link.ready && this.chain.isMember(link.peer)) this.sendChain(link, this.head.parent);
    }
  }

  // The source.

  /** The manifest of the data as it is, kept to be served. */
  announce() {
    const bytes = data.manifestBytes(this.id, this.name, this.parts);
    const manifest = wire.hash(bytes);
    this.made.set(hex(manifest), { bytes, parts: structuredCopy(this.parts) });
    return { root: data.root(this.id, this.parts), manifest, manifest_len: bytes.length };
  }

  want(link, { req, want: signed }) {
    const it = readWant(signed);
    const { grant } = this;
    if (grant && it.target.equals(grant.to) && it.target.equals(link.peer) && it.parent.equals(this.chain.get(grant.record).parent)) {
      return this.sendGrant(link, it.id.equals(this.chain.get(grant.record).want) ? req : 0);
    }
    if (!it.target.equals(link.peer)) refuse('HO_TOKEN_WRONG_PEER');
    if (this.signing) return this.signing.push(() => link.serve('WANT', { req, want: signed }));
    if (!this.primary || !this.head.grantor.equals(this.device.me.id)) return this.stale(link, req, 'HO_NOT_OWNER', it.parent);
    if (!it.parent.equals(this.head.id)) return this.stale(link, req, 'HO_STALE_PARENT', it.parent);
    if (it.mode === 1) refuse('HO_TOKEN_BAD');
    if (it.mode === 2) refuse('VER_NOT_PERMITTED');
    // There is no means to ask a user here: what isn't allowed is denied (GEN-POLICY-1).
    if (this.device.pulls !== 'allow') refuse('HO_DECLINED');
    if (this.wants.size >= limits.MAX_WANTS && !this.wants.has(hex(it.target))) refuse('LIMIT_ROOM');
    this.wants.set(hex(it.target), it);
    const held = it.have[0] && (this.made.get(hex(it.have[0].manifest)) ?? this.present(it.have[0].manifest));
    const end = held && this.final(it, held);
    if (!end) return this.device.whenDurable(() => this.tell(link, this.primary));
    return this.release(link, req, it, end);
  }

  present(manifest) {
    const now = this.announce();
    return now.manifest.equals(manifest) ? this.made.get(hex(manifest)) : undefined;
  }

  stale(link, req, code, head) {
    link.error(req, this.id, code);
    this.once(link, 'shown', head);
    this.sendChain(link, head);
  }

  /** FINAL, and the exclusive parts that have changed behind the manifest, which go whole; nothing if they are too long. */
  final(it, { bytes, parts }) {
    const changed = this.parts.filter((part) => {
      const was = parts.find((old) => old.part.equals(part.part));
      return part.kind === data.EXCLUSIVE && (!was || !wire.encode('Part', was).equals(wire.encode('Part', part)));
    });
    const encoded = changed.map((part) => wire.encode('Part', part));
    if (encoded.reduce((sum, part) => sum + part.length, 0) > limits.MAX_INLINE_BYTES) return undefined;
    const after = [...parts.filter((old) => !changed.some((part) => part.part.equals(old.part))), ...changed];
    const fields = {
      session: this.id, parent: this.head.id, root: data.root(this.id, after), exclusive: data.exclusiveRoot(this.id, after),
      manifest: it.have[0].manifest, manifest_len: bytes.length,
    };
    return { end: wire.signed(this.device.me, 'final', fields), parts: encoded };
  }

  /** Signs the record that makes the target the owner, and lets it go once it is durable. */
  release(link, req, it, { end, parts }) {
    const { id: parent, term, n } = this.head;
    this.wants.clear();
    const record = this.sign({ kind: GRANT, parent, term, n: n + 1, owner: it.target, want: it.id });
    this.signing = [];
    this.grant = { to: it.target, record: record.id, want: pick(it), end: pick(end), parts };
    this.device.store(() => {
      const waiting = this.signing;
      this.signing = undefined;
      if (link.ready) this.sendGrant(link, req);
      this.resend();
      waiting.forEach((serve) => serve());
    });
  }

  resend() { Object.assign(this, { pause: limits.RESEND_MIN, again: this.device.now + limits.RESEND_MIN }); }

  sendGrant(link, req) {
    if (this.signing) return;
    const { want, record, end, parts } = this.grant;
    link.send('GRANT', { req, want, record: pick(this.chain.get(record)), end, ops: [], parts });
  }

  // The target.

  /** All that the manifest names is here and durable. */
  fetched(link, announced) {
    if (!this.wish) return;
    const { device, wish } = this;
    device.event({ type: 'data', session: hex(this.id), root: hex(announced.root) });
    const ttl = Math.min(Math.max(1, Math.floor((wish.deadline - device.now) / 1000)), 2 ** 32 - 1);
    const it = wire.signed(device.me, 'want', {
      session: this.id, parent: this.head.id, target: device.me.id, actor: this.actor, nonce: device.random(16), mode: 0, offer: [],
      have: [{ root: announced.root, manifest: announced.manifest }], need: [], pick: [], ttl,
    });
    wish.wants.push(it.id);
    link.send('WANT', { req: link.request({ session: this, want: it.id }), want: pick(it) });
  }

  grantFor(link, { req, want: signedWant, record: signedRecord, end: signedEnd, ops, parts }) {
    const { device, chain } = this;
    const want = readWant(signedWant);
    const record = readRecord(signedRecord);
    const parent = chain.get(record.parent) ?? refuse('HO_CHAIN');
    const end = wire.object('final', signedEnd);
    if (!wire.isSigned('final', end, parent.owner)) refuse('HO_FINAL');
    const isHead = this.head.id.equals(record.id);
    if (this.activated.includes(hex(record.id)) || (chain.has(record.id) && !isHead)) return this.sendChain(link, record.parent);
    const mine = want.target.equals(device.me.id) && want.actor.equals(this.actor ?? ZERO);
    if (!mine || !want.parent.equals(record.parent) || !record.owner.equals(device.me.id) || !record.want.equals(want.id)) refuse('HO_NO_CONSENT');
    if (!chain.has(record.id)) chain.check(record);
    if (!end.parent.equals(record.parent) || !end.session.equals(this.id)) refuse('HO_FINAL');
    const bytes = this.staged[hex(end.manifest)] && device.blob(end.manifest);
    if (!bytes) refuse('DATA_INCOMPLETE');
    const after = this.apply(wire.decode('Manifest', bytes).parts, ops, parts);
    if (!data.root(this.id, after).equals(end.root) || !data.exclusiveRoot(this.id, after).equals(end.exclusive)) refuse('DATA_ROOT');
    return this.activate(record, want, after);
  }

  /** What a manifest's parts are with what came behind it in a GRANT. */
  apply(held, ops, whole) {
    const parts = whole.map((bytes) => wire.decode('Part', bytes));
    for (const part of parts) {
      data.checkPart(this.id, part);
      const known = held.find((it) => it.part.equals(part.part)) ?? this.parts.find((it) => it.part.equals(part.part));
      const twice = parts.filter((it) => it.part.equals(part.part)).length > 1 || ops.some((op) => op.part.equals(part.part));
      if (part.kind !== data.EXCLUSIVE || twice || (known && known.kind !== part.kind)) refuse('DATA_MANIFEST');
    }
    const after = [...held.filter((old) => !parts.some((part) => part.part.equals(old.part))), ...parts];
    ops.forEach((op) => data.inline(this.id, after, op));
    return after;
  }

  activate(record, want, after) {
    const { device } = this;
    const wishes = [...this.lapsed, ...(this.wish ? [this.wish] : [])];
    const before = this.head;
    this.chain.take(record);
    this.consents[hex(want.id)] = hex(this.actor);
    this.activated.push(hex(record.id));
    const exclusive = after.filter((part) => part.kind === data.EXCLUSIVE);
    this.parts = [...this.parts.filter((part) => part.kind !== data.EXCLUSIVE), ...exclusive];
    exclusive.forEach((part) => this.sync.changed(part));
    this.acked = false;
    Object.assign(this, { wish: undefined, lapsed: [] });
    this.staged = {};
    if (this.head !== before) device.event({ type: 'head-changed', session: hex(this.id), head: hex(this.head.id), owner: hex(this.head.owner) });
    if (this.primary) device.event({ type: 'activated', session: hex(this.id), record: hex(record.id) });
    device.store(() => {
      this.acked = true;
      const to = device.linkTo(record.signer);
      if (to) this.sendChain(to, record.parent);
      for (const link of device.links.values()) {
        if (link.ready && link !== to && this.chain.isMember(link.peer)) this.sendChain(link, record.parent);
      }
      this.sync.feed();
      wishes.forEach((it) => this.resolve(it, { record: hex(record.id) }));
    });
  }

  /** A request of a wish was answered by an ERROR. */
  failed(request, code) {
    const { wish } = this;
    if (!request.want) {
      if (request.req === wish?.asked && code !== 'HO_STALE_PARENT') this.end(code);
      return;
    }
    const newest = wish?.wants.at(-1)?.equals(request.want);
    this.void(request.want, ['HO_DECLINED', 'HO_TIMEOUT', 'HO_CANCELLED'].includes(code));
    if (newest && code !== 'HO_STALE_PARENT') this.end(code);
  }

  /** A WANT is void, and if that says that the source took it, those that left before it are, too (HO-TIME-3). */
  void(want, before) {
    const wishes = [...this.lapsed, ...(this.wish ? [this.wish] : [])];
    let reached = !wishes.some((it) => it.wants.some((id) => id.equals(want)));
    for (const wish of wishes) {
      wish.wants = wish.wants.filter((id) => {
        const goes = id.equals(want) || (before && !reached);
        reached ||= id.equals(want);
        return !goes;
      });
    }
    this.endLapsed();
  }

  // Timers.

  timers() {
    const times = [this.grant && !this.signing && this.again, this.wish && this.wish.deadline, this.sync.due];
    return times.filter((at) => typeof at === 'number');
  }

  woken() {
    const { device, wish } = this;
    if (this.grant && !this.signing && this.again <= device.now) {
      const link = device.linkTo(this.grant.to);
      if (link) this.sendGrant(link, 0);
      this.pause = Math.min(2 * this.pause, limits.RESEND_MAX);
      this.again = device.now + this.pause;
    }
    if (wish && wish.deadline <= device.now) this.end('HO_TIMEOUT');
    this.sync.woken();
  }

  describe() {
    const { head, grant } = this;
    const exclusive = this.parts.find((part) => part.kind === data.EXCLUSIVE)?.values[0];
    const placed = data.placed(this.parts);
    const all = (entry) => (entry.len === 0 || this.device.blob(entry.blob) ? hex(entry.blob) : hex(ZERO));
    return {
      role: this.role, head: hex(head.id), parent: hex(head.parent), term: head.term, taker: hex(head.opener), n: head.n,
      ...(!zero(head.owner) && { owner: hex(head.owner) }), entitled: this.entitled(head), copies: this.copies,
      root: this.takesPart ? hex(data.root(this.id, this.parts)) : hex(ZERO), files: Object.fromEntries(placed.map(([path, entry]) => [path, all(entry)])),
      named: Object.fromEntries(placed.map(([path, entry]) => [path, hex(entry.blob)])), conflicts: this.conflicts(),
      ...(exclusive && { exclusive: hex(exclusive.op.body) }), ...(grant && { pending: hex(grant.to) }),
    };
  }

  /** By the path of the shown value, the hashes of the files that aren't shown. */
  conflicts() {
    const torn = this.parts.filter((part) => part.kind === data.BLOB && part.values.length > 1);
    return Object.fromEntries(torn.map((part) => {
      const first = data.shown(part);
      const others = part.values.filter((value) => value !== first).map(data.entryOf).filter(data.isFile);
      return [data.entryOf(first).path, others.map((entry) => hex(entry.blob))];
    }));
  }
}

function readWant(signed) {
  const it = wire.object('want', signed);
  if (it.mode > 2 || (it.mode === 1) !== (it.offer.length === 1)) refuse('WIRE_VALUE');
  if (!wire.isSigned('want', it, it.target)) refuse('AUTH_SIGNATURE');
  return it;
}

const pick = ({ body, sig }) => ({ body, sig });
const structuredCopy = (parts) => parts.map((part) => ({ ...part, strands: [...part.strands], values: [...part.values] }));

module.exports = { Session, readWant };
