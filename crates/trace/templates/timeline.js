// The timeline: an overview of the whole trace, and below it a row for each register, task,
// function or CPU, of what is in view. Pixels have the counts of what lies under them.

const ROW = 18;
const MOST_ROWS = 300;
// Pixels of the axis: times, and below them what markers say.
const AXIS = 34;

const overview = document.getElementById("overview");
const canvas = document.getElementById("timeline");
const tip = document.getElementById("tip");
// What is drawn: numbers of the group by row, and under which cells the pointer finds itself.
let rows = [];
let gutter = 0;

// Fits a canvas to its place and hands out what draws on it, in CSS pixels.
function prepare(target, height) {
  const width = target.clientWidth;
  const scale = window.devicePixelRatio || 1;
  target.style.height = `${height}px`;
  target.width = Math.round(width * scale);
  target.height = Math.round(height * scale);
  const pen = target.getContext("2d");
  pen.scale(scale, scale);
  pen.font = '12px system-ui, "DejaVu Sans", sans-serif';
  pen.textBaseline = "middle";
  return { pen, width, height };
}

// Counts of cells by row, operation and pixel: `add(row, op, from, to, count)`, then `draw`.
class Pixels {
  constructor(count, width) {
    this.width = width;
    this.planes = new Map();
    this.count = count;
  }

  add(row, op, from, to, count) {
    const key = `${row} ${op}`;
    let plane = this.planes.get(key);
    if (!plane) this.planes.set(key, (plane = { row, op, pixels: new Float64Array(this.width) }));
    const [first, last] = [Math.max(0, from), Math.min(this.width - 1, to)];
    for (let at = first; at <= last; at++) plane.pixels[at] += count / (last - first + 1);
  }

  // Each pixel as high as `height` says of its count, from the bottom of its row.
  draw(pen, left, bottom, height) {
    const all = [...this.planes.values()];
    all.sort((a, b) => Object.keys(ops).indexOf(a.op) - Object.keys(ops).indexOf(b.op));
    const most = new Map();
    for (const { row, pixels } of all) most.set(row, Math.max(most.get(row) || 0, ...pixels));
    const below = new Map();
    for (const { row, op, pixels } of all) {
      pen.fillStyle = colour(ops[op].colour);
      if (!below.has(row)) below.set(row, new Float64Array(this.width));
      const taken = below.get(row);
      pixels.forEach((count, at) => {
        if (count === 0) return;
        const tall = Math.max(3, Math.round(height * Math.sqrt(count / most.get(row))));
        const from = Math.min(taken[at], height - 3);
        const size = Math.min(tall, height - from);
        pen.fillRect(left + at, bottom(row) - from - size, 1.4, size);
        taken[at] = from + size;
      });
    }
  }
}

function drawOverview() {
  const { pen, width, height } = prepare(overview, 44);
  const pixels = new Pixels(1, Math.max(1, Math.floor(width)));
  const scale = width / Math.max(1, data.span);
  for (let cell = 0; cell < cells.length; cell++) {
    const sort = cells.sort[cell];
    if (!admitted[sort]) continue;
    const from = Math.min(width - 1, Math.floor(cells.begin[cell] * scale));
    pixels.add(0, opOf[sort], from, Math.floor((cells.begin[cell] + cells.took[cell]) * scale), cells.count[cell]);
  }
  pixels.draw(pen, 0, () => height - 1, height - 4);
  const [left, right] = [wanted.from * scale, wanted.to * scale];
  pen.fillStyle = colour("--mark");
  pen.globalAlpha = 0.18;
  if (left > 0 || right < width) pen.fillRect(left, 0, Math.max(2, right - left), height);
  pen.globalAlpha = 1;
}

// Steps of an axis: 1, 2 or 5 of some power of ten, about eight of them.
function stepOf(span) {
  const rough = span / 8;
  const power = Math.pow(10, Math.floor(Math.log10(Math.max(1, rough))));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= rough) || 10 * power;
}

