// The part of the sidebar that lists the canvases of this host: their picture, their steps, and what one does with them.

import * as canvases from "./canvases.js";
import { element, heading, iconButton, textButton } from "./dom.js";
import { attempt } from "./host.js";
import { read } from "./layout.js";
import { addEditorNode, connectCanvas, currentEditor } from "./widget.js";

export class CanvasList {
  constructor() {
    this.opened = new Set(); // names of canvases whose steps are shown
    this.shown = "";
    this.list = element("ul", { class: "pakati-canvases", "aria-label": "Canvases" });
    this.note = element("div", { class: "pakati-caption", "aria-live": "polite" });
    this.element = element("section", {}, heading("Canvases"), this.note, this.list);
    this.refresh(true);
  }

  say(text, ...more) {
    this.note.replaceChildren(text, ...more);
  }

  async refresh(isFresh = false) {
    const found = await attempt(() => canvases.list(isFresh));
    const shown = JSON.stringify(found);
    if (!found || shown === this.shown) return;
    this.shown = shown;
    const rows = found.canvases.map((canvas) => this.row(canvas));
    if (!rows.length) rows.push(hint("No canvases are saved yet. Save Canvas keeps one."));
    if (found.left_out) rows.push(hint(`${found.left_out} older ones are in the output folder.`));
    this.list.replaceChildren(...rows);
  }

  row({ name, width, height, regions, steps, thumbnail, problem }) {
    const strip = element("ol", { class: "pakati-strip", "aria-label": `Steps of ${name}`, hidden: true });
    const about = problem ?? `${many(regions, "region")} · ${width}×${height} · ${many(steps, "step")}`;
    const open = element("button", {
      ...{ type: "button", class: "pakati-open", title: about, "aria-label": `Open ${name}`, disabled: Boolean(problem) },
      on: { click: () => this.open(name) },
    });
    open.append(thumbnail ? element("img", { src: thumbnail, alt: "" }) : element("span", { text: problem ? "⚠" : "–" }));
    const toggle = iconButton("steps", `Steps of ${name}`, () => this.toggle(name, strip, toggle), { "aria-expanded": "false" });
    toggle.disabled = Boolean(problem);
    if (this.opened.has(name)) this.fillStrip(name, strip, toggle);
    return element(
      "li",
      {},
      element(
        "div",
        { class: "pakati-canvas-row" },
        open,
        element("div", { class: "pakati-about" }, element("b", { text: name }), element("span", { text: about })),
        toggle,
        iconButton("copy", `Duplicate ${name}`, () => this.duplicate(name)),
        iconButton("trash", `Delete ${name}`, () => this.remove(name)),
      ),
      strip,
    );
  }

  toggle(name, strip, button) {
    if (this.opened.delete(name)) {
      strip.hidden = true;
      button.setAttribute("aria-expanded", "false");
      return undefined;
    }
    this.opened.add(name);
    return this.fillStrip(name, strip, button);
  }

  async fillStrip(name, strip, button) {
    const found = await attempt(() => canvases.stepsOf(name));
    if (!found || !this.opened.has(name)) return;
    strip.replaceChildren(
      ...found.steps.map((step) => {
        const said = [`${step.step}: ${step.title}`, step.seed === null ? "" : `seed ${step.seed}`, step.time];
        const one = element("button", {
          ...{ type: "button", class: "pakati-step", title: said.filter(Boolean).join("\n") },
          ...{ "aria-label": `Open step ${step.step}, ${step.title}`, "aria-current": step.is_here ? "step" : null },
          on: { click: () => this.open(name, step.step) },
        });
        one.append(element("img", { src: step.thumbnail, alt: "" }), element("span", { text: said[0] }));
        return element("li", {}, one);
      }),
    );
    strip.hidden = false;
    button.setAttribute("aria-expanded", "true");
  }

  /** Put a step's regions into the Region Editor, and its picture behind them. */
  async open(name, step = 0) {
    const found = await attempt(() => canvases.stepOf(name, step));
    if (!found) return;
    const { layout } = read(found.layout);
    const editor = currentEditor() ?? addEditorNode();
    editor.session.replace(layout, `${name} is on the canvas. Undo brings back what was there.`);
    const isConnected = connectCanvas(editor, name, step);
    const which = `Step ${found.step} of ${name} is in the Region Editor.`;
    this.say(isConnected ? which : `${which} Another picture is connected to it, which was left there.`);
  }

  async duplicate(name) {
    const copy = await attempt(() => canvases.duplicate(name));
    if (copy) this.say(`The copy is called ${copy.name}.`);
  }

  async remove(name) {
    const dropped = await attempt(() => canvases.remove(name));
    if (!dropped) return;
    const undo = textButton("Undo", async () => {
      const back = await attempt(() => canvases.restore(name, dropped.token));
      if (back) this.say(`${back.name} is back.`);
    });
    this.say(`${name} was deleted. `, undo);
  }
}

const hint = (text) => element("li", { class: "pakati-hint", text });
const many = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
