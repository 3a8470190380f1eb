'use strict';
// A device: its clock, its randomness, its journal, its links and its sessions.

const wire = require('./wire.js');
const data = require('./data.js');
const { hex, record: readRecord } = require('./chain.js');
const { Link } = require('./link.js');
const { Session } = require('./session.js');
const { refuse } = wire;

class Device {
  constructor(start, now) {
    const { setup, entropy, disk } = start;
    Object.assign(this, { now, links: new Map(), sessions: new Map(), blobs: new Map(), handoffs: 1, deferred: [], drawn: 0, durable: disk.last });
    Object.assign(this, { lsn: disk.last, out: empty(), pulls: setup.pulls ?? 'ask', follow: setup.follow ?? false, unknown: setup.accept_unknown ?? false });
    this.entropy = bytesOf(entropy);
    this.trusted = new Set(setup.trusted ?? []);
    this.offset = setup.wall_offset_ms ?? 0;
    this.me = wire.identity(bytesOf(setup.identity));
    this.boot = this.random(16);
    this.generation = number(setup.generation);
    this.floor = number(setup.floor ?? '1.4');
    (disk.blobs ?? []).forEach(({ blob, offset, bytes }) => offset === 0 && this.blobs.set(blob, bytesOf(bytes)));
    const stored = new Map(disk.entries ?? []).get(KEY);
    if (stored) this.restore(bytesOf(stored), start.continuity === 'proven');
    else if (this.floor > 1) this.store();
  }

  restore(bytes, proven) {
    const floor = this.floor;
    let state;
    try {
      state = unpack(JSON.parse(bytes));
      this.floor = Math.max(floor, state.floor);
      for (const kept of state.sessions) this.sessions.set(hex(kept.id), Session.restore(this, kept, proven));
    } catch {
      refuse('STORE_CORRUPT', 'the journal holds what this program never wrote');
    }
    if (!proven || this.floor !== state.floor) this.store();
  }

  // What it owns nothing of.

  random(length) {
    return wire.derive('segue node adapter randomness', Buffer.concat([this.entropy, data.number(this.drawn++, 8)])).subarray(0, length);
  }

  nonce() { return this.random(4).readUInt32BE(); }

  wall() { return Math.floor(this.now / 1000) + this.offset; }

  event(it) { if (!this.halted) this.out.events.push(it); }

  /** Writes everything that has to last under one key; `then` happens once it is durable. */
  store(then = () => {}) {
    this.lsn += 1;
    const state = { floor: this.floor, sessions: [...this.sessions.values()].map((session) => session.kept) };
    const value = hex(Buffer.from(JSON.stringify(pack(state))));
    this.out.batches.push({ lsn: this.lsn, writes: [{ key: KEY, value }], after_chunks: true });
    this.deferred.push({ lsn: this.lsn, then });
    return this.lsn;
  }

  /** Does something once all that was written so far is durable. */
  whenDurable(then) {
    if (this.deferred.length) this.deferred.push({ lsn: this.lsn, then });
    else then();
  }

  /** Keeps a blob that is whole and verified. */
  keep(blob, bytes) {
    if (this.blobs.has(hex(blob))) return;
    this.blobs.set(hex(blob), Buffer.from(bytes));
    if (bytes.length) this.out.chunks.push({ blob: hex(blob), offset: 0, bytes: hex(bytes) });
  }

  blob(id) { return this.blobs.get(hex(id)); }

  // Links.

  accepts(key) {
    return this.unknown || this.trusted.has(hex(key)) || [...this.sessions.values()].some((session) => session.live && session.chain.isMember(key));
  }

  linkTo(peer) { return [...this.links.values()].find((link) => link.ready && link.peer.equals(peer)); }

  linked(link) { for (const session of this.sessions.values()) session.told(link); }

  message(link, name, fields) {
    try {
      const handler = HANDLERS[name];
      if (handler) return handler(this, link, fields);
      if (['PUT', 'FETCH', 'WATCH'].includes(name)) return link.error(fields.req, undefined, 'SERVICE_NONE');
      return undefined;
    } catch (error) {
      if (!(error instanceof wire.Refused)) throw error;
      return link.error(fields.req, sessionOf(name, fields), error.code);
    }
  }

