// The widget's value: the region layout that pakati_core.regions reads, as JSON text, and what the editor adds to it.
// Reading never throws: what cannot be used is mended or left out, and said in a note. Pure: no page, no app.
//
// What pakati_core does not know lies in one key, which pakati_core.editing reads:
//   "editor": {"colours": {id: "#rrggbb"}, "muted": [id], "solo": [id], "background": {...}}

import {
  areaOf,
  boundsOf,
  clamp,
  clipped,
  crossing,
  fitted,
  innerRadius,
  round,
  untangled,
  withoutRepeats,
} from "./geometry.js";

export const VERSION = 1;
export const MAX_SIDE = 16384;
const FARTHEST = 1_000_000; // pixels, as in pakati_core.shapes
const MAX_REGIONS = 256;
const MAX_POINTS = 2000;
const MAX_TEXT = 20_000;
const MAX_VALUE = 64 << 20;
const MAX_NOTES = 12;
const PNG = /^data:image\/png;base64,iVBORw0KGgo[A-Za-z0-9+/]+={0,2}$/;
const KINDS = ["polygon", "box", "ellipse", "mask", "whole"];
const HEADER = ["pakati", "version", "width", "height", "prompt", "negative", "overlap", "regions", "editor"];
const TEXTS = ["prompt", "negative"];
const NUMBERS = {
  weight: { initial: 1, low: 0, high: 1e6 },
  base: { initial: 0, low: 0, high: 1 },
  feather: { initial: 0, low: 0, high: MAX_SIDE },
  grow: { initial: 0, low: -MAX_SIDE, high: MAX_SIDE },
  start: { initial: 0, low: 0, high: 1 },
  end: { initial: 1, low: 0, high: 1 },
};
const KNOWN = [
  ...["id", "name", "units", "invert", "guidance", "seed", "loras", "controls", "model", "locked"],
  ...[...KINDS, ...TEXTS, ...Object.keys(NUMBERS)],
];

// As pakati_core.lettering.PALETTE, so that the overlay shows the colours of the editor.
export const PALETTE = [
  ...["#e5572f", "#2684c4", "#f3b229", "#7650a8", "#2ea874", "#d63168"],
  ...["#2abece", "#966c48", "#96c43a", "#5c6ce2", "#ee82aa", "#608090"],
];

/**
 * @typedef {{kind: "polygon", points: [number, number][]} | {kind: "box" | "ellipse", box: [number, number, number, number]}
 *   | {kind: "mask", png: string} | {kind: "whole"}} Shape  in canvas pixels; a mask is stretched over the canvas
 * @typedef {{id: string, name: string, shape: Shape, prompt: string, negative: string, weight: number, base: number,
 *   feather: number, grow: number, invert: boolean, start: number, end: number, guidance: number | null, seed: number | null,
 *   loras: [string, number, number][], controls: [string, string, number, number, number][], model: string | null,
 *   locked: boolean, colour: string, muted: boolean, solo: boolean}} Region
 * @typedef {{width: number, height: number, prompt: string, negative: string, overlap: string, regions: Region[],
 *   background: {from: string, file?: string}}} Layout
 */

/** @returns {Layout} */
export function emptyLayout(width = 1024, height = 1024) {
  return { width, height, prompt: "", negative: "", overlap: "over", regions: [], background: { from: "image" } };
}

/** @returns {Region} */
export function newRegion(layout, shape, given = {}) {
  const id = freeId(layout);
  const colours = new Set(layout.regions.map((region) => region.colour));
  const colour = PALETTE.find((one) => !colours.has(one)) ?? PALETTE[layout.regions.length % PALETTE.length];
  return {
    ...{ id, name: id, shape, prompt: "", negative: "", weight: 1, base: 0, feather: 0, grow: 0, invert: false },
    ...{ start: 0, end: 1, guidance: null, seed: null, loras: [], controls: [], model: null, locked: false },
    ...{ colour, muted: false, solo: false, ...given },
  };
}

