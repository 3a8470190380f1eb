'use strict';
// Parts, ops, roots and manifests of spec/05-data. Of logs and opaque parts only that they are there.

const wire = require('./wire.js');
const { hex, zero } = require('./chain.js');
const { derive, encode, limits, refuse } = wire;

const [REGISTER, LOG, BLOB, OPAQUE, EXCLUSIVE] = [1, 2, 3, 4, 5];
const [FILE, EXECUTABLE, DIRECTORY, REMOVED] = [0, 1, 2, 3];

const number = (value, size) => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out.subarray(8 - size);
};
const ascending = (list, key) => list.every((it, at) => at === 0 || Buffer.compare(list[at - 1][key], it[key]) < 0);
const sorted = (list, key) => [...list].sort((a, b) => Buffer.compare(a[key], b[key]));
const tip = (part, actor) => part.strands.find((it) => it.actor.equals(actor));
const isFile = (entry) => entry.mode === FILE || entry.mode === EXECUTABLE;

const start = (session, part, actor) => derive('segue/1 strand', Buffer.concat([session, part, actor]));

/** The hash of an op that follows one. */
function opHash(prev, op) {
  const body = derive('segue/1 body', Buffer.concat([op.salt, op.body]));
  const header = encode('OpHeader', { ...op, body_len: op.body.length, body_hash: body });
  return derive('segue/1 op', Buffer.concat([prev, header]));
}

function partRoot(part) {
  const strands = part.strands.flatMap((it) => [it.actor, number(it.seq, 8), it.hash]);
  return derive('segue/1 part', Buffer.concat([part.part, number(part.kind, 2), number(part.strands.length, 4), ...strands]));
}

function root(session, parts) {
  const each = sorted(parts, 'part').flatMap((part) => [part.part, partRoot(part)]);
  return derive('segue/1 root', Buffer.concat([session, number(parts.length, 4), ...each]));
}

const exclusiveRoot = (session, parts) => root(session, parts.filter((part) => part.kind === EXCLUSIVE));

/** The value of several that is shown. */
const shown = (part) => part.values.reduce((best, it) => (best && !later(it.op, best.op) ? best : it), undefined);

function later(a, b) {
  return (Buffer.compare(a.hlc, b.hlc) || Buffer.compare(a.actor, b.actor) || a.seq - b.seq) > 0;
}

const entryOf = (value) => wire.decode('Entry', value.op.body);

/** Writes a value by an actor into a part, which replaces the values of these. */
function write(session, part, actor, { body, record, replaces, ms, random }) {
  const mine = tip(part, actor) ?? { actor, seq: 0, hash: start(session, part.part, actor) };
  const read = replaces.filter((it) => !it.op.actor.equals(actor));
  const last = [number(0, 8), ...part.values.map((it) => it.op.hlc)].reduce((a, b) => (Buffer.compare(a, b) > 0 ? a : b));
  const clock = BigInt(Math.max(ms, 1)) << 16n;
  const hlc = clock > last.readBigUInt64BE() ? clock : last.readBigUInt64BE() + 1n;
  const deps = sorted(read.map((it) => tip(part, it.op.actor)), 'actor');
  const op = { part: part.part, actor, seq: mine.seq + 1, deps, hlc: number(hlc, 8), record, salt: random(16), body };
  put(part, { prev: mine.hash, op });
  return op;
}

/** Puts a value that follows into a part. */
function put(part, value) {
  const { op } = value;
  const covered = (it) => it.op.actor.equals(op.actor) || op.deps.some((dep) => dep.actor.equals(it.op.actor) && dep.seq >= it.op.seq);
  part.values = sorted([...part.values.filter((it) => !covered(it)), value].map((it) => ({ ...it, actor: it.op.actor })), 'actor')
    .map(({ prev, op: its }) => ({ prev, op: its }));
  const others = part.strands.filter((it) => !it.actor.equals(op.actor));
  part.strands = sorted([...others, { actor: op.actor, seq: op.seq, hash: opHash(value.prev, op) }], 'actor');
}

/** Checks the `deps` of an op (DATA-OP-4). */
function checkDeps(op) {
  if (!ascending(op.deps, 'actor') || op.deps.some((dep) => dep.actor.equals(op.actor) || dep.seq < 1)) refuse('DATA_MANIFEST');
}