  /** The session that a peer may know of. */
  known(link, id) {
    const session = this.sessions.get(hex(id));
    return session?.head && session.mayKnow(link.peer) ? session : refuse('HO_UNKNOWN_SESSION');
  }

  heads(link, fields) {
    let session = this.sessions.get(hex(fields.session));
    if (!session) {
      const [first] = fields.records;
      if (!first || !wire.object('record', first).genesis.length) return;
      session = new Session(this, fields.session);
      session.chain.take(readRecord(first));
      if (this.sessions.size >= wire.limits.MAX_SESSIONS) return;
      this.sessions.set(hex(fields.session), session);
      this.store();
      if (this.follow) this.takePart(session);
    }
    session.heads(link, fields);
  }

  takePart(session) {
    session.takesPart = true;
    if (!session.actor) session.renew();
    this.store(() => { for (const link of this.links.values()) if (link.ready && session.head) session.sync.ask(link); });
  }

  serve(link, { req, session: id, blob, len }) {
    const session = this.known(link, id);
    const made = [...session.made.values()].map((it) => it.bytes);
    const parts = [session.parts, ...[...session.made.values()].map((it) => it.parts)].flat();
    const files = data.files(parts).flatMap((entry) => [[entry.blob, entry.len], ...entry.chunks.map((list) => [list.hash, list.len])]);
    const bytes = made.find((it) => it.length === len && wire.hash(it).equals(blob))
      ?? (files.some(([hash, length]) => hash.equals(blob) && length === len) ? this.blob(blob) : undefined);
    if (!bytes || bytes.length !== len) refuse('DATA_UNAVAILABLE');
    link.stream(wire.frame('BYTES', { req, blob, offset: 0, len }), bytes);
  }

  // What happens.

  input(it) {
    if (this.halted) return;
    const link = this.links.get(it.link);
    const bytes = it.bytes === undefined ? undefined : bytesOf(it.bytes);
    switch (it.type) {
      case 'link-up':
        this.links.set(it.link, new Link(this, it.link, it.role, bytesOf(it.binding), it.expect && bytesOf(it.expect)));
        break;
      case 'bytes': link?.received(bytes); break;
      case 'link-down': link?.down('LINK_LOST', false); break;
      case 'bulk': link?.bulk(it.stream, bytes ?? Buffer.alloc(0), it.fin ?? false); break;
      case 'bulk-reset': link?.bulkLost(it.stream); break;
      case 'durable': this.settle(it.lsn); break;
      case 'store-failed': this.halt(); break;
      default:
    }
    this.wake();
  }

  settle(lsn) {
    while (this.deferred.length && this.deferred[0].lsn <= lsn) this.deferred.shift().then();
  }

  halt() {
    this.out = empty();
    this.event({ type: 'halted' });
    this.halted = true;
    this.links.clear();
  }

  wake() {
    for (const link of [...this.links.values()]) link.woken();
    for (const session of this.sessions.values()) {
      session.woken();
      session.wish?.fetch?.woken();
      session.gather?.woken();
    }
  }

  command(it) {
    if (this.halted) refuse('STORE_IO', 'the store failed, and the device halted');
    const id = it.session && bytesOf(it.session);
    const session = id && this.sessions.get(it.session);
    const owned = () => session ?? refuse('HO_UNKNOWN_SESSION', 'no such session is known here');
    switch (it.type) {
      case 'trust': this.trusted.add(it.device); return {};
      case 'distrust': this.trusted.delete(it.device); return {};
      case 'close-link': this.links.get(it.link)?.end(it.code); return {};
      case 'shutdown': for (const link of [...this.links.values()]) link.end('LINK_SHUTDOWN'); return {};
      case 'create': return this.create(it.name, (it.members ?? []).map(bytesOf));
      case 'write-exclusive': return { lsn: owned().writeExclusive(bytesOf(it.bytes ?? '')) };
      case 'write-file': return { lsn: owned().writeFile(it.path, bytesOf(it.content ?? '')) };
      case 'request': return { handoff: this.session(id).request(bytesOf(it.from), it.timeout_us) };
      default: return undefined;
    }
  }

  session(id) {
    const session = this.sessions.get(hex(id)) ?? new Session(this, id);
    this.sessions.set(hex(id), session);
    return session;
  }

