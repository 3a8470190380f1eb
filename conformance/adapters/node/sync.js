'use strict';
// Keeping parts with values together without ownership (spec/06-sync). This implementation has no logs and no opaque
// parts: it takes no STRAND and no OPS in.

const wire = require('./wire.js');
const data = require('./data.js');
const { hex } = require('./chain.js');
const { Fetch } = require('./fetch.js');
const { limits, refuse } = wire;

class Sync {
  constructor(session) {
    Object.assign(this, { session, log: undefined, at: 0, positions: {}, held: {}, writers: {}, feeds: new Map(), stopped: new Set(), turn: 0 });
  }

  get kept() {
    if (this.session.takesPart) this.name();
    const { log, at, positions, held, writers } = this;
    return { log, at, positions, held, writers };
  }

  restore(kept, proven) {
    Object.assign(this, kept);
    if (!proven) this.log = undefined;
  }

  name() { return (this.log ??= this.session.device.random(16)); }

  /** A part changed: it stands at the end of the log. */
  changed(part, from) { this.positions[hex(part.part)] = { at: ++this.at, from }; }

  ask(link) {
    const { session } = this;
    if (!session.takesPart || !session.mayKnow(link.peer)) return;
    const held = this.held[hex(link.peer)];
    link.send('SINCE', { session: session.id, log: held?.log ?? Buffer.alloc(16), at: held?.at ?? 0, own: this.name() });
  }

  since(link, { log, at, own }) {
    const { session } = this;
    if (!session.takesPart || !session.mayKnow(link.peer)) return;
    const known = log.equals(this.name()) && at <= this.at ? at : 0;
    const feed = this.feeds.get(link.number);
    if (!feed) {
      this.feeds.set(link.number, { sent: known, named: new Set(), marked: -1 });
      if (!this.marks?.has(link.number)) this.ask(link);
    }
    this.feeds.get(link.number).own = hex(own);
    this.feed();
  }

  /** Sends what peers lack, once all of it is durable: positions ascend over restarts. */
  feed() { this.session.device.whenDurable(() => this.feedNow()); }

  feedNow() {
    const { session } = this;
    for (const link of session.device.links.values()) {
      const feed = this.feeds.get(link.number);
      if (!feed || !link.ready || !session.mayKnow(link.peer)) continue;
      const place = (part) => this.positions[hex(part.part)];
      const due = session.parts.filter((part) => place(part)?.at > feed.sent && place(part).from !== this.source(link));
      due.sort((a, b) => place(a).at - place(b).at).forEach((part) => this.send(link, feed, part));
      feed.sent = this.at;
      if (feed.marked !== this.at) link.send('MARK', { session: session.id, name: session.name, log: this.name(), at: this.at });
      feed.marked = this.at;
    }
  }

  send(link, feed, part) {
    const actors = part.strands.map((it) => hex(it.actor)).filter((actor) => !feed.named.has(actor));
    const writers = actors.map((actor) => this.writer(actor)).filter(Boolean);
    actors.forEach((actor) => feed.named.add(actor));
    const ext = writers.length ? [{ id: 1, bytes: wire.encode('list ≤ 20 of Writer', writers.slice(0, limits.MAX_NAMED)) }] : [];
    for (const piece of pieces(part)) {
      link.send('PARTS', { session: this.session.id, parts: [wire.encode('Part', piece)], ext: ext.splice(0) });
    }
  }

  /** The log of a peer from which something came: what came from an older one it may have lost. */
  source(link) { return `${hex(link.peer)} ${this.feeds.get(link.number)?.own}`; }

  writer(actor) {
    const { session } = this;
    if (session.actor && actor === hex(session.actor)) return { device: session.device.me.id, nonce: session.nonce };
    return this.writers[actor];
  }

  /** Notes who writes as which actor, as an extension says. */
  named(ext) {
    const found = ext.find((it) => it.id === 1);
    if (!found) return;
    for (const writer of wire.decode('list ≤ 20 of Writer', found.bytes)) {
      this.writers[hex(wire.derive('segue/1 actor', Buffer.concat([writer.device, writer.nonce])))] = writer;
    }
  }

  parts(link, { parts, ext }) {
    const { session } = this;
    if (!session.takesPart || !session.mayKnow(link.peer) || this.stopped.has(link.number)) return;
    try {
      this.named(ext);
      for (const bytes of parts) {
        const part = wire.decode('Part', bytes);
        data.checkPart(session.id, part, true);
        if (part.kind === data.LOG || part.kind === data.OPAQUE) refuse('DATA_MANIFEST');
        this.take(part, this.source(link));
      }
      session.device.store(() => this.feed());
    } catch (error) {
      if (!(error instanceof wire.Refused)) throw error;
      this.stopped.add(link.number);
      link.error(0, session.id, error.code);
    }
  }

