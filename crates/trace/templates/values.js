// The values of one register over time.

const POINTS = 20000;

// Draws the values of the lane that is chosen, if it has some: a step for each cell, and what lay
// between where a cell has several.
function drawValues() {
  const section = document.getElementById("register");
  const points = [];
  let width = 0;
  if (wanted.lane !== null) {
    visible((cell) => {
      if (data.sorts[cells.sort[cell]][LANE] !== wanted.lane || cells.value[cell] === 0) return;
      width = Math.max(width, data.sorts[cells.sort[cell]][WIDTH]);
      points.push(cell);
    });
  }
  section.hidden = points.length === 0;
  if (section.hidden) return;
  const number = (digits) => Number(`0x${digits}`);
  const ends = (cell) => cells.between.get(cell) || [cells.value[cell], cells.value[cell]];
  let [low, high] = [Infinity, -Infinity];
  for (const cell of points) {
    const [lower, higher] = ends(cell);
    if (number(lower) < low) low = number(lower);
    if (number(higher) > high) high = number(higher);
  }
  document.getElementById("register-name").textContent = `${laneTitle(wanted.lane)}: values over time`;
  paint(points, ends, number, { low, high, width });
}

function paint(points, ends, number, { low, high, width: bytes }) {
  const { pen, width, height } = prepare(document.getElementById("values"), 180);
  const span = Math.max(1, wanted.to - wanted.from);
  const x = (time) => gutter + ((time - wanted.from) / span) * (width - gutter - 8);
  const y = (value) => (high === low ? height / 2 : height - 14 - ((value - low) / (high - low)) * (height - 28));
  const label = (value) => inHex(Math.round(value).toString(16), bytes);
  pen.fillStyle = colour("--dim");
  const levels = high === low ? [low] : [low, (low + high) / 2, high];
  for (const level of levels) fitted(pen, label(level), 6, y(level), gutter - 12);
  pen.strokeStyle = colour("--line");
  for (const level of levels) {
    pen.beginPath();
    pen.moveTo(gutter, y(level));
    pen.lineTo(width, y(level));
    pen.stroke();
  }
  // Of very many only so many are drawn, evenly; the table has what is in view.
  const every = Math.max(1, Math.ceil(points.length / POINTS));
  pen.strokeStyle = colour("--mark");
  pen.lineWidth = 1.3;
  pen.beginPath();
  let before = null;
  for (let index = 0; index < points.length; index += every) {
    const cell = points[index];
    const [from, to] = [x(Math.max(wanted.from, cells.begin[cell])), y(number(cells.value[cell]))];
    if (before === null) pen.moveTo(from, to);
    else pen.lineTo(from, before);
    pen.lineTo(from, to);
    before = to;
  }
  pen.lineTo(x(wanted.to), before);
  pen.stroke();
  for (let index = 0; index < points.length; index += every) {
    const cell = points[index];
    const [lower, higher] = ends(cell);
    const at = x(Math.max(wanted.from, cells.begin[cell]));
    pen.fillStyle = colour(ops[opOf[cells.sort[cell]]].colour);
    pen.fillRect(at - 1.5, y(number(higher)) - 1.5, 3, y(number(lower)) - y(number(higher)) + 3);
  }
}