  create(name, members) {
    data.checkName(name);
    const session = Session.create(this, name, members);
    this.sessions.set(hex(session.id), session);
    this.store(() => {
      session.live = true;
      this.event({ type: 'created', session: hex(session.id) });
      for (const link of this.links.values()) if (link.ready) session.told(link);
    });
    return { session: hex(session.id) };
  }

  describe() {
    const known = [...this.sessions].filter(([, session]) => session.head && session.live && session.takesPart);
    return Object.fromEntries(known.map(([id, session]) => [id, session.describe()]));
  }

  /** All that there is to say, once. */
  said() {
    const out = Object.fromEntries(Object.entries(this.out).filter(([, list]) => list.length));
    this.out = empty();
    const times = [...this.links.values()].flatMap((link) => link.timers().map(([at]) => at));
    for (const session of this.sessions.values()) times.push(...session.timers(), ...[session.wish?.fetch?.due, session.gather?.due].filter(Boolean));
    return times.length && !this.halted ? { ...out, timeout: Math.min(...times) } : out;
  }
}

const HANDLERS = {
  HAVE: (device, link, fields) => {
    const session = device.sessions.get(hex(fields.session));
    const fit = session?.head && session.mayKnow(link.peer);
    if (!fit && fields.req) refuse('HO_UNKNOWN_SESSION');
    if (fit) return session.have(link, fields);
    // A device that is told of a session which it wants, or follows, asks for it.
    if (session?.wish || (device.follow && device.accepts(link.peer))) {
      link.send('HAVE', { req: link.request({}), session: fields.session, head: Buffer.alloc(32), data: [] });
    }
    return undefined;
  },
  HEAD: (device, link, fields) => {
    try { device.heads(link, fields); } catch (error) { if (!(error instanceof wire.Refused)) throw error; }
  },
  GET: (device, link, fields) => device.serve(link, fields),
  WANT: (device, link, fields) => device.known(link, wire.object('want', fields.want).session).want(link, fields),
  GRANT: (device, link, fields) => {
    const session = device.sessions.get(hex(wire.object('record', fields.record).session));
    return (session?.head ? session : refuse('HO_UNKNOWN_SESSION')).grantFor(link, fields);
  },
  ERROR: (device, link, { req, code }) => {
    const request = link.requests.get(req);
    link.requests.delete(req);
    const name = wire.nameOf(code);
    if (request?.fetch) request.fetch.failed(name);
    else request?.session?.failed({ ...request, req }, name);
  },
  SINCE: (device, link, fields) => device.sessions.get(hex(fields.session))?.sync.since(link, fields),
  PARTS: (device, link, fields) => device.sessions.get(hex(fields.session))?.sync.parts(link, fields),
  MARK: (device, link, fields) => device.sessions.get(hex(fields.session))?.sync.mark(link, fields),
};

/** The session that a request names, if it can be read. */
function sessionOf(name, fields) {
  if (Buffer.isBuffer(fields.session)) return fields.session;
  try {
    if (name === 'WANT') return wire.object('want', fields.want).session;
    if (name === 'GRANT') return wire.object('record', fields.record).session;
  } catch { /* It can't. */ }
  return undefined;
}

/** Values with bytes in them, for JSON. */
function pack(value) {
  if (Buffer.isBuffer(value)) return { bytes: hex(value) };
  if (Array.isArray(value)) return value.map(pack);
  if (value && typeof value === 'object') return { fields: Object.fromEntries(Object.entries(value).map(([key, it]) => [key, pack(it)])) };
  return value;
}

function unpack(value) {
  if (Array.isArray(value)) return value.map(unpack);
  if (!value || typeof value !== 'object') return value;
  if (value.bytes !== undefined) return bytesOf(value.bytes);
  return Object.fromEntries(Object.entries(value.fields).map(([key, it]) => [key, unpack(it)]));
}

const empty = () => ({ control: [], bulk: [], closes: [], chunks: [], batches: [], events: [] });
const bytesOf = (digits) => Buffer.from(digits, 'hex');
const number = (name) => wire.generations.indexOf(name) + 1;
const KEY = hex(Buffer.from('device'));

module.exports = { Device };