export function freeId(layout) {
  const taken = new Set(layout.regions.flatMap((region) => [region.id, region.name]));
  let number = layout.regions.length + 1;
  while (taken.has(`region ${number}`)) number++;
  return `region ${number}`;
}

// --- reading -------------------------------------------------------------------------------------------------------

/**
 * @param {unknown} value the widget's value, from whoever wrote it
 * @returns {{layout: Layout, notes: string[], usable: boolean}} usable: false where nothing could be made of it, so
 *   that the value had better be kept as it is until the user edits
 */
export function read(value) {
  const notes = [];
  const note = (text) => notes.length < MAX_NOTES && notes.push(text);
  const refuse = (text) => ({ layout: emptyLayout(), notes: [text], usable: false });
  if (value === "" || value === null || value === undefined) return { layout: emptyLayout(), notes, usable: true };
  let data = value;
  if (typeof value === "string") {
    if (value.length > MAX_VALUE) return refuse("The saved layout is too large to be read.");
    try {
      data = JSON.parse(value);
    } catch {
      return refuse("The saved layout is not JSON; it is kept until you draw.");
    }
  }
  if (!isObject(data) || own(data, "pakati") !== "regions") {
    return refuse("The saved value is no region layout; it is kept until you draw.");
  }
  const version = own(data, "version");
  if (typeof version === "number" && version > VERSION) {
    return refuse("This layout is from a newer Pakati; update Pakati to edit it.");
  }
  if (version !== VERSION) note("The layout had no version that is known; it was read as the first.");
  for (const key of Object.keys(data)) {
    if (!HEADER.includes(key)) note(`The layout had the unknown key ${quoted(key)}, which was left out.`);
  }
  const layout = emptyLayout(readSide(data, "width", note), readSide(data, "height", note));
  for (const key of TEXTS) layout[key] = readText(own(data, key), `the base ${key}`, note);
  const overlap = own(data, "overlap");
  if (overlap === "blend") layout.overlap = "blend";
  else if (overlap !== undefined && overlap !== "over") note("The layout's overlap was not known; over is used.");
  const listed = own(data, "regions");
  if (!Array.isArray(listed)) note("The layout had no list of regions.");
  const rows = Array.isArray(listed) ? listed : [];
  if (rows.length > MAX_REGIONS) note(`The layout had ${rows.length} regions; the first ${MAX_REGIONS} are kept.`);
  for (const row of rows.slice(0, MAX_REGIONS)) {
    const region = readRegion(row, layout, note);
    if (region) layout.regions.push(region);
  }
  readEditor(own(data, "editor"), layout, note);
  return { layout, notes, usable: true };
}

function readSide(data, key, note) {
  const value = own(data, key);
  if (Number.isInteger(value) && value >= 1 && value <= MAX_SIDE) return value;
  const side = isNumber(value) && value >= 1 ? Math.min(Math.round(value), MAX_SIDE) : 1024;
  note(`The canvas ${key} was ${quoted(value)}; ${side} is used.`);
  return side;
}

function readText(value, what, note) {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") {
    note(`${upper(what)} was no text and was left out.`);
    return "";
  }
  if (value.length > MAX_TEXT) note(`${upper(what)} was cut to ${MAX_TEXT} characters.`);
  return value.slice(0, MAX_TEXT).toWellFormed();
}