/** Checks a part as a manifest has it; a copy that sync brings may lack values. */
function checkPart(session, part, lacking = false) {
  const bad = (wrong) => wrong && refuse('DATA_MANIFEST');
  const { kind, strands, values } = part;
  if (kind < REGISTER || kind > EXCLUSIVE) refuse('WIRE_VALUE');
  bad(!ascending(strands, 'actor') || strands.some((it) => it.seq < 1));
  bad(!ascending(values.map((it) => it.op), 'actor'));
  const stream = kind === LOG || kind === OPAQUE;
  bad(stream ? values.length > 0 : !(lacking && kind !== EXCLUSIVE) && (values.length > 0) !== (strands.length > 0));
  bad(kind === EXCLUSIVE && values.length > 1);
  for (const { prev, op } of values) {
    const its = tip(part, op.actor);
    bad(!op.part.equals(part.part) || its?.seq !== op.seq);
    const first = op.seq !== 1 || prev.equals(start(session, part.part, op.actor));
    if (!opHash(prev, op).equals(its.hash) || !first) refuse('DATA_HASH');
    checkDeps(op);
    if (kind === BLOB) checkEntry(wire.decode('Entry', op.body));
  }
}

function checkEntry(entry) {
  const bad = (wrong) => wrong && refuse('DATA_MANIFEST');
  if (entry.mode > REMOVED) refuse('WIRE_VALUE');
  checkPath(entry.path);
  if (!isFile(entry)) bad(entry.len !== 0 || !zero(entry.blob));
  else bad(entry.len === 0 ? !entry.blob.equals(NOTHING) : entry.len > limits.MAX_BLOB || zero(entry.blob));
  const [list] = entry.chunks;
  bad(Boolean(list) !== entry.len > limits.CHUNK || (list && (list.len < 1 || list.len > limits.MAX_MANIFEST)));
}

function checkPath(path) {
  if (path.length < 1 || Buffer.byteLength(path) > limits.MAX_PATH) refuse('DATA_NAME');
  for (const part of path.split('/')) {
    const long = part.length < 1 || Buffer.byteLength(part) > limits.MAX_COMPONENT;
    const stem = part.split('.')[0].replace(/ +$/, '');
    if (long || FORBIDDEN.test(part) || /[\\:]|[. ]$/.test(part) || DEVICES.test(stem)) refuse('DATA_NAME');
  }
}

function checkName(name) {
  if ([...name].length > limits.MAX_NAME || FORBIDDEN.test(name)) refuse('WIRE_STRING');
}

/** Reads a manifest of a session, and checks it in the order of 5.5; its root is `announced`. */
function manifest(session, bytes, announced) {
  if (bytes.length > limits.MAX_MANIFEST) refuse('LIMIT_MANIFEST');
  const it = wire.decode('Manifest', bytes);
  if (!it.session.equals(session)) refuse('DATA_MANIFEST');
  checkName(it.name);
  if (!ascending(it.parts, 'part')) refuse('DATA_MANIFEST');
  it.parts.forEach((part) => checkPart(session, part));
  const lengths = new Map();
  for (const entry of files(it.parts)) {
    if ((lengths.get(hex(entry.blob)) ?? entry.len) !== entry.len) refuse('DATA_MANIFEST');
    lengths.set(hex(entry.blob), entry.len);
  }
  if (!root(session, it.parts).equals(announced)) refuse('DATA_ROOT');
  return it;
}

/** The files that values name, in the order of their parts. */
function files(parts) {
  const values = parts.filter((part) => part.kind === BLOB).flatMap((part) => part.values);
  return values.map(entryOf).filter(isFile);
}

/** Where the live files stand that are shown (DATA-TREE-1). */
function placed(parts) {
  const [taken, out] = [new Map(), []];
  const above = (path) => path.split('/').slice(0, -1).map((_, at, all) => all.slice(0, at + 1).join('/'));
  const free = (path, entry) => {
    const file = isFile(entry);
    const under = [...taken].some(([other, its]) => (above(path).includes(other) && its) || (file && above(other).includes(path)));
    return !taken.has(path) && !under;
  };
  for (const part of sorted(parts.filter((it) => it.kind === BLOB && it.values.length), 'part')) {
    const entry = entryOf(shown(part));
    if (entry.mode === REMOVED) continue;
    const digits = hex(part.part);
    const folder = entry.path.split('/').slice(0, -1);
    const last = entry.path.split('/').pop();
    const stop = last.lastIndexOf('.') > 0 ? last.lastIndexOf('.') : last.length;
    const named = `${last.slice(0, stop)} (${digits.slice(0, 8)})${last.slice(stop)}`;
    const path = [entry.path, [...folder, named].join('/'), named, digits].find((it) => free(it, entry) && fits(it));
    taken.set(path, isFile(entry));
    if (isFile(entry)) out.push([path, entry]);
  }
  return out;
}

