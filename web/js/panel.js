// The list of regions, topmost first, and the fields of what is selected.

import { element, freshId, iconButton, relabel } from "./dom.js";
import { problemOf } from "./layout.js";

const BACKGROUNDS = { image: "Connected picture", result: "Last result", file: "A file", none: "Squared paper" };

export class RegionList {
  /** @param {import("./session.js").Session} session @param {(id: string) => void} onOpen a row was double-clicked */
  constructor(session, onOpen) {
    this.session = session;
    this.onOpen = onOpen;
    this.rows = new Map();
    this.element = element("ul", { class: "pakati-list", role: "list", "aria-label": "Regions, topmost first" });
    this.empty = element("p", { class: "pakati-hint", text: "Drag on the canvas to draw the first region." });
  }

  refresh() {
    const { session } = this;
    const { regions } = session.layout;
    const kept = new Set(regions.map((region) => region.id));
    for (const [id, row] of this.rows) {
      if (kept.has(id)) continue;
      row.element.remove();
      this.rows.delete(id);
    }
    const order = [...regions].reverse().map((region) => {
      if (!this.rows.has(region.id)) this.rows.set(region.id, this.newRow(region.id));
      const row = this.rows.get(region.id);
      if (row.region !== region || row.isSelected !== session.selection.has(region.id)) this.fill(row, region);
      return row.element;
    });
    const wanted = order.length ? order : [this.empty];
    const isSame = this.element.children.length === wanted.length && wanted.every((one, i) => this.element.children[i] === one);
    if (isSame) return;
    const focused = document.activeElement;
    this.element.replaceChildren(...wanted);
    if (focused instanceof HTMLElement && this.element.contains(focused)) focused.focus();
  }

  newRow(id) {
    const { session } = this;
    const flip = (key) => () => session.change({ [key]: !this.rows.get(id).region[key] }, [id], null);
    const name = element("button", {
      type: "button",
      class: "pakati-name",
      on: {
        click: (event) => (event.shiftKey || event.ctrlKey ? session.toggle(id) : session.select([id])),
        dblclick: () => this.rename(id),
        keydown: (event) => this.onKey(event, id),
      },
    });
    const colour = element("input", {
      type: "color",
      class: "pakati-colour",
      on: { input: () => session.change({ colour: colour.value }, [id], "colour") },
    });
    const grip = element("span", { class: "pakati-grip", "aria-hidden": "true", title: "Drag to reorder", text: "⠿" });
    grip.addEventListener("pointerdown", (event) => this.beginDrag(event, id, grip));
    const muted = iconButton("seen", "", flip("muted"));
    const solo = iconButton("solo", "", flip("solo"));
    const locked = iconButton("free", "", flip("locked"));
    const row = element("li", { class: "pakati-row" }, grip, colour, name, muted, solo, locked);
    return { element: row, name, colour, muted, solo, locked, region: null, isSelected: false };
  }

  fill(row, region) {
    const { session } = this;
    const problem = problemOf(region, session.layout);
    row.region = region;
    row.isSelected = session.selection.has(region.id);
    row.element.classList.toggle("is-selected", row.isSelected);
    row.element.classList.toggle("is-muted", region.muted);
    row.name.textContent = `${problem ? "⚠ " : ""}${region.name}`;
    row.name.title = problem ?? region.prompt;
    row.name.setAttribute("aria-pressed", String(row.isSelected));
    row.name.setAttribute("aria-label", `${region.name}${problem ? `: ${problem}` : ""}`);
    if (document.activeElement !== row.colour) row.colour.value = region.colour;
    row.colour.setAttribute("aria-label", `Colour of ${region.name}`);
    const { name } = region;
    relabel(row.muted, region.muted ? "muted" : "seen", `${region.muted ? "Unmute" : "Mute"} ${name}`, region.muted);
    relabel(row.solo, "solo", `${region.solo ? "End solo of" : "Solo"} ${name}`, region.solo);
    relabel(row.locked, region.locked ? "locked" : "free", `${region.locked ? "Unlock" : "Lock"} ${name}`, region.locked);
  }

  onKey(event, id) {
    const { session } = this;
    const at = session.layout.regions.findIndex((region) => region.id === id);
    if (event.altKey && event.key === "ArrowUp") session.reorder(id, at + 1);
    else if (event.altKey && event.key === "ArrowDown") session.reorder(id, at - 1);
    else if (event.key === "ArrowUp" || event.key === "ArrowDown") this.focusBeside(id, event.key === "ArrowUp" ? -1 : 1);
    else if (event.key === "F2") this.rename(id);
    else if (event.key === "Delete") {
      session.select([id]);
      session.remove();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  focusBeside(id, by) {
    const shown = [...this.element.children];
    const row = shown[shown.indexOf(this.rows.get(id).element) + by];
    row?.querySelector(".pakati-name")?.focus();
  }

  rename(id) {
    const row = this.rows.get(id);
    const input = element("input", { class: "pakati-rename", value: row.region.name, maxlength: 200, "aria-label": "New name" });
    let isDone = false;
    const finish = (isKept) => {
      if (isDone) return; // taking the field away makes it blur
      isDone = true;
      const name = input.value.trim();
      input.replaceWith(row.name);
      if (isKept && name && name !== row.region.name) this.session.change({ name }, [id], null);
      row.name.focus();
    };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") finish(true);
      if (event.key === "Escape") finish(false);
    });
    input.addEventListener("blur", () => finish(true));
    row.name.replaceWith(input);
    input.focus();
    input.select();
  }

