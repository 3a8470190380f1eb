'use strict';
// Checks what is here against the vectors of the specification: node vectors.js

const fs = require('node:fs');
const path = require('node:path');
const wire = require('./wire.js');
const data = require('./data.js');
const { Chain, record } = require('./chain.js');
const { readWant } = require('./session.js');
const { stays } = require('./sync.js');

const root = path.join(__dirname, '../../vectors');
const bytes = (digits) => Buffer.from(digits, 'hex');
const joined = (...parts) => Buffer.concat(parts.map((part) => (typeof part === 'string' ? bytes(part) : part)));

/** A value as vectors write it; numbers beyond 2^53 are text there and here. */
const plain = (value) => {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'string') return { text: value };
  if (typeof value === 'bigint') return String(value);
  if (value && typeof value === 'object') return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, plain(it)]));
  return value;
};

const forms = { Record: record, Want: readWant };
const checks = {
  value: (input) => {
    const value = wire.decode(input.encoding, bytes(input.bytes));
    if (!wire.encode(input.encoding, value).equals(bytes(input.bytes))) throw new Error('it encodes to other bytes');
    return { value: plain(value) };
  },
  frame: (input) => {
    const all = bytes(input.bytes);
    const head = wire.header(all);
    const message = wire.byType.get(head.type);
    if (!message) return head.type % 2 ? { skipped: true } : wire.refuse('WIRE_UNKNOWN_CRITICAL');
    wire.payload(message, all.subarray(head.size));
    return { message: message.name };
  },
  verify: (input) => forms[input.object]?.({ body: bytes(input.body), sig: bytes(input.sig) }),
  actor: (input) => ({ actor: plain(wire.derive('segue/1 actor', joined(input.device, input.nonce))) }),
  'session-id': (input) => ({ session: plain(wire.derive('segue/1 session', joined(input.creator, input.nonce)).subarray(0, 16)) }),
  'part-root': (input) => {
    const strands = input.strands.map((it) => ({ actor: bytes(it.actor), seq: it.seq, hash: bytes(it.hash) }));
    return { part_root: plain(data.partRoot({ part: bytes(input.part), kind: input.kind, strands })) };
  },
  rank: (input) => {
    const chain = new Chain(bytes(input.session));
    input.records.forEach(({ body, sig }) => chain.take(record({ body: bytes(body), sig: bytes(sig) })));
    const [came, held] = [input.came, ...input.held].map((it) => wire.decode('Part', bytes(it)));
    const kept = [stays(chain, held, came)].filter(Boolean);
    return {
      kept: kept.map((part) => plain(wire.encode('Part', part))),
      part_root: kept.map((part) => plain(data.partRoot(part))),
      value: kept.map((part) => plain(part.values[0].op.body.toString())),
    };
  },
  entry: (input) => data.checkEntry(wire.decode('Entry', bytes(input.bytes))) ?? {},
  path: (input) => data.checkPath(input.path.text) ?? { accepted: true },
};

let [agree, differ, left] = [0, 0, 0];
for (const chapter of fs.readdirSync(root)) {
  for (const which of ['valid', 'invalid'].filter((folder) => fs.existsSync(path.join(root, chapter, folder)))) {
    for (const file of fs.readdirSync(path.join(root, chapter, which))) {
      const text = fs.readFileSync(path.join(root, chapter, which, file), 'utf8');
      const vector = JSON.parse(text.replace(/: (\d{16,})/g, ': "$1"'));
      let found;
      try { found = checks[vector.kind]?.(vector.input); } catch (error) { found = { error: error.code ?? String(error) }; }
      const same = () => Object.entries(found).every(([key, value]) => JSON.stringify(value) === JSON.stringify(vector.expected[key]));
      if (!found) left++;
      else if (which === 'invalid' ? found.error === vector.expected.error : same()) agree++;
      else {
        differ++;
        console.log(`${chapter}/${which}/${file}: ${JSON.stringify(found)} instead of ${JSON.stringify(vector.expected)}`.slice(0, 300));
      }
    }
  }
}
console.log(`${agree} vectors agree, ${differ} differ, ${left} are of kinds that aren't checked here`);
process.exitCode = differ ? 1 : 0;
