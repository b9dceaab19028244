// The sidebar tab "Pakati": where to start, the last result region by region, canvases, and saved layouts.

import { CanvasList } from "./canvas_list.js";
import { onCanvases } from "./canvases.js";
import { addStyle, element, freshId, heading, iconButton, textButton } from "./dom.js";
import { ask, attempt, openWorkflow } from "./host.js";
import { read, takingPart, toData } from "./layout.js";
import { Painter, outlinePath } from "./masks.js";
import { lastResult, onResult } from "./results.js";
import { Session } from "./session.js";
import { addEditorNode, currentEditor } from "./widget.js";

export const QUICKSTART = "draw_regions";
let stop = null;

export const tab = {
  id: "pakati",
  icon: "pi pi-th-large",
  title: "Pakati",
  tooltip: "Pakati: start, results by region, canvases, saved layouts",
  type: "custom",
  render(container) {
    addStyle();
    stop?.();
    const result = new ResultView();
    const canvases = new CanvasList();
    const stops = [onResult(() => result.refresh()), onCanvases(() => canvases.refresh())];
    stop = () => stops.forEach((each) => each());
    const sections = [start(), result.element, canvases.element, new TemplateList().element];
    container.replaceChildren(element("div", { class: "pakati-panel" }, ...sections));
    result.refresh();
  },
  destroy() {
    stop?.();
    stop = null;
  },
};

function start() {
  return element(
    "section",
    {},
    heading("Start here"),
    element("p", { text: "Draw regions on a canvas, say what each one shows, and press Run." }),
    textButton("Open the quickstart", () => openWorkflow(QUICKSTART)),
    textButton("Add a Region Editor", () => addEditorNode()),
  );
}

// --- the last result -----------------------------------------------------------------------------------------------

class ResultView {
  constructor() {
    this.painter = new Painter(() => this.paint());
    this.picture = element("img", { alt: "The last result" });
    this.overlay = element("canvas", { class: "pakati-overlay" });
    this.caption = element("p", { class: "pakati-caption", "aria-live": "polite" });
    this.names = element("div", { class: "pakati-names" });
    const frame = element("div", { class: "pakati-result" }, this.picture, this.overlay);
    frame.addEventListener("pointermove", (event) => this.point(event));
    frame.addEventListener("pointerleave", () => this.show(null));
    this.picture.addEventListener("load", () => this.paint());
    this.element = element("section", {}, heading("Last result"), frame, this.caption, this.names);
    this.hovered = null;
  }

  refresh() {
    const result = lastResult();
    this.element.hidden = !result;
    if (!result) return;
    if (this.picture.getAttribute("src") !== result.url) this.picture.src = result.url;
    this.session = result.layout && new Session(toData(result.layout), this.painter);
    this.regions = result.layout ? takingPart(result.layout) : [];
    this.names.replaceChildren(
      ...this.regions.map((region) => {
        const one = element("button", { type: "button", class: "pakati-chip", text: region.name });
        one.style.setProperty("--pakati-chip", region.colour);
        for (const event of ["focus", "pointerenter", "click"]) one.addEventListener(event, () => this.show(region));
        one.addEventListener("pointerleave", () => this.show(null));
        return one;
      }),
    );
    this.show(null);
  }

  point(event) {
    if (!this.session) return;
    const { left, top, width, height } = this.picture.getBoundingClientRect();
    const { layout } = this.session;
    const at = [((event.clientX - left) / width) * layout.width, ((event.clientY - top) / height) * layout.height];
    this.show(this.session.at(at, true));
  }

  show(region) {
    this.hovered = region;
    const { seeds = [] } = lastResult() ?? {};
    const seed = region?.seed ?? seeds.join(", ");
    const said = region ? [region.name, region.prompt && `“${region.prompt}”`, seed !== "" && `seed ${seed}`] : [];
    const hint = this.regions?.length ? "Hover a region to see what made it." : "This picture was made without a Region Editor.";
    this.caption.textContent = said.filter(Boolean).join(" · ") || hint;
    this.paint();
  }

