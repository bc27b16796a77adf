// What a person does, and what follows from it. What was asked for is kept in the address behind
// `#`, so that a view can be kept and sent.

const box = (name) => document.getElementById(name);
const kept = ["search", "op", "group"];
const names = { lane: laneTitle, task: groups.task.label, function: groups.function.label, cpu: groups.cpu.label };
let pending = 0;

// Counts and draws everything anew, once a frame.
function update() {
  if (pending) return;
  pending = requestAnimationFrame(() => {
    pending = 0;
    draw();
  });
}

function draw() {
  filter();
  const counts = count();
  drawOverview();
  drawTimeline(counts);
  drawValues();
  drawTables(counts, choose);
  drawEvents(counts);
  drawChosen();
  box("shown").textContent = `${grouped(counts.events)} ${counts.events === 1 ? "event" : "events"} in view`;
  box("range").textContent = `${clock(wanted.from)} s, ${duration(wanted.to - wanted.from)}`;
  history.replaceState(null, "", `#${address()}`);
}

// What is filtered by, each to be taken away by a click.
function drawChosen() {
  const chips = Object.keys(names).filter((name) => wanted[name] !== null && name !== "cpu");
  box("chosen").replaceChildren(
    ...chips.map((name) => {
      const chip = element("button", `${names[name](wanted[name])} ×`, "chip");
      chip.type = "button";
      chip.title = `all ${name}s again`;
      chip.addEventListener("click", () => choose(name, wanted[name]));
      return chip;
    }),
  );
  box("search").value = wanted.search;
  box("op").value = wanted.op;
  box("group").value = wanted.group;
  box("cpu").value = wanted.cpu === null ? "" : String(wanted.cpu);
}

// Asks for one of a group alone, or for all again if it was.
function choose(name, number) {
  wanted[name] = wanted[name] === number ? null : number;
  update();
}

// What is asked for, as the address has it.
function address() {
  const words = new URLSearchParams();
  for (const name of kept) if (wanted[name] && wanted[name] !== "lane") words.set(name, wanted[name]);
  for (const name of Object.keys(names)) if (wanted[name] !== null) words.set(name, names[name](wanted[name]));
  if (wanted.from > 0 || wanted.to < data.span) words.set("time", `${wanted.from}-${wanted.to}`);
  return words.toString();
}

// Takes over what the address asks for; what there is not is left out.
function follow(text) {
  const words = new URLSearchParams(text.replace(/^#/, ""));
  wanted.search = words.get("search") || "";
  wanted.op = Object.hasOwn(ops, words.get("op")) ? words.get("op") : "";
  wanted.group = words.get("group") in groups && groups[words.get("group")].apart ? words.get("group") : "lane";
  for (const name of Object.keys(names)) {
    const numbers = new Set(data.sorts.map((sort) => sort[groups[name].column]).filter((number) => number >= 0));
    const found = [...numbers].find((number) => names[name](number) === words.get(name));
    wanted[name] = found === undefined ? null : found;
  }
  const [, from, to] = /^(\d{1,20})-(\d{1,20})$/.exec(words.get("time") || "") || [null, 0, data.span];
  zoom(Number(from), Number(to));
}

function options(select, entries) {
  select.replaceChildren(
    ...entries.map(([value, title]) => {
      const option = element("option", title);
      option.value = value;
      return option;
    }),
  );
}

function begin() {
  box("view").hidden = false;
  const present = new Set(opOf);
  options(box("op"), [["", "all kinds"], ...Object.keys(ops).filter((op) => present.has(op)).map((op) => [op, ops[op].title])]);
  const cpus = [...new Set(data.sorts.map((sort) => sort[CPU]))].filter((cpu) => cpu >= 0).sort((a, b) => a - b);
  options(box("cpu"), [["", "all CPUs"], ...cpus.map((cpu) => [String(cpu), `CPU ${cpu}`])]);
  options(box("group"), Object.entries(groups).filter(([, group]) => group.apart).map(([name, group]) => [name, group.title]));
  const lacking = [!data.functions_apart && "functions", !data.tasks_apart && "tasks and CPUs"].filter(Boolean);
  const detail = data.slot ? `This is a large trace: it is summed up by ${duration(data.slot)}, nothing is left out of the counts.` : "";
  box("detail").textContent = lacking.length ? `${detail} Of so many sorts of events, ${lacking.join(", ")} are not told apart here.` : detail;
  const started = box("started");
  if (started) started.textContent = new Date(Number(started.dataset.milliseconds)).toISOString();

  for (const name of kept) {
    box(name).addEventListener("input", () => {
      wanted[name] = box(name).value;
      update();
    });
  }
  box("cpu").addEventListener("input", () => {
    wanted.cpu = box("cpu").value === "" ? null : Number(box("cpu").value);
    update();
  });
  box("filters").addEventListener("submit", (event) => event.preventDefault());
  box("filters").addEventListener("reset", (event) => {
    event.preventDefault();
    follow("");
    update();
  });
  const steps = { in: () => zoomBy(0.5), out: () => zoomBy(2), left: () => move(-0.5), right: () => move(0.5), all: () => zoom(0, data.span) };
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => {
      steps[button.dataset.zoom]();
      update();
    });
  }
  const keys = { "+": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all" };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    steps[keys[event.key]]();
    update();
  });
  pointers();
  window.addEventListener("resize", update);
  window.addEventListener("hashchange", () => {
    if (location.hash.slice(1) === address()) return;
    follow(location.hash);
    update();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", update);
  follow(location.hash);
  draw();
}

// The pointer on the two canvases: a drag zooms in, a click on a row's name asks for that row.
function pointers() {
  drag(canvas, (x) => timeAt(x), (event) => {
    const row = rows[Math.floor((event.offsetY - AXIS) / ROW)];
    if (row !== undefined && event.offsetX < gutter) choose(wanted.group, row);
  });
  drag(overview, (x) => (x / Math.max(1, overview.clientWidth)) * data.span, (event) => {
    const [middle, span] = [(event.offsetX / Math.max(1, overview.clientWidth)) * data.span, wanted.to - wanted.from];
    zoom(middle - span / 2, middle + span / 2);
    update();
  });
  canvas.addEventListener("pointermove", tell);
  canvas.addEventListener("pointerleave", () => (tip.hidden = true));
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomBy(event.deltaY > 0 ? 1.3 : 1 / 1.3, timeAt(event.offsetX));
    update();
  }, { passive: false });
}

function drag(target, time, click) {
  let from = null;
  target.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    from = event.offsetX;
    target.setPointerCapture(event.pointerId);
  });
  target.addEventListener("pointerup", (event) => {
    if (from === null) return;
    const [begin, end] = [Math.min(from, event.offsetX), Math.max(from, event.offsetX)];
    from = null;
    if (end - begin < 4) return click(event);
    zoom(time(begin), time(end));
    update();
  });
  target.addEventListener("pointercancel", () => (from = null));
  target.addEventListener("dblclick", () => {
    zoom(0, data.span);
    update();
  });
}

begin();