function readRegion(data, layout, note) {
  if (!isObject(data)) {
    note(`A region was ${quoted(data)} and was left out.`);
    return null;
  }
  let id = own(data, "id");
  id = typeof id === "string" ? id.slice(0, 200).toWellFormed() : "";
  if (!id || layout.regions.some((region) => region.id === id)) {
    const given = id;
    id = freeId(layout);
    note(given ? `Two regions were called ${quoted(given)}; the second is now ${id}.` : `${upper(id)} had no id.`);
  }
  const say = (text) => note(`${upper(id)}: ${text}`);
  for (const key of Object.keys(data)) {
    if (!KNOWN.includes(key)) say(`the unknown key ${quoted(key)} was left out.`);
  }
  const shape = readShape(data, layout, say);
  if (!shape) return null;
  const region = newRegion(layout, shape, { id });
  const name = own(data, "name");
  region.name = typeof name === "string" && name ? name.slice(0, 200).toWellFormed() : id;
  for (const key of TEXTS) region[key] = readText(own(data, key), `${id}'s ${key}`, note);
  for (const [key, { initial, low, high }] of Object.entries(NUMBERS)) {
    region[key] = readNumber(own(data, key), initial, low, high, () => say(`its ${key} was out of range.`));
  }
  if (region.start >= region.end) {
    say("it started after its end, and now acts all the time.");
    [region.start, region.end] = [0, 1];
  }
  region.guidance = readNumber(own(data, "guidance"), null, 0, 1e6, () => say("its guidance was out of range."));
  region.seed = readNumber(own(data, "seed"), null, 0, Number.MAX_SAFE_INTEGER, () => say("its seed was out of range."));
  if (region.seed !== null && !Number.isInteger(region.seed)) region.seed = Math.round(region.seed);
  for (const key of ["invert", "locked"]) {
    const flag = own(data, key);
    if (flag === true) region[key] = true;
    else if (flag !== undefined && flag !== false) say(`${key} was neither true nor false.`);
  }
  const model = own(data, "model");
  if (typeof model === "string" && model) region.model = model.slice(0, 500).toWellFormed();
  else if (model !== undefined && model !== null) say("its model was no name.");
  region.loras = readRows(own(data, "loras"), readLora, () => say("a LoRA was not understood."));
  region.controls = readRows(own(data, "controls"), readControl, () => say("a control was not understood."));
  return mendGrow(region, layout, say);
}

function readNumber(value, initial, low, high, complain) {
  if (value === undefined || value === null) {
    return initial;
  }
  if (!isNumber(value)) {
    complain();
    return initial;
  }
  if (value < low || value > high) complain();
  return clamp(value, low, high);
}

function readRows(value, readRow, complain) {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) {
    complain();
    return [];
  }
  const rows = value.slice(0, 64).map(readRow);
  if (rows.includes(null)) complain();
  return rows.filter((row) => row !== null);
}

function readLora(row) {
  const [name, model = 1, clip = model] = Array.isArray(row) ? row : [row];
  if (typeof name !== "string" || !name || !isNumber(model) || !isNumber(clip)) return null;
  return [name.slice(0, 500).toWellFormed(), clamp(model, -100, 100), clamp(clip, -100, 100)];
}

function readControl(row) {
  if (!Array.isArray(row)) return null;
  const [name, picture, strength = 1, start = 0, end = 1] = row;
  if (typeof name !== "string" || typeof picture !== "string") return null;
  if (![strength, start, end].every(isNumber)) return null;
  return [name.slice(0, 500).toWellFormed(), picture.slice(0, 500).toWellFormed(), strength, start, end];
}

/** @returns {Shape | null} */
function readShape(data, layout, say) {
  const given = KINDS.filter((kind) => own(data, kind) !== undefined);
  if (given.length === 0) {
    say("it had no shape and was left out.");
    return null;
  }
  if (given.length > 1) say(`it had more than one shape; its ${given[0]} is used.`);
  const kind = given[0];
  const value = own(data, kind);
  const units = own(data, "units");
  if (units !== undefined && units !== "pixels" && units !== "fraction") say("its units were not known.");
  const scale = units === "fraction" ? [layout.width, layout.height] : [1, 1];
  if (kind === "whole") return { kind };
  if (kind === "mask") {
    if (typeof value === "string" && PNG.test(value)) return { kind, png: value };
    say("its mask is not inside the layout, and it was left out.");
    return null;
  }
  const shape = kind === "polygon" ? readPolygon(value, scale, say) : readBox(kind, value, scale);
  if (!shape) {
    say(`its ${kind} could not be used, and it was left out.`);
    return null;
  }
  if (isOnCanvas(shape, layout)) return shape;
  say("it lay outside the canvas and was moved inside.");
  const moved = placed(shape, insideBox(shapeBounds(shape, layout), layout));
  return isOnCanvas(moved, layout) ? moved : null;
}

