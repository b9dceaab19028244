// The region editor as one element: tools, canvas, list, fields. Knows the page but not the app; see host.js.

import { addStyle, chooseFile, element, freshId, iconButton } from "./dom.js";
import { Drawing } from "./drawing.js";
import { clamp } from "./geometry.js";
import { isFull, newRegion, withRegions } from "./layout.js";
import { Painter, loadPicture } from "./masks.js";
import { Fields, RegionList } from "./panel.js";
import { Session } from "./session.js";
import { View } from "./view.js";

const LABELS = {
  select: "Select, move, scale (V)",
  points: "Edit corners (A)",
  box: "Box (R)",
  ellipse: "Ellipse (O)",
  polygon: "Polygon (P)",
  lasso: "Lasso (L)",
  brush: "Brush (B)",
  eraser: "Eraser (E)",
};
const TOOL_KEYS = { v: "select", a: "points", r: "box", o: "ellipse", p: "polygon", l: "lasso", b: "brush", e: "eraser" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const REACH = { mouse: 7, pen: 9, touch: 20 }; // screen pixels
const PULL = 6;

export class RegionEditor {
  /**
   * @param {object} host what the editor asks of the app, see host.js
   * @param {(value: string) => void} onValue after every edit
   */
  constructor(host, onValue = () => {}) {
    addStyle();
    this.host = host;
    this.onValue = onValue;
    this.view = new View();
    this.size = { width: 0, height: 0 };
    this.painter = new Painter(() => this.schedule());
    this.drawing = new Drawing(this.painter);
    this.session = new Session("", this.painter, () => this.changed());
    this.pointers = new Map();
    this.pointer = null;
    this.hovered = null;
    this.picture = null;
    this.pictureUrl = null;
    this.saved = this.session.value;
    this.build();
    this.changed();
  }

  // --- the widget's value ------------------------------------------------------------------------------------------

  get value() {
    return this.session.value;
  }

  set value(value) {
    if (value === this.session.value) return;
    this.session.open(value);
    this.saved = this.session.value;
    this.view.isFitted = true;
    this.refresh();
    if (this.session.notes.length) this.host.warn(this.session.notes);
  }

  changed() {
    if (!this.canvas) return; // the session announces itself while the editor is being made
    this.schedule();
    const { value } = this.session;
    if (value === this.saved) return;
    this.saved = value;
    this.onValue(value);
  }

  // --- the page ----------------------------------------------------------------------------------------------------

  build() {
    const status = freshId("status");
    this.canvas = element("canvas", {
      class: "pakati-canvas",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "drawing canvas",
      "aria-label": "Regions. Letters choose a tool, Enter adds a shape, arrows move, Page Up and Page Down select.",
      "aria-describedby": status,
    });
    // Frontend 1.49 to 1.58 undo the whole graph on Ctrl+Z, seen before any listener here, unless the focus is on
    // something "of type textarea", which has a history of its own. So has this canvas.
    this.canvas.type = "textarea";
    this.pen = this.canvas.getContext("2d");
    this.stage = element("div", { class: "pakati-stage" }, this.canvas);
    this.status = element("output", { id: status, class: "pakati-status", role: "status", "aria-live": "polite" });
    this.list = new RegionList(this.session, () => {});
    this.fields = new Fields(this.session, this.host, {
      chooseBackground: (from) => this.chooseBackground(from),
      takeSize: () => this.takeSize(),
      importColours: () => this.importColours(),
      traceBackground: () => this.traceBackground(),
      importMask: () => this.importMask(),
    });
    const side = element("div", { class: "pakati-side" }, this.list.element, this.fields.element);
    this.surface = element("div", { class: "pakati-surface" }, this.buildTools(), this.stage, side, this.status);
    this.element = element("div", { class: "pakati-editor", role: "group", "aria-label": "Region editor" }, this.surface);
    this.surface.dataset.captureWheel = "true"; // the host's own mark for what scrolls while it has the focus
    this.listen();
    new ResizeObserver(() => this.resized()).observe(this.stage);
  }

  buildTools() {
    const { session } = this;
    this.tools = Object.entries(LABELS).map(([tool, label]) => {
      const button = iconButton(tool, label, () => session.setTool(tool), { "aria-pressed": "false" });
      button.dataset.tool = tool;
      return button;
    });
    this.undo = iconButton("undo", "Undo (Ctrl+Z)", () => session.undo());
    this.redo = iconButton("redo", "Redo (Ctrl+Y)", () => session.redo());
    this.snap = iconButton("snap", "Snap to edges; Alt lets go", () => {
      session.snap = !session.snap;
      session.say(session.snap ? "Edges snap." : "Edges are free.");
    });
    const fit = iconButton("fit", "Show all of the canvas (0)", () => this.fit());
    const copy = iconButton("copy", "Duplicate (Ctrl+D)", () => session.duplicate());
    const trash = iconButton("trash", "Delete (Del)", () => session.remove());
    this.large = iconButton("large", "Large editor", () => this.toggleLarge());
    const group = (...buttons) => element("span", { class: "pakati-group" }, ...buttons);
    const toCanvas = (event) => event.detail > 0 && this.canvas.focus({ preventScroll: true }); // a click, not a key
    return element(
      "div",
      { on: { click: toCanvas }, class: "pakati-tools", role: "toolbar", "aria-label": "Drawing tools" },
      group(...this.tools),
      group(this.undo, this.redo, copy, trash),
      group(this.snap, fit, this.large),
    );
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointerdown", (event) => this.onDown(event));
    canvas.addEventListener("pointermove", (event) => this.onMove(event));
    canvas.addEventListener("pointerup", (event) => this.onUp(event));
    canvas.addEventListener("pointercancel", (event) => this.onCancel(event));
    canvas.addEventListener("pointerleave", () => this.onLeave());
    canvas.addEventListener("dblclick", () => this.onDouble());
    canvas.addEventListener("keydown", (event) => this.onKey(event));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    this.surface.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    // The graph below must not take strokes for drags of the node, nor typing for its own shortcuts.
    for (const type of ["pointerdown", "pointermove", "pointerup", "dblclick", "contextmenu"]) {
      this.surface.addEventListener(type, (event) => event.stopPropagation());
    }
    for (const type of ["copy", "cut", "paste"]) this.surface.addEventListener(type, (event) => event.stopPropagation());
    this.surface.addEventListener("keydown", (event) => {
      const queues = event.key === "Enter" && (event.ctrlKey || event.metaKey);
      if (!queues && event.key !== "Tab") event.stopPropagation();
    });
  }

  resized() {
    this.size = { width: this.stage.clientWidth, height: this.stage.clientHeight };
    const shown = this.stage.getBoundingClientRect();
    const zoom = this.size.width ? shown.width / this.size.width : 1;
    this.ratio = clamp((window.devicePixelRatio || 1) * zoom, 1, 2);
    this.canvas.width = Math.max(1, Math.round(this.size.width * this.ratio));
    this.canvas.height = Math.max(1, Math.round(this.size.height * this.ratio));
    this.ink = this.inks();
    this.paint();
  }

  /** Colours of the page, so that the editor is readable in light and dark. */
  inks() {
    const style = getComputedStyle(this.surface);
    const get = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    return {
      paper: get("--pakati-paper", "#f7f5f0"),
      rule: get("--pakati-rule", "#e5e2da"),
      border: get("--pakati-border", "#888"),
      handle: get("--pakati-accent", "#1f6feb"),
      guide: get("--pakati-guide", "#e0218a"),
      plate: "#1e2026",
      erase: "#ffffff",
      font: style.fontFamily || "sans-serif",
    };
  }

  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.paint();
      if (!this.session.live && !this.session.draft) this.refresh();
      else this.showStatus();
    });
  }

  paint() {
    if (!this.size.width || !this.ink) return;
    if (this.view.isFitted) this.view.fit(this.session.shown, this.size);
    this.drawing.paint(this.pen, {
      session: this.session,
      view: this.view,
      size: this.size,
      ratio: this.ratio,
      picture: this.picture,
      ink: this.ink,
      pointer: this.pointer,
      hovered: this.hovered,
      showLabels: this.host.setting("Editor.Labels", true),
    });
  }

  /** Everything around the canvas. */
  refresh() {
    const { session } = this;
    for (const button of this.tools) button.setAttribute("aria-pressed", String(button.dataset.tool === session.tool));
    this.snap.setAttribute("aria-pressed", String(session.snap));
    this.undo.disabled = !session.history.canUndo;
    this.redo.disabled = !session.history.canRedo;
    this.canvas.style.cursor = { select: "default", points: "default" }[session.tool] ?? "crosshair";
    this.list.refresh();
    this.fields.refresh();
    this.showStatus();
    this.showBackground();
    this.schedulePaint();
  }

  schedulePaint() {
    if (this.painting) return;
    this.painting = requestAnimationFrame(() => {
      this.painting = 0;
      this.paint();
    });
  }

  showStatus() {
    const { session } = this;
    const { width, height, regions } = session.layout;
    const count = `${regions.length} ${regions.length === 1 ? "region" : "regions"} on ${width} x ${height}`;
    const text = session.message || count;
    if (this.status.textContent !== text) this.status.textContent = text;
    this.status.title = session.notes.join("\n");
  }

  fit() {
    this.view.fit(this.session.shown, this.size);
    this.schedule();
  }

  // --- pointer -----------------------------------------------------------------------------------------------------

  /** Where an event is, in the editor's own pixels: the graph may show the node larger or smaller. */
  place(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [
      (event.clientX - left) * (width ? this.size.width / width : 1),
      (event.clientY - top) * (height ? this.size.height / height : 1),
    ];
  }

  held(event) {
    return {
      shift: event.shiftKey,
      alt: event.altKey,
      ctrl: event.ctrlKey || event.metaKey,
      reach: (REACH[event.pointerType] ?? REACH.mouse) / this.view.scale,
      pull: PULL / this.view.scale,
    };
  }

  onDown(event) {
    event.stopPropagation();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.place(event);
    this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) {
      this.session.cancel();
      this.pinch = null;
    }
    if (this.pointers.size > 1) return;
    this.isPanning = event.button === 1 || this.isSpaceHeld;
    if (this.isPanning || event.button !== 0) return;
    this.count = this.session.layout.regions.length;
    this.session.press(this.view.toCanvas(at), this.held(event));
  }

  onMove(event) {
    const at = this.place(event);
    const before = this.pointers.get(event.pointerId);
    if (before) this.pointers.set(event.pointerId, at);
    if (this.pointers.size === 2) return this.movePinch();
    const point = this.view.toCanvas(at);
    this.pointer = point;
    if (this.isPanning && before) {
      this.view.pan(at[0] - before[0], at[1] - before[1]);
      return this.schedule();
    }
    if (!before) {
      const hit = this.session.at(point, true);
      this.hovered = hit?.id ?? null;
      this.canvas.title = hit ? this.host.describe(hit, this.session.layout) : "";
      if (this.session.tool === "brush" || this.session.tool === "eraser") this.schedulePaint();
    }
    if (before || this.session.draft) {
      const events = before && event.getCoalescedEvents ? event.getCoalescedEvents() : [];
      const isStroke = ["lasso", "brush", "eraser"].includes(this.session.tool);
      for (const each of isStroke && events.length ? events : [event]) {
        this.session.drag(this.view.toCanvas(this.place(each)), this.held(event));
      }
    }
    return undefined;
  }

  movePinch() {
    const [one, other] = [...this.pointers.values()];
    const now = {
      middle: [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2],
      apart: Math.hypot(one[0] - other[0], one[1] - other[1]) || 1,
    };
    if (this.pinch) {
      this.view.pan(now.middle[0] - this.pinch.middle[0], now.middle[1] - this.pinch.middle[1]);
      this.view.zoom(now.apart / this.pinch.apart, now.middle);
    }
    this.pinch = now;
    this.schedule();
  }

  onUp(event) {
    event.stopPropagation();
    const wasOne = this.pointers.size === 1;
    if (!this.pointers.delete(event.pointerId)) return;
    if (!wasOne || this.isPanning) {
      this.isPanning = false;
      return;
    }
    this.session.release(this.view.toCanvas(this.place(event)), this.held(event));
    const isNew = this.session.layout.regions.length > this.count;
    if (isNew && this.session.tool !== "brush" && this.host.setting("Editor.FocusPrompt", true)) this.focusPrompt();
  }

  onCancel(event) {
    this.pointers.delete(event.pointerId);
    this.isPanning = false;
    this.session.cancel();
  }

  onLeave() {
    this.pointer = null;
    this.hovered = null;
    this.schedulePaint();
  }

  onDouble() {
    const { session } = this;
    if (session.tool === "polygon") return session.closePolygon();
    return session.tool === "select" && session.current ? this.focusPrompt() : undefined;
  }

  /** Let the user type at once what a region shows. */
  focusPrompt() {
    this.refresh();
    this.fields.prompt.input.focus({ preventScroll: true });
  }

  onWheel(event) {
    if (!this.surface.contains(document.activeElement)) return; // until then the wheel belongs to the graph
    event.stopPropagation();
    if (!this.stage.contains(event.target)) return;
    event.preventDefault();
    const factor = Math.exp(-clamp(event.deltaY, -200, 200) / 400);
    this.view.zoom(factor, this.place(event));
    this.schedule();
  }

  // --- keys --------------------------------------------------------------------------------------------------------

  onKey(event) {
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key === "Enter") return; // queues the prompt
    const isKnown = command ? this.onCommandKey(event) : this.onPlainKey(event);
    if (!isKnown) return;
    // Also keeps the page's own copy and paste of nodes from following.
    event.preventDefault();
    event.stopPropagation();
  }

  onCommandKey(event) {
    const { session } = this;
    const run = {
      z: () => (event.shiftKey ? session.redo() : session.undo()),
      y: () => session.redo(),
      c: () => session.copy(),
      x: () => {
        session.copy();
        session.remove();
      },
      v: () => session.paste(),
      d: () => session.duplicate(),
      a: () => session.select(session.layout.regions.map((region) => region.id), "All regions are selected."),
    }[event.key.toLowerCase()];
    run?.();
    return Boolean(run);
  }

  onPlainKey(event) {
    const { session } = this;
    const { key } = event;
    if (key in ARROWS) {
      const step = event.shiftKey ? 10 : 1;
      const [across, down] = ARROWS[key].map((sign) => sign * step);
      if (event.altKey) session.grow(across, down);
      else session.nudge(across, down);
      return true;
    }
    if (!event.altKey && Object.hasOwn(TOOL_KEYS, key.toLowerCase())) {
      session.setTool(TOOL_KEYS[key.toLowerCase()]);
      session.say(`${LABELS[session.tool].split(" (")[0]}.`);
      return true;
    }
    const middle = [this.size.width / 2, this.size.height / 2];
    const zoom = (factor) => {
      this.view.zoom(factor, middle);
      this.schedule();
    };
    const run = {
      Delete: () => session.remove(),
      Backspace: () => session.dropCorner() || session.remove(),
      Escape: () => session.cancel() || session.select([], "Nothing is selected."),
      Enter: () => this.onEnter(),
      PageUp: () => session.step(1),
      PageDown: () => session.step(-1),
      ".": () => session.stepVertex(1),
      ",": () => session.stepVertex(-1),
      "[": () => this.onBracket(-1),
      "]": () => this.onBracket(1),
      0: () => this.fit(),
      "+": () => zoom(1.25),
      "-": () => zoom(0.8),
      F2: () => session.current && this.list.rename(session.current.id),
    }[key];
    run?.();
    return Boolean(run);
  }

  onEnter() {
    const { session } = this;
    if (session.draft?.kind === "polygon") return session.closePolygon();
    if (["box", "ellipse", "polygon", "lasso"].includes(session.tool)) {
      return session.addDefault() && this.focusPrompt();
    }
    return session.current ? this.focusPrompt() : session.step(1);
  }

  onBracket(by) {
    const { session } = this;
    if (session.tool === "brush" || session.tool === "eraser") {
      session.brush = clamp(session.brush + by * 8, 4, 400);
      return session.say(`The brush is ${session.brush} pixels wide.`);
    }
    const { current, layout } = session;
    return current && session.reorder(current.id, layout.regions.indexOf(current) + by);
  }

  // --- pictures ----------------------------------------------------------------------------------------------------

  /** Load the picture behind the regions, when it is another one. */
  async showBackground() {
    const url = this.host.backgroundUrl(this.session.layout.background);
    if (url === this.pictureUrl) return;
    this.pictureUrl = url;
    try {
      const picture = url ? await loadPicture(url) : null;
      if (this.pictureUrl === url) this.picture = picture;
    } catch {
      this.picture = null;
    }
    this.schedulePaint();
  }

  async chooseBackground(from) {
    if (from !== "file") return this.session.setBackground({ from });
    const file = await chooseFile("image/png,image/jpeg,image/webp");
    if (!file) return this.fields.refresh();
    const name = await this.host.upload(file);
    return name ? this.session.setBackground({ from: "file", file: name }) : this.fields.refresh();
  }

  takeSize() {
    const { picture } = this;
    if (!picture) return this.session.say("There is no picture behind the canvas.");
    return this.session.resizeCanvas(picture.naturalWidth, picture.naturalHeight);
  }

  async importColours() {
    const file = await chooseFile("image/png,image/webp,image/bmp");
    const picture = file && (await this.openFile(file));
    if (picture) this.addColours(picture);
  }

  traceBackground() {
    if (this.picture) this.addColours(this.picture);
    else this.session.say("There is no picture behind the canvas.");
  }

  addColours(picture) {
    const { session } = this;
    let { layout } = session;
    const found = this.painter.colourMap(picture, layout);
    for (const { colour, png } of found) {
      if (isFull(layout)) break;
      const region = newRegion(layout, { kind: "mask", png }, { colour });
      layout = withRegions(layout, [...layout.regions, region]);
    }
    if (layout === session.layout) return session.say("The picture has no colour that fills a region.");
    return session.commit(layout, null, `${found.length} colours became regions; mute or delete what is background.`);
  }

  async importMask() {
    const file = await chooseFile("image/png,image/webp,image/bmp");
    const picture = file && (await this.openFile(file));
    if (!picture) return;
    const png = this.painter.fromMask(picture, this.session.layout);
    if (png) this.session.add({ kind: "mask", png });
    else this.session.say("The mask is black all over.");
  }

  async openFile(file) {
    const url = URL.createObjectURL(file);
    try {
      return await loadPicture(url);
    } catch {
      this.session.say("The file is not a picture that this browser can read.");
      return null;
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  // --- large -------------------------------------------------------------------------------------------------------

  /** Show the editor over the whole page, and back in its node. */
  toggleLarge() {
    if (this.dialog) return this.dialog.close();
    this.dialog = element("dialog", { class: "pakati-dialog", "aria-label": "Region editor" }, this.surface);
    this.dialog.addEventListener("close", () => {
      this.element.append(this.surface);
      this.dialog.remove();
      this.dialog = null;
      this.view.isFitted = true;
      this.large.focus();
    });
    this.dialog.addEventListener("cancel", (event) => {
      if (this.session.cancel()) event.preventDefault();
    });
    document.body.append(this.dialog);
    this.dialog.showModal();
    this.view.isFitted = true;
    this.canvas.focus();
    return undefined;
  }
}
