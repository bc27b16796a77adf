// What the page shows: the trace as it was embedded, what of it was asked for, and counts of that.

const data = JSON.parse(document.getElementById("data").textContent);

const cells = unpack(data.cells);
// Columns of the sorts: what the events of a cell have in common.
const [LANE, OP, WIDTH, TASK, FUNCTION, CPU] = [0, 1, 2, 3, 4, 5];

// Which rows the timeline can have: a column of the sorts, and what its numbers are called.
const groups = {
  lane: { column: LANE, title: "register, probe, fault", label: laneTitle, apart: true },
  task: { column: TASK, title: "task", label: (task) => data.tasks[task], apart: data.tasks_apart },
  function: { column: FUNCTION, title: "function", label: (at) => data.functions[at], apart: data.functions_apart },
  cpu: { column: CPU, title: "CPU", label: (cpu) => `CPU ${cpu}`, apart: data.tasks_apart },
};

// Operations by the kind of event and what it says; also what the filter offers.
const ops = {
  R: { title: "reads", colour: "--read" },
  W: { title: "writes", colour: "--write" },
  hit: { title: "hits of probes", colour: "--other" },
  fault: { title: "page faults", colour: "--other" },
  interrupt: { title: "interrupts", colour: "--other" },
  config: { title: "configuration space", colour: "--other" },
  port: { title: "I/O ports", colour: "--other" },
  dma: { title: "DMA", colour: "--other" },
  lifecycle: { title: "lifecycle", colour: "--other" },
  log: { title: "lines of the kernel log", colour: "--other" },
  mark: { title: "markers", colour: "--mark" },
  map: { title: "mappings", colour: "--mark" },
  missing: { title: "what is missing", colour: "--alarm" },
};

// What was asked for. `lane`, `task`, `function` and `cpu` are numbers, or null for all.
const wanted = { search: "", op: "", lane: null, task: null, function: null, cpu: null, group: "lane", from: 0, to: data.span };

// Of each sort its operation's name in `ops`, and the words that a search looks at.
const opOf = data.sorts.map((sort) => {
  const kind = data.lanes[sort[LANE]].kind;
  if (kind === "access") return sort[OP];
  if (kind === "unmap") return "map";
  return ["lost", "window", "not_watched"].includes(kind) ? "missing" : kind;
});
const words = data.sorts.map((sort) =>
  [laneTitle(sort[LANE]), data.functions[sort[FUNCTION]], data.tasks[sort[TASK]]].join(" ").toLowerCase(),
);
const admitted = new Uint8Array(data.sorts.length);

// Columns as typed arrays, with times since the first event.
function unpack(columns) {
  const length = columns.after.length;
  const begin = new Float64Array(length);
  let time = 0;
  for (let index = 0; index < length; index++) {
    time += columns.after[index];
    begin[index] = time;
  }
  return {
    length,
    begin,
    took: Float64Array.from(columns.took),
    count: Float64Array.from(columns.count),
    sort: Uint32Array.from(columns.sort),
    value: columns.value,
    between: new Map(columns.between.map(([cell, low, high]) => [cell, [low, high]])),
  };
}

function laneTitle(number) {
  const lane = data.lanes[number];
  const place = lane.place.replace(/^0000:/, "");
  return lane.name ? `${lane.name}  ${place}` : place;
}

// Notes which sorts are asked for. All words of the search must occur.
function filter() {
  const search = wanted.search.toLowerCase().split(/\s+/).filter(Boolean);
  data.sorts.forEach((sort, index) => {
    const is = (column, number) => number === null || sort[column] === number;
    admitted[index] =
      is(LANE, wanted.lane) &&
      is(TASK, wanted.task) &&
      is(FUNCTION, wanted.function) &&
      is(CPU, wanted.cpu) &&
      (!wanted.op || opOf[index] === wanted.op) &&
      search.every((word) => words[index].includes(word))
        ? 1
        : 0;
  });
}

// Calls `each` with the number of every cell that is asked for and in view, in order of time.
function visible(each) {
  for (let cell = 0; cell < cells.length; cell++) {
    if (cells.begin[cell] > wanted.to) break;
    if (admitted[cells.sort[cell]] && cells.begin[cell] + cells.took[cell] >= wanted.from) each(cell);
  }
}

// Events of what is asked for and in view: how many, and by each group's numbers; of lanes also by
// operation.
function count() {
  const sorts = new Float64Array(data.sorts.length);
  const lasts = new Map();
  let seen = 0;
  visible((cell) => {
    sorts[cells.sort[cell]] += cells.count[cell];
    seen++;
    if (cells.value[cell] === 0) return;
    // A polling loop may end after what began later.
    const end = (one) => cells.begin[one] + cells.took[one];
    const lane = data.sorts[cells.sort[cell]][LANE];
    const last = lasts.get(lane);
    if (last === undefined || end(cell) >= end(last)) lasts.set(lane, cell);
  });
  const counts = { events: 0, cells: seen, lasts, lane: new Map(), task: new Map(), function: new Map(), cpu: new Map(), op: new Map() };
  const add = (map, key, more) => map.set(key, (map.get(key) || 0) + more);
  sorts.forEach((events, index) => {
    if (events === 0) return;
    const sort = data.sorts[index];
    // What was lost is counted in its row, and is no event of anybody's.
    const isEvent = opOf[index] !== "missing";
    if (isEvent) counts.events += events;
    for (const [name, group] of Object.entries(groups)) {
      if (sort[group.column] >= 0 && (isEvent || name === "lane")) add(counts[name], sort[group.column], events);
    }
    add(counts.op, `${sort[LANE]} ${opOf[index]}`, events);
  });
  return counts;
}

// The most frequent first; behind them what is no access, hit or fault, and has a row all the same.
function byCount(map, isOfLanes) {
  const isMain = ([number]) => !isOfLanes || ["access", "hit", "fault"].includes(data.lanes[number].kind);
  return [...map].sort((a, b) => isMain(b) - isMain(a) || b[1] - a[1]);
}

// `0x0000beef`; of a cell with several values the last of them.
function valueOf(cell) {
  return inHex(cells.value[cell], data.sorts[cells.sort[cell]][WIDTH]);
}

function inHex(digits, width) {
  return digits === 0 ? "" : `0x${digits.padStart(2 * Math.min(width, 8), "0")}`;
}

function grouped(number) {
  return number.toLocaleString("en-US");
}

// `1.2 ms`, as the text says it.
function duration(nanoseconds) {
  if (nanoseconds < 1e3) return `${Math.round(nanoseconds)} ns`;
  if (nanoseconds < 1e6) return `${(nanoseconds / 1e3).toFixed(1)} us`;
  if (nanoseconds < 1e9) return `${(nanoseconds / 1e6).toFixed(1)} ms`;
  return `${(nanoseconds / 1e9).toFixed(3)} s`;
}

// Seconds on the kernel log's clock, with nine digits, of a time since the first event.
function clock(nanoseconds) {
  const time = BigInt(data.start) + BigInt(Math.round(nanoseconds));
  return `${time / 1000000000n}.${(time % 1000000000n).toString().padStart(9, "0")}`;
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}
