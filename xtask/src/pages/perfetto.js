// Loads trace.pftrace into Perfetto's trace processor and asks queries.json of it, as Perfetto's
// own page does: by a worker and messages (protos/perfetto/trace_processor/trace_processor.proto).
// A line for each query: its values with commas, rows with semicolons.
"use strict";

const APPEND = 1, FINALIZE = 2, QUERY = 3; // TraceProcessorRpc.TraceProcessorMethod

function varint(number) {
  const bytes = [];
  for (; number > 127; number = Math.floor(number / 128)) bytes.push(number % 128 + 128);
  return [...bytes, number];
}

// A field of bytes, and one of a number.
function field(tag, bytes) {
  const head = [...varint(tag * 8 + 2), ...varint(bytes.length)];
  const whole = new Uint8Array(head.length + bytes.length);
  whole.set(head);
  whole.set(bytes, head.length);
  return whole;
}

const number = (tag, value) => [...varint(tag * 8), ...varint(value)];

function request(sequence, method, ...more) {
  const parts = [Uint8Array.from([...number(1, sequence), ...number(2, method)]), ...more];
  const message = new Uint8Array(parts.reduce((all, part) => all + part.length, 0));
  let at = 0;
  for (const part of parts) { message.set(part, at); at += part.length; }
  return field(1, message);
}

// The fields of a message: [tag, number or bytes]; numbers of 64 bits as BigInt.
function* fields(bytes) {
  let at = 0;
  const read = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = Number(read()), tag = key >> 3;
    if ((key & 7) === 0) {
      yield [tag, read()];
    } else {
      const length = (key & 7) === 1 ? 8 : (key & 7) === 5 ? 4 : Number(read());
      yield [tag, bytes.subarray(at, at += length)];
    }
  }
}

// Numbers without tags between them.
function packed(bytes) {
  const values = [];
  for (let at = 0; at < bytes.length;) {
    let value = 0n, shift = 0n, byte;
    do { byte = bytes[at++]; value |= BigInt(byte & 127) << shift; shift += 7n; } while (byte > 127);
    values.push(BigInt.asIntN(64, value));
  }
  return values;
}

const text = bytes => new TextDecoder().decode(bytes);

// What QueryResults say: the values of all rows, or an error.
class Answer {
  constructor() { this.columns = []; this.values = []; this.error = ""; this.last = false; }

  take(result) {
    for (const [tag, value] of fields(result)) {
      if (tag === 1) this.columns.push(text(value));
      if (tag === 2) this.error = text(value);
      if (tag === 3) this.batch(value);
    }
  }

  batch(bytes) {
    let cells = [], numbers = [], texts = [], floats = [];
    for (const [tag, value] of fields(bytes)) {
      if (tag === 1) cells = cells.concat(packed(value));
      if (tag === 2) numbers = numbers.concat(packed(value));
      if (tag === 3) floats.push(...new Float64Array(value.slice().buffer));
      if (tag === 5) texts = texts.concat(text(value).split("\0"));
      if (tag === 6) this.last = value === 1n;
    }
    // CellType: 1 null, 2 a number, 3 a float, 4 a text.
    const next = { 1: () => "-", 2: () => numbers.shift(), 3: () => floats.shift(), 4: () => texts.shift() };
    for (const cell of cells) this.values.push(String(next[Number(cell)]()));
  }

  toString() {
    if (this.error) return `FAILED: ${this.error.replaceAll("\n", " ")}`;
    const rows = [];
    for (let at = 0; at < this.values.length; at += this.columns.length) {
      rows.push(this.values.slice(at, at + this.columns.length).join(","));
    }
    return rows.join(";");
  }
}

async function main() {
  const queries = await (await fetch("queries.json")).json();
  const trace = new Uint8Array(await (await fetch("trace.pftrace")).arrayBuffer());
  const channel = new MessageChannel();
  const answers = queries.map(() => new Answer());
  let asked = 0, ended = false;
  channel.port1.onmessage = event => {
    for (const [, message] of fields(event.data)) {
      for (const [tag, value] of fields(message)) {
        if (tag === 5) { document.title = text(value); ended = true; }
        if (tag === 203) {
          answers[asked].take(value);
          if (answers[asked].last || answers[asked].error) asked += 1;
        }
      }
    }
    ended = ended || asked === queries.length;
  };
  const worker = new Worker(`${VERSION}/engine_bundle.js`);
  worker.postMessage(channel.port2, [channel.port2]);
  let sequence = 0;
  const send = (method, ...more) => channel.port1.postMessage(request(sequence++, method, ...more));
  send(APPEND, field(101, trace));
  send(FINALIZE);
  for (const sql of queries) send(QUERY, field(103, field(1, new TextEncoder().encode(sql))));
  for (let waits = 0; !ended && waits < 240; waits++) await fetch(`wait?${waits}`);
  const outcome = document.createElement("pre");
  outcome.id = "outcome";
  outcome.textContent = answers.map(answer => `${answer}\n`).join("") + (ended ? "end" : "cut");
  document.body.append(outcome);
}

main();
