// The tables: registers and what else has a row, functions, tasks, events. A click on a row asks
// for it alone, a second click for all again.

const TABLE_ROWS = 200;
const EVENT_ROWS = 500;

// Fills a table. `columns` are titles with whether they hold numbers or code; `lines` are cells of
// text, and what a click on them does.
function fill(table, columns, lines, note) {
  const head = document.createElement("tr");
  for (const [title, kind] of columns) head.append(element("th", title, kind === "number" ? kind : ""));
  const body = document.createElement("tbody");
  for (const { texts, chosen, choose } of lines) {
    const row = document.createElement("tr");
    texts.forEach((text, at) => row.append(element("td", text, columns[at][1])));
    if (choose) {
      row.tabIndex = 0;
      row.className = chosen ? "chosen" : "";
      row.addEventListener("click", choose);
      row.addEventListener("keydown", (event) => event.key === "Enter" && choose());
    }
    body.append(row);
  }
  if (note) {
    const row = document.createElement("tr");
    const cell = element("td", note, "hint");
    cell.colSpan = columns.length;
    row.append(cell);
    body.append(row);
  }
  const top = document.createElement("thead");
  top.append(head);
  table.replaceChildren(top, body);
}

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = kind || "";
  return made;
}

// The first of a table, at most so many, and a note of the rest.
function first(all, most) {
  const rest = all.length - most;
  return { shown: all.slice(0, most), note: rest > 0 ? `and ${grouped(rest)} more: search or filter` : "" };
}

function drawTables(counts, choose) {
  const { shown, note } = first(byCount(counts.lane, true), TABLE_ROWS);
  const are = (...kinds) => data.lanes.every((lane) => kinds.includes(lane.kind));
  const registers = are("access", "map", "unmap", "mark", "lost", "window", "not_watched");
  document.getElementById("lanes-title").textContent = registers ? "Registers" : "Registers, probes, faults";
  const columns = [["events", "number"], ["reads", "number"], ["writes", "number"], ["what", ""], ["last value in view", "code"], ["polling in all", ""]];
  const lines = shown.map(([number, events]) => {
    const lane = data.lanes[number];
    const of = (op) => grouped(counts.op.get(`${number} ${op}`) || 0);
    const [reads, writes] = lane.kind === "access" ? [of("R"), of("W")] : ["", ""];
    const cell = counts.lasts.get(number);
    const last = cell !== undefined ? valueOf(cell) : lane.last ? `${lane.last} (in all)` : "";
    const polling = lane.polled ? `${grouped(lane.polled[0])} equal reads, longest loop ${grouped(lane.polled[1])}` : "";
    return {
      texts: [grouped(events), reads, writes, laneTitle(number), last, polling],
      chosen: wanted.lane === number,
      choose: () => choose("lane", number),
    };
  });
  fill(document.getElementById("lane-table"), columns, lines, note);
  drawCauses("function", counts, choose, data.functions, data.functions_apart, data.whole.functions);
  drawCauses("task", counts, choose, data.tasks, data.tasks_apart, data.whole.tasks);
}

// Functions or tasks; of the whole trace where what is in view does not tell them apart.
function drawCauses(name, counts, choose, titles, apart, whole) {
  const columns = [["events", "number"], [name, ""]];
  const table = document.getElementById(`${name}-table`);
  if (!apart) {
    const lines = whole.slice(0, TABLE_ROWS).map(([title, events]) => ({ texts: [grouped(events), title] }));
    return fill(table, columns, lines, "of the whole trace: there is too much of it to filter by");
  }
  const { shown, note } = first(byCount(counts[name], false), TABLE_ROWS);
  const lines = shown.map(([number, events]) => ({
    texts: [grouped(events), titles[number]],
    chosen: wanted[name] === number,
    choose: () => choose(name, number),
  }));
  fill(table, columns, lines, note || (lines.length ? "" : "none is known"));
}

// The first events in view.
function drawEvents(counts) {
  const lines = [];
  let seen = 0;
  visible((cell) => {
    if (seen++ >= EVENT_ROWS) return;
    const sort = data.sorts[cells.sort[cell]];
    const many = cells.count[cell] > 1;
    const between = cells.between.get(cell);
    const value = between ? `${inHex(between[0], sort[WIDTH])} to ${inHex(between[1], sort[WIDTH])}` : valueOf(cell);
    const cpu = sort[CPU] < 0 ? "" : String(sort[CPU]);
    const op = sort[WIDTH] && data.lanes[sort[LANE]].kind === "access" ? `${sort[OP]} ${sort[WIDTH]}` : sort[OP];
    const times = many ? `${grouped(cells.count[cell])} in ${duration(cells.took[cell])}` : "";
    const names = [data.functions[sort[FUNCTION]] || "", data.tasks[sort[TASK]] || ""];
    lines.push({ texts: [clock(cells.begin[cell]), cpu, op, laneTitle(sort[LANE]), value, times, ...names] });
  });
  const rest = counts.cells - lines.length;
  const columns = [["seconds", "code"], ["CPU", "number"], ["", ""], ["what", ""], ["value or address", "code"], ["how many", "number"], ["function", ""], ["task", ""]];
  fill(document.getElementById("event-table"), columns, lines, rest > 0 ? `and ${grouped(rest)} more lines: zoom in` : "");
  const what = data.slot ? `summed up by ${duration(data.slot)}; zooming in shows no more than that` : "each, equal reads of a polling loop as one";
  document.getElementById("events-title").textContent = what;
}
