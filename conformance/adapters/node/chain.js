'use strict';
// The chain of ownership of spec/07-handoff, 7.1 and 7.2: which records follow, and which is the head.

const wire = require('./wire.js');
const { refuse } = wire;

const ZERO = Buffer.alloc(32);
const [GENESIS, GRANT, DELEGATE, TAKEOVER, CLOSE] = [0, 1, 2, 3, 4];
const zero = (id) => id.equals(ZERO);
const hex = (bytes) => bytes.toString('hex');

/** A record as it came, with its form and its signature checked. */
function record(signed) {
  const it = wire.object('record', signed);
  const [genesis] = it.genesis;
  if (it.kind > CLOSE || (genesis && !ascends(genesis.members))) refuse('WIRE_VALUE');
  if (!wire.isSigned('record', it, it.signer)) refuse('AUTH_SIGNATURE');
  return it;
}

const ascends = (ids) => ids.every((id, at) => at === 0 || Buffer.compare(ids[at - 1], id) < 0);

class Chain {
  constructor(session) {
    Object.assign(this, { session, records: new Map(), head: undefined });
  }

  get(id) { return id && this.records.get(hex(id)); }

  has(id) { return this.records.has(hex(id)); }

  get genesis() { return this.records.values().next().value; }

  isMember(device) {
    const listed = this.genesis?.genesis[0].members.some((member) => member.equals(device));
    return listed || [...this.records.values()].some((it) => it.owner.equals(device) || it.grantor.equals(device));
  }

  /** Refuses a record that doesn't follow (7.1, in its order). */
  check(it) {
    const chain = (ok) => ok || refuse('HO_CHAIN');
    const { kind } = it;
    if (this.records.size === 0) {
      chain(it.session.equals(this.session) && kind === GENESIS && it.genesis.length === 1 && zero(it.parent));
      chain(it.term === 0 && it.n === 0 && it.owner.equals(it.signer) && it.grantor.equals(it.signer) && !zero(it.want));
      const id = wire.derive('segue/1 session', Buffer.concat([it.signer, it.genesis[0].nonce])).subarray(0, 16);
      return chain(id.equals(this.session));
    }
    const parent = this.get(it.parent);
    chain(it.session.equals(this.session) && parent);
    if (parent.kind === CLOSE) refuse('HO_CLOSED');
    chain(it.n === parent.n + 1 && it.term === parent.term + (kind === TAKEOVER ? 1 : 0));
    if (kind === TAKEOVER) chain(this.isMember(it.signer) && it.owner.equals(it.signer) && it.grantor.equals(it.signer));
    else chain(it.signer.equals(parent.grantor));
    chain(kind !== GENESIS && it.genesis.length === 0);
    if (kind === GRANT) chain(!zero(it.owner) && (it.grantor.equals(it.owner) || it.grantor.equals(parent.grantor)) && !zero(it.want));
    if (kind === DELEGATE) chain(it.owner.equals(parent.owner) && !zero(it.grantor) && it.want.equals(parent.want));
    if (kind === TAKEOVER) chain(!zero(it.want));
    if (kind === CLOSE) chain(zero(it.owner) && zero(it.grantor) && zero(it.want));
    return true;
  }

  /** Takes a record in that follows: whether it is new, and the two records of one key if it shows that there are two. */
  take(it) {
    if (this.has(it.id)) return { isNew: false };
    this.check(it);
    if (this.records.size >= wire.limits.MAX_CHAIN) refuse('LIMIT_ROOM');
    const parent = this.get(it.parent);
    const opener = it.kind === TAKEOVER ? it.id : parent?.opener ?? ZERO;
    const twin = [...this.records.values()].find((other) => other.kind !== GENESIS && other.parent.equals(it.parent)
      && other.signer.equals(it.signer) && other.term === it.term);
    const entry = { ...it, opener };
    this.records.set(hex(it.id), entry);
    if (!this.head || higher(entry, this.head)) this.head = entry;
    return { isNew: true, twin };
  }

  /** Whether `below` is `above` or stands before it. */
  stands(above, below) {
    for (let it = above; it; it = this.get(it.parent)) if (it.id.equals(below)) return true;
    return false;
  }

  /** The records that lead from one that a peer has, if it has one that is known here, to the head. */
  suffix(from) {
    const out = [];
    const known = from && this.get(from);
    for (let it = this.head; it && !(known && this.stands(known, it.id)); it = this.get(it.parent)) out.unshift(it);
    return out;
  }
}

/** Whether a record leads before another (HO-HEAD-1). */
function higher(a, b) {
  if (a.term !== b.term) return a.term > b.term;
  const opened = Buffer.compare(a.opener, b.opener);
  if (opened) return opened > 0;
  return a.n === b.n ? Buffer.compare(a.id, b.id) < 0 : a.n > b.n;
}

module.exports = { Chain, record, higher, zero, hex, ascends, ZERO, GENESIS, GRANT, DELEGATE, TAKEOVER, CLOSE };
