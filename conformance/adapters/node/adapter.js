#!/usr/bin/env node
'use strict';
// The adapter: a request a line, an answer a line (conformance/ADAPTER.md).

const readline = require('node:readline');
const { Device } = require('./device.js');
const { Refused } = require('./wire.js');

const COMMANDS = ['close-link', 'shutdown', 'trust', 'distrust', 'create', 'write-file', 'write-exclusive', 'request'];
const devices = new Map();

/** What a step gives, or what a refusal by its code makes of it. */
function refusable(step, refused) {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return refused(error.code, error.message);
  }
}

function serve(request) {
  const device = devices.get(request.dev);
  if (device) device.now = request.now ?? device.now;
  switch (request.cmd) {
    case 'hello':
      return { ok: { protocol: 1, subject: 'segue-node 0.1', generations: ['1.4'], commands: COMMANDS, choices: { chunks: 'equal' } } };
    case 'new':
    case 'restore':
      return refusable(() => {
        const made = new Device(request.start, request.now);
        devices.set(request.dev, made);
        return { ok: { out: made.said() } };
      }, (code, text) => ({ error: { code, text } }));
    case 'input':
      device.input(request.input);
      return { ok: { out: device.said() } };
    case 'do': {
      const answer = refusable(() => ({ reply: device.command(request.do) }), (code, text) => ({ refused: { code, text } }));
      if (!answer.reply && !answer.refused) return { unsupported: request.do.type };
      device.wake();
      return { ok: { out: device.said(), ...answer } };
    }
    case 'inspect':
      return { ok: { sessions: device.describe() } };
    case 'bye':
      devices.delete(request.dev);
      return { ok: {} };
    default:
      return { unsupported: request.cmd };
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const request = JSON.parse(line);
  process.stdout.write(`${JSON.stringify({ id: request.id, ...serve(request) })}\n`);
  if (request.cmd === 'bye' && request.dev === undefined) process.exit(0);
});
