'use strict';
// The encodings of spec/02-wire: values by the schema that stands beside the specification, frames, signatures.

const crypto = require('node:crypto');
const { hash, derive } = require('./blake3.js');
const schema = require('../../../spec/schema.json');
const registry = require('../../../spec/registry.json');

const structures = new Map([...schema.payloads, ...schema.objects, ...schema.blobs].map((it) => [it.name, it.fields]));
const byType = new Map(registry.messages.map((it) => [it.type, it]));
const byName = new Map(registry.messages.map((it) => [it.name, it]));
const codes = new Map(registry.errors.map((it) => [it.name, it]));
const limits = Object.fromEntries(registry.limits.map((it) => [it.name, it.value]));
const generations = registry.generations.map((it) => it.name);

/** What a peer did wrong, or why a request fails: a code of chapter 12. */
class Refused extends Error {
  constructor(code, text = code) {
    super(text);
    this.code = code;
  }
}

const refuse = (code, text) => { throw new Refused(code, text); };

class Reader {
  constructor(bytes) {
    Object.assign(this, { bytes, at: 0, minimal: true });
  }

  take(length) {
    if (this.at + length > this.bytes.length) refuse('WIRE_LENGTH');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  varint(bits) {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (shift === 70n) refuse('WIRE_NONCANONICAL');
      const [byte] = this.take(1);
      value |= BigInt(byte & 0x7f) << shift;
      if (value >> BigInt(bits)) refuse('WIRE_NONCANONICAL');
      if (byte < 0x80) {
        if (byte === 0 && shift > 0n) this.minimal = false;
        return value > BigInt(Number.MAX_SAFE_INTEGER) ? value : Number(value);
      }
    }
  }

  counted(cap) {
    const bytes = this.take(Number(this.varint(64)));
    return bytes.length > cap ? refuse('WIRE_LIMIT') : bytes;
  }
}

function varint(value) {
  const out = [];
  for (let rest = BigInt(value); ; rest >>= 7n) {
    if (rest < 0x80n) return Buffer.from([...out, Number(rest)]);
    out.push(Number(rest & 0x7fn) | 0x80);
  }
}

/** An encoding as schema.json writes it: how it is read and written. */
const encodings = new Map();
function encoding(text) {
  if (!encodings.has(text)) encodings.set(text, make(text));
  return encodings.get(text);
}

function make(text) {
  let found;
  if (text === 'u8') return { read: (from) => from.take(1)[0], write: (value) => Buffer.from([value]) };
  if (text === 'bool') {
    const read = (from) => { const [byte] = from.take(1); return byte > 1 ? refuse('WIRE_NONCANONICAL') : byte === 1; };
    return { read, write: (value) => Buffer.from([value ? 1 : 0]) };
  }
  if ((found = /^varint < 2\^(\d+)$/.exec(text))) return { read: (from) => from.varint(Number(found[1])), write: varint };
  if ((found = /^(\d+) bytes$/.exec(text))) return { read: (from) => from.take(Number(found[1])), write: (value) => value };
  if ((found = /^bytes ≤ (\d+)$/.exec(text))) {
    return { read: (from) => from.counted(Number(found[1])), write: (value) => Buffer.concat([varint(value.length), value]) };
  }
  if ((found = /^string ≤ (\d+)$/.exec(text))) {
    const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    const read = (from) => {
      const bytes = from.counted(Number(found[1]));
      try { return utf8.decode(bytes); } catch { return refuse('WIRE_NONCANONICAL'); }
    };
    return { read, write: (value) => Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)]) };
  }
  if ((found = /^list ≤ (\d+) of (.*)$/.exec(text) ?? /^(optional) (.*)$/.exec(text))) {
    const cap = found[1] === 'optional' ? 1 : Number(found[1]);
    const read = (from) => {
      const many = from.varint(64);
      if (many > cap) refuse('WIRE_LIMIT');
      return Array.from({ length: many }, () => encoding(found[2]).read(from));
    };
    return { read, write: (value) => Buffer.concat([varint(value.length), ...value.map((it) => encoding(found[2]).write(it))]) };
  }
  if ((found = /^Signed (.*)$/.exec(text))) {
    const read = (from) => ({ body: from.counted(limits.MAX_SIGNED_BODY), sig: from.take(64) });
    return { read, write: ({ body, sig }) => Buffer.concat([varint(body.length), body, sig]) };
  }
  const fields = structures.get(text);
  return {
    read: (from) => Object.fromEntries(fields.map((field) => [field.name, encoding(field.encoding).read(from)])),
    write: (value) => Buffer.concat(fields.map((field) => encoding(field.encoding).write(value[field.name]))),
  };
}