  /** Takes a copy of a part in. */
  take(part, from) {
    const { session } = this;
    const own = session.parts.find((it) => it.part.equals(part.part));
    if (own && own.kind !== part.kind) refuse('DATA_MANIFEST');
    const lengths = new Map(data.files(session.parts).map((entry) => [hex(entry.blob), entry.len]));
    for (const entry of data.files([part])) if ((lengths.get(hex(entry.blob)) ?? entry.len) !== entry.len) refuse('DATA_MANIFEST');
    const merged = part.kind === data.EXCLUSIVE ? this.rank(own, part) : data.merge(own ?? session.part(part.part, part.kind), part);
    if (own && wire.encode('Part', merged).equals(wire.encode('Part', own))) return;
    if (!merged) return;
    session.parts = [...session.parts.filter((it) => it !== own), merged];
    // Who has all of it need not be sent it.
    this.changed(merged, wire.encode('Part', merged).equals(wire.encode('Part', part)) ? from : undefined);
    session.device.event({ type: 'changed', session: hex(session.id), parts: [hex(part.part)] });
  }

  /** Of two copies of an exclusive part the one that stays (SYNC-RANK-1, SYNC-OWN-1). */
  rank(own, other) {
    const { session } = this;
    return session.primary && session.head.kind !== 3 ? own : stays(session.chain, own, other);
  }

  /** What a manifest has becomes part of the data. */
  takeManifest(parts) {
    const streams = parts.filter((part) => part.kind === data.LOG || part.kind === data.OPAQUE);
    if (streams.some((part) => part.strands.length)) refuse('DATA_UNAVAILABLE');
    parts.forEach((part) => this.take(part));
  }

  mark(link, { name, log, at }) {
    const { session } = this;
    if (!session.takesPart || !session.mayKnow(link.peer) || this.stopped.has(link.number)) return;
    (this.marks ??= new Set()).add(link.number);
    session.name ||= name;
    this.held[hex(link.peer)] = { log, at };
    session.device.event({ type: 'synced', session: hex(session.id), peer: hex(link.peer) });
    session.device.store(() => link.ready && link.send('SINCE', { session: session.id, log, at, own: this.name() }));
    this.gather(link);
  }

  /** Gets the content that the data names and that isn't here. */
  gather(link) {
    const { session } = this;
    const lacks = data.files(session.parts).some((entry) => entry.len > 0 && !session.device.blob(entry.blob));
    this.due = undefined;
    if (!lacks || session.gather?.live) return;
    session.gather = new Fetch(session, link);
    session.gather.next();
  }

  /** It couldn't be had: it is asked for again later, from whoever is there. */
  later() {
    this.session.gather = undefined;
    this.due = this.session.device.now + limits.CONTENT_DELAY;
  }

  woken() {
    const { session } = this;
    if (!(this.due <= session.device.now)) return;
    const links = [...session.device.links.values()].filter((link) => link.ready && session.mayKnow(link.peer));
    this.due = links.length ? session.device.now + limits.CONTENT_DELAY : undefined;
    if (links.length) this.gather(links[this.turn++ % links.length]);
  }
}

/** A part as it is sent: in pieces of some strands and their values, if it is too long (6.4). */
function pieces(part) {
  const size = (it) => wire.encode('Part', it).length;
  if (size(part) <= limits.MAX_PART) return [part];
  const valueOf = (strand) => part.values.filter((value) => value.op.actor.equals(strand.actor));
  const out = [];
  for (const strand of [...part.strands].sort((a, b) => valueOf(b).length - valueOf(a).length)) {
    const last = out.at(-1);
    const more = last && add(last, strand, valueOf(strand));
    if (more && size(more) <= limits.MAX_PART) out[out.length - 1] = more;
    else out.push(add({ ...part, strands: [], values: [] }, strand, valueOf(strand)));
  }
  return out;
}

const add = (part, strand, values) => ({
  ...part,
  strands: [...part.strands, strand].sort((a, b) => Buffer.compare(a.actor, b.actor)),
  values: [...part.values, ...values].sort((a, b) => Buffer.compare(a.op.actor, b.op.actor)),
});

/** Of two copies of an exclusive part the one that a device with this chain keeps; the first is what it holds, if anything. */
function stays(chain, own, other) {
  const n = (part) => {
    const record = part?.values[0]?.op.record;
    return record && chain.stands(chain.head, record) ? chain.get(record).n : -1;
  };
  if (n(own) !== n(other)) return n(other) > n(own) ? other : own;
  return n(other) >= 0 && !(own?.values[0]?.op.seq >= other.values[0].op.seq) ? other : own;
}

module.exports = { Sync, stays };
