'use strict';
// A link of spec/03-link: HELLO, AUTH, liveness, frames in and out. What messages mean is the device's affair.

const wire = require('./wire.js');
const { limits, refuse } = wire;

class Link {
  constructor(device, number, role, binding, expect) {
    Object.assign(this, { device, number, role, binding, expect, state: 'greeting', buffer: Buffer.alloc(0), taken: 0 });
    Object.assign(this, { requests: new Map(), asked: 0, streams: new Map(), opened: 0 });
    this.up = this.heard = device.now;
    const hello = wire.frame('HELLO', { generation: device.generation, floor: device.floor, boot: device.boot });
    this.hello = hello.subarray(2);
    this.write(hello);
    const mine = this.digest(role, device.me.id, this.hello);
    this.send('AUTH', { key: device.me.id, sig: wire.sign(device.me, 'segue/1 sig auth', mine) });
  }

  get open() { return this.state !== 'closed'; }

  get ready() { return this.state === 'ready'; }

  digest(role, key, hello) {
    const side = Buffer.from([role === 'initiator' ? 0 : 1]);
    return wire.derive('segue/1 auth', Buffer.concat([side, key, hello, this.binding]));
  }

  write(bytes) { if (this.open) this.device.out.control.push([this.number, bytes.toString('hex')]); }

  send(name, fields) { this.write(wire.frame(name, fields)); }

  /** The number of a request, under which what it is about is found when it is answered. */
  request(what) {
    this.asked += 1;
    this.requests.set(this.asked, what);
    return this.asked;
  }

  error(req, session, code) {
    const { definite } = wire.codes.get(code);
    this.send('ERROR', { req: req ?? 0, session: session ? [session] : [], code: wire.bytesOf(code), definite, retry_after_ms: 0 });
  }

  /** Handles a message as if it came now. */
  serve(name, fields) { if (this.ready) this.device.message(this, name, fields); }

  /** Sends a bulk stream. */
  stream(header, bytes) {
    this.opened += 1;
    this.device.out.bulk.push({ link: this.number, stream: this.opened, bytes: Buffer.concat([header, bytes]).toString('hex'), fin: true });
  }

  /** Takes bytes of the control stream. */
  received(bytes) {
    if (!this.open) return;
    this.heard = this.device.now;
    this.pinged = false;
    this.buffer = Buffer.concat([this.buffer, bytes]);
    try {
      while (this.open && this.step());
    } catch (error) {
      if (!(error instanceof wire.Refused)) throw error;
      this.end(error.code);
    }
  }

  /** Reads a frame, if it is all there. */
  step() {
    const frame = wire.header(this.buffer);
    if (frame && !wire.byType.has(frame.type) && frame.type % 2 === 0) refuse('WIRE_UNKNOWN_CRITICAL');
    const size = frame ? frame.size + frame.length : Infinity;
    const whole = this.buffer.length >= size;
    if (!this.ready && this.taken + (whole ? size : this.buffer.length) > limits.MAX_PREAUTH) refuse('LIMIT_PREAUTH');
    if (!whole) {
      this.begun = this.buffer.length ? this.begun ?? this.device.now : undefined;
      return false;
    }
    const bytes = this.buffer.subarray(frame.size, size);
    this.buffer = this.buffer.subarray(size);
    this.begun = undefined;
    this.taken += size;
    const message = wire.byType.get(frame.type);
    if (message) this.take(message, bytes);
    return true;
  }

  take(message, bytes) {
    const fields = wire.payload(message, bytes);
    if (message.name === 'GOAWAY') return this.left(fields.code);
    if (this.state === 'greeting') return message.name === 'HELLO' ? this.greeted(fields, bytes) : refuse('WIRE_STATE');
    if (this.state === 'authenticating') return message.name === 'AUTH' ? this.proven(fields) : refuse('WIRE_STATE');
    if (['HELLO', 'AUTH', 'BYTES'].includes(message.name)) refuse('WIRE_STATE');
    if (wire.generations.indexOf(message.since) >= this.generation) refuse('VER_NOT_PERMITTED');
    if (message.name === 'PING') return fields.answer || this.send('PING', { nonce: fields.nonce, answer: true });
    return this.device.message(this, message.name, fields);
  }

  get receiving() { return [...this.streams.values()].some((it) => it.request); }

  /** Takes bytes of a bulk stream. */
  bulk(number, bytes, fin) {
    if (!this.open) return;
    if (!this.ready) return this.end('WIRE_STATE');
    const it = this.streams.get(number) ?? { begun: this.device.now, held: Buffer.alloc(0) };
    this.streams.set(number, it);
    if (it.refused) return fin && this.streams.delete(number);
    it.held = Buffer.concat([it.held, bytes]);
    try {
      if (!it.header) this.begin(it);
    } catch (error) {
      if (!(error instanceof wire.Refused)) throw error;
      return this.end(error.code);
    }
    if (it.request) this.bulkAt = this.device.now;
    if (!fin && !(it.request && it.held.length > it.header.len)) return undefined;
    this.streams.delete(number);
    return this.over(it, false);
  }

