// The editor as the widget of a node. One editor per node; the widget's value is its layout as JSON text.

import { onCanvases, previewOf } from "./canvases.js";
import { RegionEditor } from "./editor.js";
import { app, inputUrl, loras, setting, toast, upload } from "./host.js";
import { backgroundOf, lastResult, onResult } from "./results.js";

const LEAST = { width: 640, height: 460 };
const editors = new Set();

/** As getCustomWidgets wants it. */
export function layoutWidget(node, name) {
  const editor = new RegionEditor(hostOf(node), (value) => {
    widget.callback?.(value);
    node.graph?.change?.();
  });
  const widget = node.addDOMWidget(name, "PAKATI_LAYOUT", editor.element, {
    getValue: () => editor.value,
    setValue: (value) => {
      editor.value = value;
    },
    getMinHeight: () => LEAST.height,
    hideOnZoom: false,
  });
  const reference = new WeakRef(editor);
  editors.add(reference);
  return { widget, minWidth: LEAST.width, minHeight: LEAST.height };
}

/** After a run: pictures behind the editors may be other ones. */
export function listen() {
  onResult(refreshAll);
  onCanvases(refreshAll);
}

function refreshAll() {
  for (const reference of editors) {
    const editor = reference.deref();
    if (editor) editor.refresh();
    else editors.delete(reference);
  }
}

/** The region editor of a node, or null. */
export function editorOf(node) {
  const found = node?.widgets?.find((widget) => widget.type === "PAKATI_LAYOUT");
  return [...editors].map((one) => one.deref()).find((editor) => editor && editor.element === found?.element) ?? null;
}

/** The editor that is meant: the selected node's, else the only one or the last one of the open graph. */
export function currentEditor() {
  const selected = [...(app.canvas.selectedItems ?? [])].map(editorOf).find(Boolean);
  return selected ?? (app.canvas.graph ?? app.graph).nodes.map(editorOf).findLast(Boolean) ?? null;
}

/** A new editor node in the middle of what is seen of the graph. */
export function addEditorNode() {
  const node = window.LiteGraph.createNode("PakatiRegionEditor");
  const { ds, canvas } = app.canvas;
  const middle = [canvas.clientWidth / 2 / ds.scale - ds.offset[0], canvas.clientHeight / 2 / ds.scale - ds.offset[1]];
  node.pos = [middle[0] - node.size[0] / 2, middle[1] - node.size[1] / 2];
  (app.canvas.graph ?? app.graph).add(node);
  return editorOf(node);
}

/**
 * Let the node of an editor draw on a step of a canvas.
 * @returns {boolean} false where another picture is connected, which stays
 */
export function connectCanvas(editor, name, step) {
  const graph = app.canvas.graph ?? app.graph;
  const node = graph.nodes.find((one) => editorOf(one) === editor);
  const slot = node?.inputs.findIndex((input) => input.name === "image") ?? -1;
  if (slot < 0) return false;
  let before = node.getInputNode(slot);
  if (!before) {
    before = window.LiteGraph.createNode("PakatiCanvasLoad");
    before.pos = [node.pos[0] - before.size[0] - 60, node.pos[1]];
    graph.add(before);
    before.connect(0, node, slot);
  }
  if (before.type !== "PakatiCanvasLoad") return false;
  const given = { name, step };
  for (const widget of before.widgets) if (widget.name in given) widget.value = given[widget.name];
  editor.refresh();
  return true;
}

export function openLargeEditor() {
  const editor = currentEditor();
  if (editor) editor.toggleLarge();
  else toast("info", "There is no Region Editor in this graph", "Add one first.");
}

/** What the editor of one node asks for. */
function hostOf(node) {
  return {
    loras,
    upload,
    setting,
    warn: (notes) => toast("warn", "Region Editor", notes.slice(0, 3).join(" ")),
    describe(region, layout) {
      const result = layout.background.from === "result" ? lastResult() : null;
      const made = result?.layout?.regions.find((one) => one.id === region.id) ?? region;
      const seed = made.seed ?? (result ? result.seeds.join(", ") : null);
      return [made.name, made.prompt, seed === null || seed === "" ? "" : `seed ${seed}`].filter(Boolean).join("\n");
    },
    backgroundUrl({ from, file }) {
      if (from === "file") return inputUrl(file);
      if (from === "result") return lastResult()?.url ?? null;
      return from === "image" ? connectedPicture(node) : null;
    },
  };
}

/** What can be known of the picture at the input without a run, else what came in at the last one. */
function connectedPicture(node) {
  const slot = node.inputs?.findIndex((input) => input.name === "image") ?? -1;
  const before = slot < 0 ? null : node.getInputNode?.(slot);
  if (!before) return null;
  const valueOf = (name) => before.widgets?.find((widget) => widget.name === name)?.value;
  if (before.type === "PakatiCanvasLoad") return previewOf(valueOf("name"), valueOf("step"));
  const file = valueOf("image"); // Load Image and the like
  return typeof file === "string" && file ? inputUrl(file) : backgroundOf(node);
}