  paint() {
    const { overlay, hovered, session } = this;
    overlay.width = this.picture.clientWidth;
    overlay.height = this.picture.clientHeight;
    if (!hovered || !session || !overlay.width) return;
    const pen = overlay.getContext("2d");
    const { layout } = session;
    pen.scale(overlay.width / layout.width, overlay.height / layout.height);
    if (hovered.shape.kind === "mask") {
      const tinted = this.painter.tinted(hovered.shape.png, hovered.colour);
      pen.globalAlpha = 0.5;
      if (tinted) pen.drawImage(tinted, 0, 0, layout.width, layout.height);
      return;
    }
    const path = outlinePath(hovered.shape, layout);
    pen.fillStyle = pen.strokeStyle = hovered.colour;
    pen.lineWidth = (3 * layout.width) / overlay.width;
    pen.globalAlpha = 0.25;
    pen.fill(path);
    pen.globalAlpha = 1;
    pen.stroke(path);
  }
}

// --- templates -----------------------------------------------------------------------------------------------------

class TemplateList {
  constructor() {
    const id = freshId("template");
    this.name = element("input", { id, maxlength: 80, placeholder: "Name of the layout" });
    this.name.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") this.save();
    });
    this.list = element("ul", { class: "pakati-templates", "aria-label": "Saved layouts" });
    this.note = element("div", { class: "pakati-caption", "aria-live": "polite" });
    this.element = element(
      "section",
      {},
      heading("Layouts"),
      element("label", { for: id, text: "Keep the regions of the Region Editor" }),
      element("div", { class: "pakati-save" }, this.name, textButton("Save", () => this.save())),
      this.note,
      this.list,
    );
    this.refresh();
  }

  say(text, ...more) {
    this.note.replaceChildren(text, ...more);
  }

  async refresh() {
    const found = await attempt(() => ask("templates"));
    const rows = (found?.templates ?? []).map((template) => this.row(template));
    this.list.replaceChildren(...rows);
    if (found && !rows.length) this.list.append(element("li", { class: "pakati-hint", text: "No layouts are saved yet." }));
  }

  row({ name, width, height, regions }) {
    const use = element("button", { type: "button", class: "pakati-name", text: name, on: { click: () => this.use(name) } });
    use.title = `Put ${regions} regions on ${width} x ${height} into the Region Editor`;
    const drop = iconButton("trash", `Delete ${name}`, () => this.drop(name));
    const size = element("span", { class: "pakati-size", text: `${regions} · ${width}×${height}` });
    return element("li", { class: "pakati-row" }, use, size, drop);
  }

  async save() {
    const name = this.name.value.trim();
    const editor = currentEditor();
    if (!editor) return this.say("There is no Region Editor in this graph.");
    if (!name) return this.say("Give the layout a name.");
    const layout = toData(editor.session.layout);
    const saved = await attempt(() => ask(`templates/${encodeURIComponent(name)}`, { method: "PUT", body: { layout } }));
    if (!saved) return undefined;
    this.name.value = "";
    this.say(`${name} was saved.`);
    return this.refresh();
  }

  async use(name) {
    const found = await attempt(() => ask(`templates/${encodeURIComponent(name)}`));
    if (!found) return;
    const { layout, notes } = read(found.layout);
    const editor = currentEditor() ?? addEditorNode();
    editor.session.replace(layout, `${name} is on the canvas. Undo brings back what was there.`);
    this.say(notes[0] ?? `${name} is on the canvas.`);
  }

  async drop(name) {
    const path = `templates/${encodeURIComponent(name)}`;
    const found = await attempt(() => ask(path));
    const dropped = await attempt(() => ask(path, { method: "DELETE" }));
    if (!dropped) return;
    await this.refresh();
    const undo = textButton("Undo", async () => {
      await attempt(() => ask(path, { method: "PUT", body: found }));
      this.say(`${name} is back.`);
      this.refresh();
    });
    this.say(`${name} was deleted. `, ...(found ? [undo] : []));
  }
}