  beginDrag(event, id, grip) {
    event.preventDefault();
    grip.setPointerCapture(event.pointerId);
    const row = this.rows.get(id).element;
    row.classList.add("is-dragged");
    let to = null;
    // The rows stay where they are until the end: an element that moves in the page loses the pointer.
    const mark = (one) => {
      for (const each of this.element.children) each.classList.toggle("is-target", each === one);
    };
    const move = (next) => {
      const others = [...this.element.children].filter((one) => one !== row);
      const above = others.filter((one) => {
        const { top, height } = one.getBoundingClientRect();
        return top + height / 2 < next.clientY;
      }).length;
      to = others.length - above; // painting order counts from below
      mark(others[above] ?? null);
    };
    const end = () => {
      grip.removeEventListener("pointermove", move);
      row.classList.remove("is-dragged");
      mark(null);
      if (to !== null) this.session.reorder(id, to);
    };
    grip.addEventListener("pointermove", move);
    grip.addEventListener("lostpointercapture", end, { once: true });
  }
}

/** The fields of the one region that is selected, else those of the canvas. */
export class Fields {
  /** @param {import("./session.js").Session} session @param {object} host see host.js @param {object} actions */
  constructor(session, host, actions) {
    this.session = session;
    this.host = host;
    this.refreshers = [];
    this.region = element("div", { class: "pakati-fields" }, ...this.regionFields());
    this.canvas = element("div", { class: "pakati-fields" }, ...this.canvasFields(actions));
    this.element = element("div", { class: "pakati-form" }, this.region, this.canvas);
  }

  refresh() {
    const { current } = this.session;
    this.region.hidden = !current;
    this.canvas.hidden = Boolean(current);
    for (const refresh of this.refreshers) refresh(current);
  }

  regionFields() {
    this.prompt = this.text("prompt", "Prompt", "what is in this region", 3);
    return [
      this.prompt.field,
      this.text("negative", "Negative", "what is not in it", 2).field,
      element(
        "div",
        { class: "pakati-pair" },
        this.number("weight", "Weight", { min: 0, max: 10, step: 0.05 }, "How strongly the prompt acts; 1 is as it is"),
        this.number("base", "Base prompt", { min: 0, max: 1, step: 0.05 }, "Share of the base prompt that also holds here; 0 is none"),
        this.number("feather", "Feather", { min: 0, max: 16384, step: 1 }, "Canvas pixels that the edge is soft to both sides"),
        this.number("start", "Start", { min: 0, max: 1, step: 0.05 }, "Fraction of sampling from which the prompt acts"),
        this.number("end", "End", { min: 0, max: 1, step: 0.05 }, "Fraction of sampling up to which the prompt acts"),
        this.number("grow", "Grow", { min: -16384, max: 16384, step: 1 }, "Canvas pixels that the edge moves outwards"),
        this.number("guidance", "Guidance", { min: 0, step: 0.5, empty: true }, "Own guidance scale; empty: the sampler's"),
        this.number("seed", "Seed", { min: 0, step: 1, empty: true }, "Own seed; empty: the sampler's"),
        this.flag("invert", "Invert", "Take what lies outside the shape"),
      ),
      this.loraRows(),
    ];
  }

  text(key, label, placeholder, rows) {
    const id = freshId(key);
    const input = element("textarea", { id, rows, placeholder, spellcheck: false, maxlength: 20000 });
    input.addEventListener("input", () => this.session.change({ [key]: input.value }));
    input.addEventListener("blur", () => this.session.history.rest());
    this.refreshers.push((region) => region && input.value !== region[key] && (input.value = region[key]));
    return { input, field: element("div", {}, element("label", { for: id, text: label }), input) };
  }

  number(key, label, { empty = false, ...limits }, title) {
    const id = freshId(key);
    const input = element("input", { id, type: "number", title, placeholder: empty ? "as set" : "", ...limits });
    input.addEventListener("change", () => this.changeNumber(key, input, limits, empty));
    const shown = (region) => (region[key] === null ? "" : String(region[key]));
    this.refreshers.push((region) => {
      if (region && document.activeElement !== input && input.value !== shown(region)) input.value = shown(region);
    });
    return element("div", {}, element("label", { for: id, text: label, title }), input);
  }