const encode = (name, value) => encoding(name).write(value);

/** The value that takes all of these bytes, refused in the order of WIRE-ORDER-1. */
function decode(name, bytes) {
  const from = new Reader(bytes);
  const value = encoding(name).read(from);
  if (!from.minimal) refuse('WIRE_NONCANONICAL');
  if (from.at < bytes.length) refuse('WIRE_LENGTH');
  return value;
}

/** A frame's bytes. */
function frame(name, fields) {
  const message = byName.get(name);
  const payload = encode(message.payload, { ext: [], ...fields });
  return Buffer.concat([varint(message.type), varint(payload.length), payload]);
}

/** Reads type and length of the frame that begins here: `{type, length, size}`, or nothing if bytes are missing. */
function header(bytes) {
  const from = new Reader(bytes);
  const next = () => {
    const value = from.varint(64);
    return from.minimal ? value : refuse('WIRE_NONCANONICAL');
  };
  try {
    const type = next();
    const length = next();
    if (length > limits.MAX_FRAME) refuse('LIMIT_FRAME');
    return { type, length, size: from.at };
  } catch (error) {
    if (error.code === 'WIRE_LENGTH') return undefined;
    throw error;
  }
}

/** The payload of a known message; `known` are the ids of extensions that it may have. */
function payload(message, bytes, known = []) {
  const fields = decode(message.payload, bytes);
  if (fields.ext.some((ext) => ext.id % 2 === 0 && !known.includes(ext.id))) refuse('WIRE_UNKNOWN_CRITICAL');
  return fields;
}

/** The device of a seed: its public key, and the key that signs. */
function identity(seed) {
  const key = crypto.createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' });
  return { key, id: crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(SPKI.length) };
}

const sign = (me, context, digest) => crypto.sign(null, Buffer.concat([Buffer.from(context), digest]), me.key);

/** Whether a signature is good by WIRE-SIGN-1: OpenSSL takes keys and R of small order, which are refused here. */
function verify(id, context, digest, sig) {
  if (small(id) || small(sig)) return false;
  try {
    const key = crypto.createPublicKey({ key: Buffer.concat([SPKI, id]), format: 'der', type: 'spki' });
    return crypto.verify(null, Buffer.concat([Buffer.from(context), digest]), key, sig);
  } catch {
    return false;
  }
}

/** Whether the first 32 bytes encode a point of small order, in whatever way. */
function small(bytes) {
  const y = Buffer.from(bytes.subarray(0, 32));
  y[31] &= 0x7f;
  return SMALL.includes(y.toString('hex'));
}

/** Signs the fields of an object: `{id, body, sig}`. */
function signed(me, name, fields) {
  const kind = schema.signed.find((it) => it.name === name || it.body === name);
  const body = encode(kind.body, fields);
  const id = derive(kind.id_context, body);
  return { id, body, sig: sign(me, kind.signature_context, id) };
}

/** Reads a signed object without its signature being looked at: its fields, `id`, `body` and `sig`. */
function object(name, { body, sig }) {
  const kind = schema.signed.find((it) => it.name === name || it.body === name);
  return { ...decode(kind.body, body), id: derive(kind.id_context, body), body, sig };
}

const isSigned = (name, it, by) => verify(by, schema.signed.find((it) => it.name === name || it.body === name).signature_context, it.id, it.sig);

/** A code by its name, as it stands in messages. */
const bytesOf = (name) => {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(codes.get(name).code);
  return out;
};

/** The name of a code in a message. */
const nameOf = (bytes) => registry.errors.find((it) => it.code === bytes.readUInt16BE())?.name ?? `0x${bytes.toString('hex')}`;

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');
const SMALL = [
  '00'.repeat(32), `01${'00'.repeat(31)}`, `ec${'ff'.repeat(30)}7f`, `ed${'ff'.repeat(30)}7f`, `ee${'ff'.repeat(30)}7f`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
];

module.exports = {
  Refused, refuse, encode, decode, frame, header, payload, identity, sign, verify, signed, object, isSigned,
  hash, derive, bytesOf, nameOf, byType, codes, limits, generations,
};