function drawTimeline(counts) {
  const group = groups[wanted.group];
  rows = byCount(counts[wanted.group], wanted.group === "lane").map(([number]) => number);
  const more = rows.length - MOST_ROWS;
  rows.length = Math.min(rows.length, MOST_ROWS);
  const { pen, width, height } = prepare(canvas, AXIS + Math.max(1, rows.length) * ROW + (more > 0 ? ROW : 0));
  gutter = Math.min(320, Math.max(120, width * 0.24));
  const span = Math.max(1, wanted.to - wanted.from);
  const scale = (width - gutter) / span;
  const x = (time) => gutter + (time - wanted.from) * scale;

  pen.fillStyle = colour("--dim");
  pen.strokeStyle = colour("--line");
  const step = stepOf(span);
  // Counted, since so late a step may add nothing.
  const start = Math.ceil(wanted.from / step) * step;
  for (let tick = 0; tick < 24 && start + tick * step <= wanted.to; tick++) {
    const time = start + tick * step;
    pen.beginPath();
    pen.moveTo(x(time), 0);
    pen.lineTo(x(time), height);
    pen.stroke();
    if (x(time) < width - 60) pen.fillText(`+${duration(time)}`, x(time) + 3, 9);
  }
  const place = new Map(rows.map((number, row) => [number, row]));
  rows.forEach((number, row) => {
    const top = AXIS + row * ROW;
    if (row % 2) {
      pen.fillStyle = colour("--soft");
      pen.globalAlpha = 0.6;
      pen.fillRect(0, top, width, ROW);
      pen.globalAlpha = 1;
    }
    pen.fillStyle = colour(wanted[wanted.group] === number ? "--mark" : "--fore");
    fitted(pen, group.label(number), 6, top + ROW / 2, gutter - 12);
  });
  if (more > 0) {
    pen.fillStyle = colour("--dim");
    pen.fillText(`and ${grouped(more)} more: search or filter`, 6, height - ROW / 2);
  }

  const pixels = new Pixels(rows.length, Math.max(1, Math.floor(width - gutter)));
  visible((cell) => {
    const sort = cells.sort[cell];
    const row = place.get(data.sorts[sort][group.column]);
    if (row === undefined) return;
    const from = Math.floor((cells.begin[cell] - wanted.from) * scale);
    const to = Math.floor((cells.begin[cell] + cells.took[cell] - wanted.from) * scale);
    pixels.add(row, opOf[sort], Math.min(from, pixels.width - 1), to, cells.count[cell]);
  });
  pixels.draw(pen, gutter, (row) => AXIS + (row + 1) * ROW - 2, ROW - 4);
  drawMarks(pen, x, height);
}

// Markers, and where something is missing, are lines across all rows.
function drawMarks(pen, x, height) {
  let free = gutter;
  visible((cell) => {
    const op = opOf[cells.sort[cell]];
    if (op !== "mark" && op !== "missing") return;
    const at = x(Math.max(cells.begin[cell], wanted.from));
    pen.strokeStyle = pen.fillStyle = colour(ops[op].colour);
    pen.beginPath();
    pen.moveTo(at, 16);
    pen.lineTo(at, height);
    pen.stroke();
    if (at < free) return;
    const text = data.lanes[data.sorts[cells.sort[cell]][LANE]].place;
    free = at + fitted(pen, text, at + 3, AXIS - 9, 200) + 12;
  });
}

// Writes a text, cut to so many pixels, and tells how wide it is.
function fitted(pen, text, x, y, width) {
  // More letters than these have no room anywhere.
  let shown = text.length > 200 ? `${text.slice(0, 200)}…` : text;
  while (shown.length > 1 && pen.measureText(shown).width > width) shown = `${shown.slice(0, -2)}…`;
  pen.fillText(shown, x, y);
  return pen.measureText(shown).width;
}

// The time under a place of the timeline.
function timeAt(x) {
  const share = (x - gutter) / Math.max(1, canvas.clientWidth - gutter);
  return wanted.from + Math.min(1, Math.max(0, share)) * (wanted.to - wanted.from);
}

// Shows from one time to another, of at least ten nanoseconds and within the trace.
function zoom(from, to) {
  const span = Math.min(data.span, Math.max(10, to - from));
  const begin = Math.max(0, Math.min(from, data.span - span));
  wanted.from = Math.floor(begin);
  wanted.to = Math.ceil(begin + span);
}

// Shows `factor` times as much time as now, around `time`.
function zoomBy(factor, time = (wanted.from + wanted.to) / 2) {
  const span = (wanted.to - wanted.from) * factor;
  const share = (time - wanted.from) / Math.max(1, wanted.to - wanted.from);
  zoom(time - span * share, time + span * (1 - share));
}

function move(share) {
  const by = (wanted.to - wanted.from) * share;
  zoom(wanted.from + by, wanted.to + by);
}

// What the pointer is on: a line each for row, time, and the events nearby.
function tell(event) {
  const row = rows[Math.floor((event.offsetY - AXIS) / ROW)];
  tip.hidden = row === undefined;
  if (tip.hidden) return;
  const group = groups[wanted.group];
  const lines = [group.label(row)];
  if (event.offsetX >= gutter) {
    const near = (3 * (wanted.to - wanted.from)) / Math.max(1, canvas.clientWidth - gutter);
    const time = timeAt(event.offsetX);
    lines.push(`${clock(time)} s`);
    let found = 0;
    visible((cell) => {
      if (data.sorts[cells.sort[cell]][group.column] !== row) return;
      if (cells.begin[cell] - near > time || cells.begin[cell] + cells.took[cell] + near < time) return;
      if (found++ < 6) lines.push(lineOf(cell));
    });
    if (found > 6) lines.push(`and ${grouped(found - 6)} more`);
  }
  tip.textContent = lines.join("\n");
  tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 16, window.innerHeight - tip.offsetHeight - 8)}px`;
}

function lineOf(cell) {
  const sort = data.sorts[cells.sort[cell]];
  const times = cells.count[cell] > 1 ? `x${grouped(cells.count[cell])} in ${duration(cells.took[cell])}` : "";
  const parts = [sort[OP], valueOf(cell), times, data.functions[sort[FUNCTION]], data.tasks[sort[TASK]]];
  return parts.filter(Boolean).join("  ");
}