  changeNumber(key, input, { min = -Infinity, max = Infinity, step }, empty) {
    const { current } = this.session;
    if (!current) return;
    if (input.value === "" && empty) return this.session.change({ [key]: null }, [current.id], null);
    let value = Number(input.value);
    if (input.value === "" || !Number.isFinite(value)) value = current[key] ?? 0;
    value = Math.min(Math.max(value, min), max);
    if (key === "seed") value = Math.min(Math.round(value), Number.MAX_SAFE_INTEGER);
    if (key === "start") value = Math.min(value, current.end - step / 5);
    if (key === "end") value = Math.max(value, current.start + step / 5);
    value = Math.round(value * 1e6) / 1e6;
    input.value = String(value);
    return value === current[key] ? undefined : this.session.change({ [key]: value }, [current.id], null);
  }

  flag(key, label, title) {
    const id = freshId(key);
    const input = element("input", { id, type: "checkbox", title });
    input.addEventListener("change", () => this.session.change({ [key]: input.checked }));
    this.refreshers.push((region) => region && (input.checked = region[key]));
    return element("div", { class: "pakati-flag" }, input, element("label", { for: id, text: label, title }));
  }

  loraRows() {
    const rows = element("div", { class: "pakati-loras" });
    const names = element("datalist", { id: freshId("lora-names") });
    const add = element("button", { type: "button", class: "pakati-button", text: "Add LoRA" });
    let isAsked = false;
    const ask = async () => {
      if (isAsked) return;
      isAsked = true;
      const found = await this.host.loras();
      names.replaceChildren(...found.map((name) => element("option", { value: name })));
    };
    const save = (change) => {
      const { current } = this.session;
      if (current) this.session.change({ loras: change(current.loras) }, [current.id], null);
    };
    add.addEventListener("click", () => {
      ask();
      save((loras) => [...loras, ["", 1, 1]]);
      rows.querySelector("div:last-child input")?.focus();
    });
    const row = ([name, model], i) => {
      const put = (next) => save((loras) => loras.map((one, j) => (j === i ? next(one) : one)));
      const which = element("input", { list: names.id, value: name, placeholder: "LoRA's name", "aria-label": `LoRA ${i + 1}` });
      which.addEventListener("focus", ask);
      which.addEventListener("change", () => put(([, a, b]) => [which.value.trim(), a, b]));
      const strength = element("input", { type: "number", value: model, step: 0.05, "aria-label": `Strength of LoRA ${i + 1}` });
      strength.addEventListener("change", () => {
        const value = Number(strength.value);
        put(([called]) => [called, Number.isFinite(value) ? value : 1, Number.isFinite(value) ? value : 1]);
      });
      const drop = iconButton("trash", `Remove LoRA ${i + 1}`, () => save((loras) => loras.filter((_, j) => j !== i)));
      return element("div", { class: "pakati-lora" }, which, strength, drop);
    };
    // Rows that stay keep their fields: new ones would take the focus from whoever goes on to the next field.
    const refresh = (loras) => {
      if (rows.childElementCount !== loras.length) rows.replaceChildren(...loras.map(row));
      for (const [i, fields] of [...rows.children].entries()) {
        for (const [j, input] of [...fields.querySelectorAll("input")].entries()) {
          if (document.activeElement !== input) input.value = loras[i][j];
        }
      }
    };
    this.refreshers.push((region) => region && refresh(region.loras));
    return element("div", {}, rows, names, add);
  }

  canvasFields(actions) {
    const side = (key, label) => {
      const id = freshId(key);
      const input = element("input", { id, type: "number", min: 16, max: 16384, step: 8 });
      input.addEventListener("change", () => {
        const { width, height } = { ...this.session.layout, [key]: Math.round(Number(input.value)) };
        this.session.resizeCanvas(width, height);
        input.value = String(this.session.layout[key]);
      });
      this.refreshers.push(() => document.activeElement !== input && (input.value = String(this.session.layout[key])));
      return element("div", {}, element("label", { for: id, text: label }), input);
    };
    const background = element("select", { id: freshId("background") });
    background.append(...Object.entries(BACKGROUNDS).map(([value, text]) => element("option", { value, text })));
    background.addEventListener("change", () => actions.chooseBackground(background.value));
    this.refreshers.push(() => (background.value = this.session.layout.background.from));
    const brush = element("input", { id: freshId("brush"), type: "range", min: 4, max: 400, step: 2 });
    brush.addEventListener("input", () => {
      this.session.brush = Number(brush.value);
      this.session.onChange();
    });
    this.refreshers.push(() => (brush.value = String(this.session.brush)));
    const button = (text, title, run) => element("button", { type: "button", class: "pakati-button", text, title, on: { click: run } });
    return [
      element("div", { class: "pakati-pair" }, side("width", "Canvas width"), side("height", "Canvas height")),
      element("div", {}, element("label", { for: background.id, text: "Background" }), background),
      button("Size of the background", "Give the canvas the size of the picture behind it", actions.takeSize),
      element("div", {}, element("label", { for: brush.id, text: "Brush size" }), brush),
      button("Import colour map…", "One region for each colour of a painted picture", actions.importColours),
      button("Colours of the background", "One region for each colour of the picture behind the canvas", actions.traceBackground),
      button("Import mask…", "One region from a black and white or transparent picture", actions.importMask),
    ];
  }
}