function readPolygon(value, [across, down], say) {
  if (!Array.isArray(value)) return null;
  const usable = value.filter((point) => Array.isArray(point) && point.length === 2 && point.every(isNumber));
  if (usable.length < value.length) say("some points were not understood.");
  if (usable.length > MAX_POINTS) say(`it had ${usable.length} points; ${MAX_POINTS} are kept.`);
  const step = Math.max(1, Math.ceil(usable.length / MAX_POINTS));
  let points = usable.filter((_, i) => i % step === 0).map(([x, y]) => [far(x * across), far(y * down)]);
  points = withoutRepeats(points);
  if (new Set(points.map(String)).size < 3) return null;
  if (crossing(points)) {
    say("its outline crossed itself and was put in order.");
    points = untangled(points);
  }
  return isOutline(points) ? { kind: "polygon", points } : null;
}

export function isOutline(points) {
  return new Set(points.map(String)).size >= 3 && areaOf(points) > 1e-3;
}

function readBox(kind, value, [across, down]) {
  if (!Array.isArray(value) || value.length !== 4 || !value.every(isNumber)) return null;
  const [x, y, width, height] = value;
  const box = [far(x * across), far(y * down), far(width * across), far(height * down)];
  return box[2] > 0 && box[3] > 0 ? { kind, box } : null;
}

const far = (value) => clamp(round(value), -FARTHEST, FARTHEST);

/** A region that its grow would leave empty is kept as it was drawn. */
function mendGrow(region, layout, say) {
  const whole = region.shape.kind === "whole";
  if (region.invert && (whole || coversCanvas(region.shape, layout))) {
    say("inverted it would be empty, so it is not.");
    region.invert = false;
  }
  if (region.grow < 0 && !whole && -region.grow >= thickness(region.shape, layout)) {
    say("its grow would leave nothing of it.");
    region.grow = 0;
  }
  if (region.grow > 0 && region.invert) {
    const [x, y, width, height] = shapeBounds(region.shape, layout);
    const room = Math.max(x, y, layout.width - x - width, layout.height - y - height);
    if (room - region.grow < 1) {
      say("grown and inverted it would be empty, so it is not grown.");
      region.grow = 0;
    }
  }
  return region;
}

function coversCanvas(shape, layout) {
  if (shape.kind === "mask" || shape.kind === "whole") return false;
  const inside = clipped(outlineOf(shape), [0, 0, layout.width, layout.height]);
  return areaOf(inside) > layout.width * layout.height - 2;
}

/** How far a shape can shrink before nothing is left, roughly and rather too little. */
function thickness(shape, layout) {
  if (shape.kind === "mask") return 1; // pixels are not known here
  return 0.8 * innerRadius(clipped(outlineOf(shape), [0, 0, layout.width, layout.height])) - 1;
}

