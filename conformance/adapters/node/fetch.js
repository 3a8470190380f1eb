'use strict';
// Getting from a peer what a manifest names, or the own data (spec/08-transfer), a blob at a time, each by a GET.

const wire = require('./wire.js');
const data = require('./data.js');
const { hex } = require('./chain.js');
const { limits } = wire;

class Fetch {
  constructor(session, link, announced) {
    Object.assign(this, { session, link, announced, bad: new Map() });
  }

  get live() { return (this.announced ? this.session.wish?.fetch : this.session.gather) === this && this.link.ready; }

  fail(code) { return this.announced ? this.session.end(code) : this.session.sync.later(); }

  /** Asks for the next thing that is missing. */
  next() {
    const { session, announced } = this;
    const { device } = session;
    if (!this.live) return;
    try {
      const bytes = announced && device.blob(announced.manifest);
      if (announced && !bytes) return this.ask({ blob: announced.manifest, len: announced.manifest_len });
      const manifest = announced ? data.manifest(session.id, bytes, announced.root) : { parts: session.parts };
      const long = (entry) => Number(entry.chunks.length > 0);
      for (const entry of data.files(manifest.parts).sort((a, b) => long(a) - long(b))) { // TRANSFER-ORDER-1
        const [list] = entry.chunks;
        if (entry.len === 0 || device.blob(entry.blob)) continue;
        if (list && !device.blob(list.hash)) return this.ask({ blob: list.hash, len: list.len });
        const chunks = list && data.plan(device.blob(list.hash), entry.len);
        return this.ask({ blob: entry.blob, len: entry.len, chunks });
      }
      return this.complete(manifest);
    } catch (error) {
      if (!(error instanceof wire.Refused)) throw error;
      return this.fail(error.code);
    }
  }

  ask(what) {
    const chunks = what.chunks ?? [{ offset: 0, len: what.len, hash: what.blob }];
    const got = this.current?.blob.equals(what.blob) ? this.current.got : new Map();
    this.current = { ...what, chunks, got, fetch: this, sent: this.session.device.now };
    this.current.req = this.link.request(this.current);
    this.link.send('GET', { req: this.current.req, session: this.session.id, blob: what.blob, len: what.len });
  }

  /** What came of a stream that answered: its bytes from an offset on, and how it ended. */
  took(request, offset, bytes, { broken, more }) {
    const { device } = this.session;
    if (!this.live || request !== this.current) return;
    let [fresh, wrong] = [0, more];
    for (const chunk of request.chunks) {
      const at = chunk.offset - offset;
      if (at < 0 || at + chunk.len > bytes.length || request.got.has(chunk.offset)) continue;
      const part = bytes.subarray(at, at + chunk.len);
      if (!wire.hash(part).equals(chunk.hash)) wrong = true;
      else {
        request.got.set(chunk.offset, part);
        fresh++;
      }
    }
    const whole = request.got.size === request.chunks.length && Buffer.concat(request.chunks.map((it) => request.got.get(it.offset)));
    if (whole && !wire.hash(whole).equals(request.blob)) {
      wrong = true;
      request.got.clear();
    } else if (whole) {
      device.keep(request.blob, whole);
      return this.next();
    }
    if (wrong || (!broken && !fresh)) {
      const times = (this.bad.get(hex(request.blob)) ?? 0) + 1;
      this.bad.set(hex(request.blob), times);
      if (times > limits.MAX_REFETCH) return this.fail(wrong ? 'DATA_HASH' : 'DATA_UNAVAILABLE');
    }
    return this.ask(request);
  }

  failed(code) {
    if (!this.live || code === 'LIMIT_REQUESTS') return undefined;
    return this.announced && code === 'DATA_UNAVAILABLE' ? this.session.gone(this.announced) : this.fail(code);
  }

  get due() { return this.live && this.current && !this.link.receiving ? Math.max(this.current.sent, this.link.bulkAt ?? 0) + limits.ANSWER_TIMEOUT : undefined; }

  woken() {
    if (!(this.due <= this.session.device.now)) return;
    this.link.requests.delete(this.current.req);
    this.ask(this.current);
  }

  complete(manifest) {
    const { session, announced } = this;
    this.current = undefined;
    if (!announced) {
      session.gather = undefined;
      return session.device.store();
    }
    session.sync.takeManifest(manifest.parts);
    session.name ||= manifest.name;
    session.staged[hex(announced.manifest)] = true;
    return session.device.store(() => this.live && session.fetched(this.link, announced));
  }
}

module.exports = { Fetch };
