'use strict';
// BLAKE3 in its modes hash and derive_key, with outputs of 32 bytes. Node's crypto has no BLAKE3.

const IV = Uint32Array.of(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19);
const ORDER = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const [START, END, PARENT, ROOT, CONTEXT, MATERIAL] = [1, 2, 4, 8, 32, 64];

function mix(v, a, b, c, d, x, y) {
  v[a] += v[b] + x; v[d] ^= v[a]; v[d] = (v[d] >>> 16) | (v[d] << 16);
  v[c] += v[d]; v[b] ^= v[c]; v[b] = (v[b] >>> 12) | (v[b] << 20);
  v[a] += v[b] + y; v[d] ^= v[a]; v[d] = (v[d] >>> 8) | (v[d] << 24);
  v[c] += v[d]; v[b] ^= v[c]; v[b] = (v[b] >>> 7) | (v[b] << 25);
}

/** The next chaining value from that before, a block of 16 words, its chunk's number, its bytes, and flags. */
function compress(chain, block, counter, length, flags) {
  const v = Uint32Array.of(...chain, ...IV.subarray(0, 4), counter, counter / 2 ** 32, length, flags);
  let words = block;
  for (let round = 0; round < 7; round++) {
    for (let i = 0; i < 4; i++) mix(v, i, 4 + i, 8 + i, 12 + i, words[2 * i], words[2 * i + 1]);
    for (let i = 0; i < 4; i++) {
      mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, words[8 + 2 * i], words[9 + 2 * i]);
    }
    words = ORDER.map((from) => words[from]);
  }
  return v.subarray(0, 8).map((word, i) => word ^ v[i + 8]);
}

function chunk(input, key, counter, flags, root) {
  let chain = key;
  const blocks = Math.max(1, Math.ceil(input.length / 64));
  for (let i = 0; i < blocks; i++) {
    const part = Buffer.alloc(64);
    const length = input.copy(part, 0, 64 * i, 64 * i + 64);
    const words = Array.from({ length: 16 }, (_, w) => part.readUInt32LE(4 * w));
    const last = i === blocks - 1 ? END | root : 0;
    chain = compress(chain, words, counter, length, flags | (i === 0 ? START : 0) | last);
  }
  return chain;
}

function tree(input, key, first, flags, root) {
  if (input.length <= 1024) return chunk(input, key, first, flags, root);
  const left = 1024 * 2 ** Math.floor(Math.log2((input.length - 1) / 1024));
  const halves = [tree(input.subarray(0, left), key, first, flags, 0), tree(input.subarray(left), key, first + left / 1024, flags, 0)];
  return compress(key, [...halves[0], ...halves[1]], 0, 64, flags | PARENT | root);
}

function bytes(words) {
  const out = Buffer.alloc(32);
  words.forEach((word, i) => out.writeUInt32LE(word, 4 * i));
  return out;
}

/** The plain hash of bytes. */
exports.hash = (input) => bytes(tree(Buffer.from(input), IV, 0, 0, ROOT));

/** The key that is derived from bytes under a context. */
exports.derive = (context, input) => bytes(tree(input, tree(Buffer.from(context), IV, 0, CONTEXT, ROOT), 0, MATERIAL, ROOT));