function fits(path) {
  try { checkPath(path); } catch { return false; }
  return true;
}

const manifestBytes = (session, name, parts) => encode('Manifest', { session, name, parts: sorted(parts, 'part') });

/** Merges another copy of a register or blob part into one (DATA-MERGE-1, DATA-FORK-1). */
function merge(mine, theirs) {
  const knows = (part, value) => {
    const its = tip(part, value.op.actor);
    const has = part.values.some((it) => it.op.actor.equals(value.op.actor) && it.op.seq === value.op.seq);
    return its && (its.seq > value.op.seq || (its.seq === value.op.seq && !has));
  };
  for (const it of theirs.strands) {
    const own = tip(mine, it.actor);
    if (own?.seq === it.seq && !own.hash.equals(it.hash)) refuse('DATA_FORK');
  }
  const values = mine.values.filter((it) => !knows(theirs, it));
  const same = (a, b) => a.op.actor.equals(b.op.actor) && a.op.seq === b.op.seq;
  values.push(...theirs.values.filter((it) => !knows(mine, it) && !values.some((own) => same(own, it))));
  const strands = new Map(mine.strands.map((it) => [hex(it.actor), it]));
  theirs.strands.forEach((it) => { if (!(strands.get(hex(it.actor))?.seq >= it.seq)) strands.set(hex(it.actor), it); });
  const by = (a, b) => Buffer.compare(a.op.actor, b.op.actor);
  return { ...mine, strands: sorted([...strands.values()], 'actor'), values: values.sort(by) };
}

/** Takes in an inline op of a GRANT. */
function inline(session, parts, op) {
  const part = parts.find((it) => it.part.equals(op.part));
  if (part?.kind !== EXCLUSIVE) refuse('DATA_MANIFEST');
  const own = tip(part, op.actor);
  const prev = own?.hash ?? start(session, op.part, op.actor);
  if (op.seq !== (own?.seq ?? 0) + 1) refuse('DATA_HASH');
  checkDeps(op);
  const held = (dep) => tip(part, dep.actor);
  const known = (dep) => held(dep) && (dep.seq < held(dep).seq || (dep.seq === held(dep).seq && dep.hash.equals(held(dep).hash)));
  const [value] = part.values;
  const follows = !value || value.op.actor.equals(op.actor) || op.deps.some((dep) => dep.actor.equals(value.op.actor) && dep.seq === value.op.seq);
  if (!op.deps.every(known) || !follows) refuse('DATA_MANIFEST');
  put(part, { prev, op });
}

/** Cuts content into chunks of CHUNK bytes: the entry's list, if it takes one, and its bytes. */
function chunkList(content) {
  if (content.length <= limits.CHUNK) return { chunks: [] };
  const chunks = [];
  for (let at = 0; at < content.length; at += limits.CHUNK) {
    const chunk = content.subarray(at, at + limits.CHUNK);
    chunks.push({ len: chunk.length, hash: wire.hash(chunk) });
  }
  const bytes = encode('ChunkList', { chunks });
  return { chunks: [{ hash: wire.hash(bytes), len: bytes.length }], bytes };
}

/** Checks a chunk list against the length of its blob: its chunks with their offsets. */
function plan(bytes, len) {
  const { chunks } = wire.decode('ChunkList', bytes);
  let offset = 0;
  const out = chunks.map((chunk) => ({ ...chunk, offset: (offset += chunk.len) - chunk.len }));
  const small = (it, at) => it.len < 1 || it.len > limits.MAX_CHUNK || (at < out.length - 1 && it.len < limits.MIN_CHUNK);
  if (len <= limits.CHUNK || offset !== len || out.some(small)) refuse('DATA_MANIFEST');
  return out;
}

const FORBIDDEN = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;
const DEVICES = /^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])$/i;
const NOTHING = wire.hash('');

module.exports = {
  partRoot, checkEntry, BLOB, EXCLUSIVE, LOG, OPAQUE, FILE, REMOVED, root, exclusiveRoot, manifest, manifestBytes, write, inline, merge, files, shown, entryOf,
  isFile, placed, checkPart, checkPath, checkName, chunkList, plan, tip, number,
};
