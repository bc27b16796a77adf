// Does with a page what a person does, and notes what it finds: a line for each check in an element
// of its own, which whoever opened the page reads. Nothing of the page's script is called: there
// are only clicks, keys and what is seen.
"use strict";
{
  const found = [];
  const outcome = document.createElement("pre");
  outcome.id = "outcome";
  const tell = (line) => {
    found.push(line);
    outcome.textContent = found.join("\n");
  };
  const check = (what, holds, seen) => tell(`${holds ? "ok" : "FAILED"} ${what}${holds ? "" : `: ${seen}`}`);
  const box = (name) => document.getElementById(name);
  const texts = (table, column) => [...box(table).querySelectorAll(`tbody tr[tabindex] td:nth-child(${column})`)].map((cell) => cell.textContent);
  const number = (text) => Number(text.replace(/[^0-9]/g, ""));
  const seen = () => number(box("shown").textContent);
  // Twice: what is asked for is drawn in the next frame.
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const type = async (name, text) => {
    box(name).value = text;
    box(name).dispatchEvent(new Event("input", { bubbles: true }));
    await drawn();
  };
  const click = async (target) => {
    target.click();
    await drawn();
  };
  const pointer = (target, kind, x, y) => {
    const place = target.getBoundingClientRect();
    const at = { clientX: place.left + x, clientY: place.top + y, pointerId: 1, button: 0, bubbles: true };
    target.dispatchEvent(new PointerEvent(kind, at));
  };
  const colours = (name) => {
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [box(name).width, box(name).height];
    const pen = copy.getContext("2d", { willReadFrequently: true });
    pen.drawImage(box(name), 0, 0);
    return new Set(new Uint32Array(pen.getImageData(0, 0, copy.width, copy.height).data.buffer)).size;
  };

  // The browser's clock jumps over what nobody waits for, and does not know of frames.
  window.requestAnimationFrame = (draw) => setTimeout(() => draw(performance.now()), 16);

  const run = async () => {
    check("a page needs nothing from elsewhere", performance.getEntriesByType("resource").length === 0, performance.getEntriesByType("resource").map((entry) => entry.name));
    check("no text is markup", !document.querySelector("b, [onclick]") && document.scripts.length <= 3, document.scripts.length);
    if (!box("view")) {
      check("a page of nothing says so", box("empty") !== null, document.body.textContent);
      return;
    }
    // A pointer of the machine that nobody holds can't be captured.
    Element.prototype.setPointerCapture = () => {};
    check("the view is shown", !box("view").hidden, "hidden");
    check("the timeline is drawn", colours("timeline") > 4 && colours("overview") > 2, colours("timeline"));
    const all = seen();
    check("events are counted", all > 0, box("shown").textContent);
    check("tables are filled", texts("lane-table", 4).length > 0 && box("event-table").rows.length > 1, "empty");
    const sum = () => texts("lane-table", 1).reduce((total, text) => total + number(text), 0);
    check("registers sum up to what is seen", sum() === all || texts("lane-table", 1).length === 200 || box("lane-table").textContent.includes("LOST"), `${sum()} of ${all}`);

    const name = texts("lane-table", 4)[0].split("  ")[0];
    await type("search", name);
    const named = texts("lane-table", 4);
    check("a search leaves what it asks for", named.length > 0 && named.every((text) => text.includes(name)), named);
    check("a search is counted", seen() > 0 && seen() <= all && (sum() === seen() || name.startsWith("<")), `${seen()} of ${all}`);
    check("a search is kept in the address", decodeURIComponent(location.hash).replaceAll("+", " ").includes(name), location.hash);
    await type("search", "there is no such register");
    check("a search for nothing finds nothing", seen() === 0 && texts("lane-table", 4).length === 0, seen());
    await click(box("reset"));
    check("reset shows all again", seen() === all && box("search").value === "", seen());

    if ([...box("op").options].some((option) => option.value === "W")) {
      await type("op", "W");
      check("a kind is filtered by", seen() > 0 && seen() < all && texts("lane-table", 2).every((reads) => reads === "" || reads === "0"), texts("lane-table", 2));
      await type("op", "");
    }
    const row = () => box("lane-table").querySelector("tbody tr[tabindex]");
    const only = number(row().cells[0].textContent);
    await click(row());
    check("a click on a register asks for it alone", seen() === only && row().className === "chosen", `${seen()} of ${only}`);
    check("its values over time are drawn", !box("register").hidden && colours("values") > 3, box("register").hidden);
    await click(row());
    check("a second click asks for all", seen() === all && box("register").hidden, seen());
    const task = box("task-table").querySelector("tbody tr[tabindex]");
    if (task) {
      const of = number(task.cells[0].textContent);
      await click(task);
      check("a task is filtered by", seen() === of && box("chosen").children.length === 1, `${seen()} of ${of}`);
      await click(box("chosen").children[0]);
      check("what was chosen can be taken away", seen() === all, seen());
    }

    const range = () => box("range").textContent;
    const whole = range();
    const canvas = box("timeline");
    await click(document.querySelector("[data-zoom=in]"));
    check("a button zooms in", range() !== whole && seen() <= all, range());
    await click(document.querySelector("[data-zoom=all]"));
    check("a button shows everything", range() === whole && seen() === all, range());
    const width = canvas.clientWidth;
    pointer(canvas, "pointerdown", width * 0.5, 60);
    pointer(canvas, "pointerup", width * 0.7, 60);
    await drawn();
    const dragged = range();
    check("a drag zooms in", dragged !== whole && seen() < all, dragged);
    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    await drawn();
    check("a key moves", range() !== dragged && range() !== whole, range());
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -100, ctrlKey: true, bubbles: true, cancelable: true }));
    await drawn();
    canvas.dispatchEvent(new MouseEvent("dblclick", { bubbles: true }));
    await drawn();
    check("a double-click shows everything", range() === whole && seen() === all, range());
    pointer(canvas, "pointermove", 20, 45);
    check("a row tells what it is", !box("tip").hidden && box("tip").textContent.length > 2, box("tip").textContent);
    for (const option of box("group").options) {
      await type("group", option.value);
      check(`rows by ${option.value} are drawn`, colours("timeline") > 4 && seen() === all, seen());
    }
    await type("group", "lane");
    check("at the end all is as it was", location.hash === "", location.hash);
  };
  document.body.append(outcome);
  const broken = (what) => tell(`FAILED without an error: ${what}`);
  window.addEventListener("error", (event) => broken(event.message));
  window.alert = () => broken("a text was a script: alert() was called");
  run().then(() => tell("end"), (error) => broken(error.stack));
}