function readEditor(data, layout, note) {
  if (data === undefined || data === null) return;
  if (!isObject(data)) {
    note("What the editor had saved was not understood.");
    return;
  }
  const colours = own(data, "colours");
  for (const region of layout.regions) {
    const colour = isObject(colours) ? own(colours, region.id) : undefined;
    if (typeof colour === "string" && /^#[0-9a-f]{6}$/i.test(colour)) region.colour = colour.toLowerCase();
    for (const key of ["muted", "solo"]) {
      const ids = own(data, key);
      region[key] = Array.isArray(ids) && ids.includes(region.id);
    }
  }
  const background = own(data, "background");
  if (!isObject(background)) return;
  const [from, file] = [own(background, "from"), own(background, "file")];
  if (["none", "image", "result"].includes(from)) layout.background = { from };
  if (from === "file" && typeof file === "string" && file.length < 500) layout.background = { from, file };
}

// --- writing -------------------------------------------------------------------------------------------------------

/** @param {Layout} layout @returns {Record<string, unknown>} without defaults, as RegionSet.to_dict writes it */
export function toData(layout) {
  const data = { pakati: "regions", version: VERSION, width: layout.width, height: layout.height };
  for (const key of TEXTS) if (layout[key]) data[key] = layout[key];
  if (layout.overlap !== "over") data.overlap = layout.overlap;
  data.regions = layout.regions.map(regionData);
  const editor = editorData(layout);
  if (Object.keys(editor).length) data.editor = editor;
  return data;
}

/** @param {Layout} layout @returns {string} */
export const write = (layout) => JSON.stringify(toData(layout));

function regionData(region) {
  const data = { id: region.id, ...shapeData(region.shape) };
  if (region.prompt) data.prompt = region.prompt;
  if (region.name !== region.id) data.name = region.name;
  if (region.negative) data.negative = region.negative;
  for (const key of ["weight", "base", "feather", "grow"]) {
    if (region[key] !== NUMBERS[key].initial) data[key] = region[key];
  }
  if (region.invert) data.invert = true;
  for (const key of ["start", "end"]) if (region[key] !== NUMBERS[key].initial) data[key] = region[key];
  for (const key of ["guidance", "seed"]) if (region[key] !== null) data[key] = region[key];
  for (const key of ["loras", "controls"]) {
    const rows = region[key].filter(([name]) => name); // a row that was just added has no name yet
    if (rows.length) data[key] = rows;
  }
  if (region.model !== null) data.model = region.model;
  if (region.locked) data.locked = true;
  return data;
}

function shapeData(shape) {
  if (shape.kind === "polygon") return { polygon: shape.points };
  if (shape.kind === "mask") return { mask: shape.png, units: "fraction" };
  if (shape.kind === "whole") return { whole: true };
  return { [shape.kind]: shape.box };
}

function editorData({ regions, background }) {
  const editor = {};
  const coloured = regions.filter((region, i) => region.colour !== PALETTE[i]);
  if (coloured.length) editor.colours = Object.fromEntries(coloured.map((region) => [region.id, region.colour]));
  for (const key of ["muted", "solo"]) {
    const ids = regions.filter((region) => region[key]).map((region) => region.id);
    if (ids.length) editor[key] = ids;
  }
  if (background.from !== "image") editor.background = background;
  return editor;
}

// --- shapes --------------------------------------------------------------------------------------------------------

/** Corners of the outline, for hit tests and checks; an ellipse as 48 of them. Masks have none. */
export function outlineOf(shape) {
  if (shape.kind === "polygon") return shape.points;
  const [x, y, width, height] = shape.box;
  if (shape.kind === "box") return fitted([[0, 0], [1, 0], [1, 1], [0, 1]], [0, 0, 1, 1], shape.box); // prettier-ignore
  return Array.from({ length: 48 }, (_, i) => {
    const angle = (i / 24) * Math.PI;
    return [x + (width / 2) * (1 + Math.cos(angle)), y + (height / 2) * (1 + Math.sin(angle))];
  });
}

export function shapeBounds(shape, { width, height }) {
  if (shape.kind === "polygon") return boundsOf(shape.points);
  return shape.box ?? [0, 0, width, height];
}

/** The shape in another box. Masks and the whole canvas stay as they are. */
export function placed(shape, box) {
  if (shape.kind === "polygon") {
    const points = fitted(shape.points, boundsOf(shape.points), box).map((point) => point.map(far));
    return { ...shape, points };
  }
  return shape.box ? { ...shape, box: box.map(far) } : shape;
}

export function isOnCanvas(shape, { width, height }) {
  if (shape.kind === "mask" || shape.kind === "whole") return true;
  return areaOf(clipped(outlineOf(shape), [0, 0, width, height])) > 0.02;
}

/** The box moved as little as possible so that it lies inside the canvas, or over all of it when it is larger. */
export function insideBox([x, y, width, height], canvas) {
  const inside = (at, length, whole) => (length <= whole ? clamp(at, 0, whole - length) : clamp(at, whole - length, 0));
  return [inside(x, width, canvas.width), inside(y, height, canvas.height), width, height];
}

/** What would keep a region from being used, as a sentence, or null. */
export function problemOf(region, layout) {
  const { shape } = region;
  if (shape.kind === "polygon" && crossing(shape.points)) return "The outline crosses itself; move a corner.";
  if (!isOnCanvas(shape, layout)) return "Nothing of it lies on the canvas; move it there.";
  if (region.start >= region.end) return "It starts after its end; change the time range.";
  if (region.invert && (shape.kind === "whole" || coversCanvas(shape, layout))) return "Inverted, it is empty.";
  if (!region.prompt.trim()) return "It has no prompt; say what it shows.";
  return null;
}

/** The same layout on a canvas of another size. */
export function atSize(layout, width, height) {
  const [across, down] = [width / layout.width, height / layout.height];
  const mean = Math.sqrt(across * down);
  const regions = layout.regions.map((region) => ({
    ...region,
    shape: scaledShape(region.shape, across, down),
    feather: clamp(round(region.feather * mean), 0, MAX_SIDE),
    grow: clamp(round(region.grow * mean), -MAX_SIDE, MAX_SIDE),
  }));
  return { ...layout, width, height, regions };
}

function scaledShape(shape, across, down) {
  if (shape.kind === "polygon") {
    return { ...shape, points: shape.points.map(([x, y]) => [far(x * across), far(y * down)]) };
  }
  if (!shape.box) return shape;
  const [x, y, width, height] = shape.box;
  return { ...shape, box: [far(x * across), far(y * down), far(width * across), far(height * down)] };
}

// --- the list of regions -------------------------------------------------------------------------------------------

export const withRegions = (layout, regions) => ({ ...layout, regions });

/** @param {Layout} layout @param {Set<string>} ids @param {(region: Region) => Partial<Region>} change */
export function changed(layout, ids, change) {
  return withRegions(
    layout,
    layout.regions.map((region) => (ids.has(region.id) ? { ...region, ...change(region) } : region)),
  );
}

export function without(layout, ids) {
  return withRegions(layout, layout.regions.filter((region) => !ids.has(region.id))); // prettier-ignore
}

/** Put one region at another place in painting order. */
export function reordered(layout, id, to) {
  const region = layout.regions.find((one) => one.id === id);
  if (!region) return layout;
  const rest = layout.regions.filter((one) => one !== region);
  const at = clamp(to, 0, rest.length);
  return withRegions(layout, [...rest.slice(0, at), region, ...rest.slice(at)]);
}

/** Copies on top, a little aside; the new layout and the copies' ids. */
export function withCopies(layout, regions, aside = 16) {
  const ids = new Set();
  for (const region of regions) {
    if (layout.regions.length >= MAX_REGIONS) break;
    const [x, y, width, height] = shapeBounds(region.shape, layout);
    const box = insideBox([x + aside, y + aside, width, height], layout);
    const { id, colour } = newRegion(layout, region.shape);
    const named = region.name === region.id ? id : `${region.name} copy`;
    const copy = { ...region, id, name: named, colour, locked: false, shape: placed(region.shape, box) };
    layout = withRegions(layout, [...layout.regions, copy]);
    ids.add(id);
  }
  return { layout, ids };
}

export const isFull = (layout) => layout.regions.length >= MAX_REGIONS;

/** Regions that take part: those with solo where there are any, else those that are not muted. */
export function takingPart(layout) {
  const solo = layout.regions.filter((region) => region.solo);
  return solo.length ? solo : layout.regions.filter((region) => !region.muted);
}

// --- small things --------------------------------------------------------------------------------------------------

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isNumber = (value) => typeof value === "number" && Number.isFinite(value) && Math.abs(value) <= 1e300;
const own = (data, key) => (Object.hasOwn(data, key) ? data[key] : undefined);
const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function quoted(value) {
  const text = typeof value === "string" ? `"${value}"` : (JSON.stringify(value) ?? "missing");
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