  bulkLost(number) {
    const it = this.streams.get(number);
    this.streams.delete(number);
    if (it) this.over(it, true);
  }

  /** Reads the BYTES of a stream, if it is all there (TRANSFER-BYTES-1, TRANSFER-BYTES-2). */
  begin(it) {
    const frame = wire.header(it.held);
    if (!frame) return;
    const message = wire.byType.get(frame.type);
    if (message?.name !== 'BYTES') refuse('WIRE_STATE');
    if (it.held.length < frame.size + frame.length) return;
    it.header = wire.payload(message, it.held.subarray(frame.size, frame.size + frame.length));
    it.held = it.held.subarray(frame.size + frame.length);
    const { req, blob, offset, len } = it.header;
    const request = this.requests.get(req);
    const edges = new Set(request?.chunks?.flatMap((chunk) => [chunk.offset, chunk.offset + chunk.len]));
    const fits = request?.blob?.equals(blob) && len > 0 && offset + len <= request.len && edges.has(offset) && edges.has(offset + len);
    if (fits) Object.assign(it, { request });
    else it.refused = true;
  }

  /** A bulk stream is over, whichever way. */
  over({ request, header, held }, lost) {
    if (!request) return;
    this.bulkAt = this.device.now;
    this.requests.delete(header.req);
    const broken = lost || held.length < header.len;
    request.fetch.took(request, header.offset, held.subarray(0, header.len), { broken, more: held.length > header.len });
  }

  greeted(hello, payload) {
    const { generation, floor, boot } = hello;
    if (floor < 1 || floor > wire.generations.length || floor > generation) refuse('WIRE_VALUE');
    Object.assign(this, { state: 'authenticating', generation: Math.min(generation, this.device.generation) });
    this.theirs = { floor, boot, payload };
  }

  proven({ key, sig }) {
    const { device, theirs } = this;
    const digest = this.digest(this.role === 'initiator' ? 'responder' : 'initiator', key, theirs.payload);
    if (key.equals(device.me.id) || !wire.verify(key, 'segue/1 sig auth', digest, sig)) refuse('AUTH_FAILED');
    if (this.expect && !this.expect.equals(key)) refuse('AUTH_FAILED');
    if (this.generation < Math.max(theirs.floor, device.floor)) refuse('VER_BELOW_FLOOR');
    if (!device.accepts(key)) refuse('AUTH_FAILED');
    this.peer = key;
    const initiator = this.initiator();
    for (const other of device.links.values()) {
      if (other === this || !other.ready || !other.peer.equals(key)) continue;
      const crossed = other.theirs.boot.equals(theirs.boot) && !other.initiator().equals(initiator);
      if (crossed && Buffer.compare(other.initiator(), initiator) < 0) return this.end('LINK_REPLACED');
      other.end('LINK_REPLACED');
    }
    this.state = 'ready';
    device.event({ type: 'link-ready', link: this.number, peer: key.toString('hex'), generation: wire.generations[this.generation - 1] });
    return device.linked(this);
  }

  initiator() { return this.role === 'initiator' ? this.device.me.id : this.peer; }

  /** The peer said GOAWAY. */
  left(code) {
    this.send('GOAWAY', { code: wire.bytesOf('LINK_SHUTDOWN') });
    const name = wire.nameOf(code);
    this.close(name, name, true);
  }

  /** Ends the link with a code. */
  end(code) {
    if (!this.open) return;
    this.send('GOAWAY', { code: wire.bytesOf(code) });
    this.close(code, code, false);
  }

  close(told, code, remote) {
    this.device.out.closes.push([this.number, remote ? 'LINK_SHUTDOWN' : told]);
    this.down(code, remote);
  }

  /** The transport is gone, or about to be. */
  down(code, remote) {
    if (!this.open) return;
    this.state = 'closed';
    this.device.links.delete(this.number);
    this.device.event({ type: 'link-closed', link: this.number, ...(this.peer && { peer: this.peer.toString('hex') }), code, remote });
  }

  /** When it has to be looked at, and what is due then. */
  timers() {
    const due = [[this.begun + limits.FRAME_TIMEOUT, 'LIMIT_PROGRESS']];
    for (const it of this.streams.values()) if (!it.header) due.push([it.begun + limits.FRAME_TIMEOUT, 'LIMIT_PROGRESS']);
    if (this.state === 'greeting') due.push([this.up + limits.HELLO_TIMEOUT, 'LIMIT_PROGRESS']);
    if (!this.ready) due.push([this.up + limits.AUTH_TIMEOUT, 'LIMIT_PROGRESS']);
    else due.push([this.heard + limits.IDLE, 'LIMIT_IDLE'], [this.pinged ? NaN : this.heard + limits.KEEPALIVE, undefined]);
    return due.filter(([at]) => !Number.isNaN(at));
  }

  woken() {
    for (const [at, code] of this.timers()) {
      if (at > this.device.now || !this.open) continue;
      if (code) this.end(code);
      else {
        this.pinged = true;
        this.send('PING', { nonce: this.device.nonce(), answer: false });
      }
    }
  }
}

module.exports = { Link };
