// One region editor at work: the layout and its history, the selection, the tool and what the pointer is doing.
// Pure: no page, no app. What needs pixels is handed in as `painter`, see masks.js.

import * as geometry from "./geometry.js";
import { History } from "./history.js";
import * as layouts from "./layout.js";

export const TOOLS = ["select", "points", "box", "ellipse", "polygon", "lasso", "brush", "eraser"];
const LEAST_SIDE = 2; // canvas pixels; a smaller box is a click
const clipboard = { regions: [] }; // shared by all editors of the page

/**
 * @typedef {{shift?: boolean, alt?: boolean, ctrl?: boolean, reach?: number, pull?: number}} Held
 *   keys, how near counts as on it, and from how far edges snap
 */

export class Session {
  /** @param {unknown} value @param {object} painter @param {() => void} onChange after every visible change */
  constructor(value, painter, onChange = () => {}) {
    this.painter = painter;
    this.onChange = onChange;
    this.tool = "box";
    this.snap = true;
    this.brush = 48; // canvas pixels across
    this.open(value);
  }

  /** Take a value from outside, such as a loaded workflow's. */
  open(value) {
    const { layout, notes, usable } = layouts.read(value);
    this.history = new History(layout);
    this.kept = usable && notes.length === 0 && typeof value === "string" && value ? { layout, value } : null;
    if (!usable) this.kept = { layout, value };
    this.texts = new WeakMap();
    this.notes = notes;
    this.message = notes[0] ?? "";
    this.selection = new Set();
    this.vertex = -1;
    this.gesture = null;
    this.live = null;
    this.draft = null;
    this.guides = [];
    this.tool = layout.regions.length ? "select" : "box";
    this.onChange();
  }

  /** @returns {layouts.Layout} */
  get layout() {
    return this.history.value;
  }

  /** What is to be shown: the layout, or while something is dragged the layout as it would be. */
  get shown() {
    return this.live ?? this.layout;
  }

  /** The widget's value. What was loaded is handed back as it was until it is edited. */
  get value() {
    const { layout } = this;
    if (this.kept?.layout === layout) return this.kept.value;
    if (!this.texts.has(layout)) this.texts.set(layout, layouts.write(layout));
    return this.texts.get(layout);
  }

  get selected() {
    return this.shown.regions.filter((region) => this.selection.has(region.id));
  }

  /** The one region that the fields show, or null. */
  get current() {
    return this.selected.length === 1 ? this.selected[0] : null;
  }

  // --- edits -------------------------------------------------------------------------------------------------------

  commit(layout, mark = null, message = "") {
    this.history.push(layout, mark);
    this.message = message;
    this.onChange();
  }

  say(message) {
    this.message = message;
    this.onChange();
  }

  undo() {
    this.cancel();
    if (this.history.undo()) this.afterTravel("Undone.");
    else this.say("There is nothing to undo.");
  }

  redo() {
    this.cancel();
    if (this.history.redo()) this.afterTravel("Done again.");
    else this.say("There is nothing to redo.");
  }

  afterTravel(message) {
    const ids = new Set(this.layout.regions.map((region) => region.id));
    this.selection = new Set([...this.selection].filter((id) => ids.has(id)));
    this.vertex = -1;
    this.say(message);
  }

  setTool(tool) {
    if (!TOOLS.includes(tool)) return;
    this.cancel();
    this.tool = tool;
    this.onChange();
  }

  select(ids, message = "") {
    this.selection = new Set(ids);
    this.vertex = -1;
    this.history.rest();
    this.say(message);
  }

  toggle(id) {
    const ids = new Set(this.selection);
    if (!ids.delete(id)) ids.add(id);
    this.select(ids);
  }

  /** The next region in painting order, or the one before; for the keyboard. */
  step(by) {
    const { regions } = this.layout;
    if (!regions.length) return this.say("There are no regions yet.");
    const at = regions.findIndex((region) => this.selection.has(region.id));
    const next = regions[at < 0 ? (by > 0 ? 0 : regions.length - 1) : (at + by + regions.length) % regions.length];
    this.select([next.id], `${next.name} is selected.`);
  }

  /** @param {Partial<layouts.Region>} fields for one region, or for those selected */
  change(fields, ids = this.selection, mark = Object.keys(fields).join()) {
    const which = new Set(ids);
    this.commit(layouts.changed(this.layout, which, () => fields), `${mark}:${[...which].join()}`); // prettier-ignore
  }

  reorder(id, to) {
    this.commit(layouts.reordered(this.layout, id, to), null, "The order has changed.");
  }

  add(shape, message = "") {
    if (layouts.isFull(this.layout)) {
      this.say(`A layout has at most ${this.layout.regions.length} regions.`);
      return null;
    }
    const region = layouts.newRegion(this.layout, shape);
    this.selection = new Set([region.id]);
    this.vertex = -1;
    const said = message || `${region.name} was added. Say what it shows.`;
    this.commit(layouts.withRegions(this.layout, [...this.layout.regions, region]), null, said);
    return region;
  }

  /** What the tool draws, in the middle of the canvas; for those who cannot drag. */
  addDefault() {
    const { width, height } = this.layout;
    const box = [width / 4, height / 4, width / 2, height / 2].map(geometry.round);
    if (this.tool === "ellipse" || this.tool === "box") return this.add({ kind: this.tool, box });
    return this.add({ kind: "polygon", points: layouts.outlineOf({ kind: "box", box }) });
  }

  remove() {
    const { current } = this;
    if (this.tool === "points" && this.vertex >= 0 && current?.shape.kind === "polygon") return this.removeVertex();
    const ids = new Set(this.selected.filter((region) => !region.locked).map((region) => region.id));
    if (!ids.size) {
      return this.say(this.selection.size ? "Locked regions stay; unlock them first." : "Select a region first.");
    }
    this.selection = new Set([...this.selection].filter((id) => !ids.has(id)));
    const many = ids.size === 1 ? "The region was deleted." : `${ids.size} regions were deleted.`;
    this.commit(layouts.without(this.layout, ids), null, `${many} Undo brings back what you delete.`);
  }

  copy() {
    if (!this.selected.length) return this.say("Select a region first.");
    clipboard.regions = this.selected;
    clipboard.from = [this.layout.width, this.layout.height];
    this.say(this.selected.length === 1 ? "The region was copied." : `${this.selected.length} regions were copied.`);
  }

  paste() {
    if (!clipboard.regions.length) return this.say("There is nothing to paste.");
    this.insertCopies(clipboard.regions);
  }

  duplicate() {
    if (!this.selected.length) return this.say("Select a region first.");
    this.insertCopies(this.selected);
  }

  insertCopies(regions) {
    const { layout, ids } = layouts.withCopies(this.layout, regions);
    if (!ids.size) return this.say("A layout has no room for more regions.");
    this.selection = ids;
    this.commit(layout, null, ids.size === 1 ? "A copy lies on top." : `${ids.size} copies lie on top.`);
  }

  resizeCanvas(width, height) {
    const fits = (side) => Number.isInteger(side) && side >= 16 && side <= layouts.MAX_SIDE;
    if (!fits(width) || !fits(height)) return this.say(`A side has between 16 and ${layouts.MAX_SIDE} pixels.`);
    if (width === this.layout.width && height === this.layout.height) return;
    this.commit(layouts.atSize(this.layout, width, height), null, `The canvas is ${width} x ${height}.`);
  }

  setBackground(background) {
    this.commit({ ...this.layout, background });
  }

  /** Put another layout in the place of this one, as one step that can be undone. */
  replace(layout, message) {
    this.selection = new Set();
    this.commit(layout, null, message);
  }

  /** Move what is selected, or the chosen corner. */
  nudge(across, down) {
    const { current } = this;
    if (this.tool === "points" && this.vertex >= 0 && current?.shape.kind === "polygon" && !current.locked) {
      const [x, y] = current.shape.points[this.vertex];
      return this.moveVertex([x + across, y + down], "nudge-corner");
    }
    const moved = this.moved(this.layout, across, down, true);
    if (moved === this.layout) return this.say(this.selection.size ? "Locked regions stay." : "Select a region first.");
    this.commit(moved, `nudge:${[...this.selection].join()}`);
  }

  /** Make what is selected wider or higher by so many pixels. */
  grow(across, down) {
    const free = this.free(this.layout).filter((region) => region.shape.kind !== "mask");
    if (!free.length) return;
    const least = (value) => Math.max(value, LEAST_SIDE);
    const change = ({ shape }) => {
      const [x, y, width, height] = layouts.shapeBounds(shape, this.layout);
      return { shape: layouts.placed(shape, [x, y, least(width + across), least(height + down)]) };
    };
    const layout = layouts.changed(this.layout, new Set(free.map((region) => region.id)), change);
    this.commit(layout, `grow:${[...this.selection].join()}`);
  }

  free(layout) {
    return layout.regions.filter(
      (region) => this.selection.has(region.id) && !region.locked && region.shape.kind !== "whole",
    );
  }

  /** The layout with what is selected elsewhere; never quite off the canvas. */
  moved(layout, across, down, final) {
    const free = this.free(layout);
    if (!free.length) return layout;
    const frame = this.frameOf(free);
    const keep = (at, length, whole) => geometry.clamp(at, Math.min(8, whole / 2) - length, whole - Math.min(8, whole / 2));
    const dx = keep(frame[0] + across, frame[2], layout.width) - frame[0];
    const dy = keep(frame[1] + down, frame[3], layout.height) - frame[1];
    const change = ({ shape }) => {
      if (shape.kind === "mask") {
        const share = [dx / layout.width, dy / layout.height];
        return { shape: final ? { kind: "mask", png: this.painter.moved(shape.png, ...share) } : { ...shape, share } };
      }
      const [x, y, width, height] = layouts.shapeBounds(shape, layout);
      const there = layouts.placed(shape, [x + dx, y + dy, width, height]);
      return { shape: layouts.isOnCanvas(there, layout) ? there : shape };
    };
    return layouts.changed(layout, new Set(free.map((region) => region.id)), change);
  }

  /** The box around some regions. */
  frameOf(regions) {
    const boxes = regions.map(({ shape }) =>
      shape.kind === "mask" ? this.painter.bounds(shape, this.layout) : layouts.shapeBounds(shape, this.layout),
    );
    return geometry.boundsOf(boxes.flatMap(([x, y, width, height]) => [[x, y], [x + width, y + height]])); // prettier-ignore
  }

  // --- corners -----------------------------------------------------------------------------------------------------

  moveVertex(to, mark = null) {
    const { current } = this;
    const points = current.shape.points.map((point, i) => (i === this.vertex ? to.map(geometry.round) : point));
    if (geometry.crossing(points)) return this.say("There the outline would cross itself.");
    if (!layouts.isOutline(points) || !layouts.isOnCanvas({ kind: "polygon", points }, this.layout)) {
      return this.say("There nothing would be left of the region.");
    }
    this.commit(this.withPoints(this.layout, current.id, points), mark && `${mark}:${current.id}:${this.vertex}`);
  }

  withPoints(layout, id, points) {
    return layouts.changed(layout, new Set([id]), () => ({ shape: { kind: "polygon", points } }));
  }

  removeVertex() {
    const { current } = this;
    const points = current.shape.points.filter((_, i) => i !== this.vertex);
    if (current.locked) return this.say("The region is locked.");
    if (!layouts.isOutline(points) || geometry.crossing(points)) return this.say("This corner cannot go.");
    this.vertex = Math.min(this.vertex, points.length - 1);
    this.commit(this.withPoints(this.layout, current.id, points), null, "The corner was deleted.");
  }

  /** The next corner, or the one before; for the keyboard. */
  stepVertex(by) {
    const points = this.current?.shape.points;
    if (!points) return this.say("Select a polygon first.");
    this.vertex = (this.vertex + by + points.length) % points.length;
    this.say(`Corner ${this.vertex + 1} of ${points.length}.`);
  }

  /** Boxes and ellipses get corners when one of them is to be edited. */
  asPolygon() {
    const { current } = this;
    if (!current || current.locked || !current.shape.box) return;
    const points = layouts.outlineOf(current.shape).filter((_, i) => current.shape.kind === "box" || i % 2 === 0);
    this.vertex = -1;
    const rounded = points.map((point) => point.map(geometry.round));
    this.commit(this.withPoints(this.layout, current.id, rounded), null, "It is a polygon now.");
  }

  // --- pointer -----------------------------------------------------------------------------------------------------

  /** The topmost region at a point, or null. @param {boolean} onlyHeard skip what is muted */
  at(point, onlyHeard = false) {
    const heard = onlyHeard ? layouts.takingPart(this.shown) : this.shown.regions;
    return [...heard].reverse().find((region) => this.contains(region.shape, point)) ?? null;
  }

  contains(shape, point) {
    if (shape.kind === "polygon") return geometry.polygonContains(shape.points, point);
    if (shape.kind === "box") return geometry.boxContains(shape.box, point);
    if (shape.kind === "ellipse") return geometry.ellipseContains(shape.box, point);
    const { width, height } = this.layout;
    if (!geometry.boxContains([0, 0, width, height], point)) return false;
    return shape.kind === "whole" || this.painter.contains(shape.png, point[0] / width, point[1] / height);
  }

  /** @param {[number, number]} point canvas pixels @param {Held} held */
  press(point, held = {}) {
    const begin = {
      select: () => this.pressSelect(point, held),
      points: () => this.pressPoints(point, held),
      box: () => this.pressBox(point, held),
      ellipse: () => this.pressBox(point, held),
      polygon: () => this.pressPolygon(point, held),
      lasso: () => this.pressStroke(point),
      brush: () => this.pressStroke(point),
      eraser: () => this.pressStroke(point),
    }[this.tool];
    begin();
    this.onChange();
  }

  /** @param {[number, number]} point @param {Held} held */
  drag(point, held = {}) {
    this.guides = [];
    this.gesture?.drag?.(point, held);
    this.onChange();
  }

  /** @param {[number, number]} point @param {Held} held */
  release(point, held = {}) {
    const { gesture } = this;
    this.guides = [];
    if (!gesture?.release) return;
    this.gesture = null;
    gesture.release(point, held);
    if (!this.gesture) {
      this.live = null;
      this.draft = null;
    }
    this.onChange();
  }

  /** Let go of everything that is under way. @returns {boolean} whether there was something */
  cancel() {
    const had = this.gesture !== null;
    this.gesture = null;
    this.live = null;
    this.draft = null;
    this.guides = [];
    if (had) this.onChange();
    return had;
  }

  pressSelect(point, held) {
    const reach = held.reach ?? 6;
    const free = this.free(this.layout);
    const scalable = free.length > 0 && free.every((region) => region.shape.kind !== "mask");
    const frame = free.length ? this.frameOf(free) : null;
    const handle = scalable && geometry.handlesOf(frame).find(({ at }) => geometry.distance(at, point) <= reach);
    if (handle) return this.beginScale(frame, handle);
    const hit = this.at(point);
    if (held.shift) return hit ? this.toggle(hit.id) : undefined;
    if (!hit) {
      this.select([]);
      return undefined;
    }
    if (!this.selection.has(hit.id)) this.select([hit.id], `${hit.name} is selected.`);
    if (this.free(this.layout).length) this.beginMove(point);
  }

  beginMove(from) {
    const frame = this.frameOf(this.free(this.layout));
    let [across, down] = [0, 0];
    this.gesture = {
      drag: (point, held) => {
        [across, down] = [point[0] - from[0], point[1] - from[1]];
        if (held.shift) Math.abs(across) > Math.abs(down) ? (down = 0) : (across = 0);
        if (this.snap && !held.alt) {
          const there = [frame[0] + across, frame[1] + down, frame[2], frame[3]];
          const [sx, sy] = geometry.snapShift(there, this.lines(), held.pull ?? held.reach ?? 6);
          across += sx;
          down += sy;
          this.showGuides([there[0] + sx, there[1] + sy, frame[2], frame[3]]);
        }
        this.live = this.moved(this.layout, across, down, false);
      },
      release: () => {
        if (across || down) this.commit(this.moved(this.layout, across, down, true));
      },
    };
  }

  beginScale(frame, handle) {
    const free = this.free(this.layout);
    const ids = new Set(free.map((region) => region.id));
    this.gesture = {
      drag: (point, held) => {
        const to = geometry.resized(frame, handle, this.snappedPoint(point, held), held.shift, LEAST_SIDE);
        const change = ({ shape }) => {
          const box = layouts.shapeBounds(shape, this.layout);
          const corners = [[box[0], box[1]], [box[0] + box[2], box[1] + box[3]]]; // prettier-ignore
          const there = layouts.placed(shape, geometry.boxBetween(...geometry.fitted(corners, frame, to)));
          return { shape: layouts.isOnCanvas(there, this.layout) ? there : shape };
        };
        this.live = layouts.changed(this.layout, ids, change);
      },
      release: () => {
        if (this.live) this.commit(this.live);
      },
    };
  }

  pressPoints(point, held) {
    const { current } = this;
    const reach = held.reach ?? 6;
    if (current && !current.locked && current.shape.kind === "polygon") {
      const { points } = current.shape;
      const at = points.findIndex((corner) => geometry.distance(corner, point) <= reach);
      if (at >= 0) return this.beginVertex(current, points, at);
      const [edge, away] = geometry.nearestEdge(points, point);
      if (away <= reach) {
        const more = [...points.slice(0, edge + 1), point.map(geometry.round), ...points.slice(edge + 1)];
        return this.beginVertex(current, more, edge + 1);
      }
    }
    const hit = this.at(point);
    this.select(hit ? [hit.id] : [], hit ? `${hit.name} is selected.` : "");
    if (hit?.shape.box && !hit.locked) this.asPolygon();
    return undefined;
  }

  beginVertex(region, points, at) {
    this.vertex = at;
    let last = points;
    this.gesture = {
      drag: (point, held) => {
        const to = this.snappedPoint(point, held).map(geometry.round);
        last = points.map((corner, i) => (i === at ? to : corner));
        this.live = this.withPoints(this.layout, region.id, last);
      },
      release: () => {
        if (last === region.shape.points) return;
        if (geometry.crossing(last)) return this.say("There the outline would cross itself, so the corner went back.");
        const usable = layouts.isOutline(last) && layouts.isOnCanvas({ kind: "polygon", points: last }, this.layout);
        if (!usable) return this.say("There nothing would be left of the region.");
        this.commit(this.withPoints(this.layout, region.id, last), null, `Corner ${at + 1} of ${last.length}.`);
      },
    };
  }

  pressBox(from, held) {
    const kind = this.tool;
    const start = this.snappedPoint(from, held);
    this.gesture = {
      drag: (point, { shift, ...rest }) => {
        let [x, y] = this.snappedPoint(point, rest);
        if (shift) {
          const side = Math.max(Math.abs(x - start[0]), Math.abs(y - start[1]));
          x = start[0] + Math.sign(x - start[0] || 1) * side;
          y = start[1] + Math.sign(y - start[1] || 1) * side;
        }
        this.draft = { kind, box: geometry.boxBetween(start, [x, y]).map(geometry.round) };
      },
      release: () => {
        const { draft } = this;
        if (!draft || Math.min(draft.box[2], draft.box[3]) < LEAST_SIDE) return this.clickInstead(from);
        if (!layouts.isOnCanvas(draft, this.layout)) return this.say("Draw on the canvas.");
        this.add(draft);
      },
    };
  }

  /** A drawing tool that was only clicked with selects what is there. */
  clickInstead(point) {
    const hit = this.at(point);
    if (hit) this.select([hit.id], `${hit.name} is selected.`);
    else this.say("Drag to draw.");
  }

  pressPolygon(point, held) {
    const points = this.draft?.points ?? [];
    const reach = held.reach ?? 6;
    const to = this.snappedPoint(point, held).map(geometry.round);
    if (points.length > 2 && geometry.distance(point, points[0]) <= reach) return this.closePolygon();
    const again = points.length && geometry.distance(points.at(-1), to) < 1;
    this.draft = { kind: "polygon", points: again ? points : [...points, to], cursor: to };
    this.message = points.length > 1 ? "Click the first corner, or press Enter, to close it." : "Click the next corner.";
    // No release: the outline grows from click to click.
    this.gesture = {
      drag: (next, keys) => (this.draft = { ...this.draft, cursor: this.snappedPoint(next, keys) }),
    };
    return undefined;
  }

  closePolygon() {
    const points = this.draft?.points ?? [];
    this.cancel();
    return this.addOutline(points, "Click at least three corners.");
  }

  /** Take back the last corner of the polygon that is being drawn. */
  dropCorner() {
    if (this.draft?.kind !== "polygon") return false;
    const points = this.draft.points.slice(0, -1);
    if (points.length) this.draft = { ...this.draft, points };
    else this.cancel();
    this.onChange();
    return true;
  }

  addOutline(drawn, otherwise) {
    const crossed = geometry.crossing(drawn) !== null;
    const points = (crossed ? geometry.untangled(drawn) : geometry.withoutRepeats(drawn)).map((at) => at.map(geometry.round));
    const shape = { kind: "polygon", points };
    if (!layouts.isOutline(points) || geometry.crossing(points)) return this.say(otherwise);
    if (!layouts.isOnCanvas(shape, this.layout)) return this.say("Draw on the canvas.");
    return this.add(shape, crossed ? "The outline crossed itself and was put in order." : "");
  }

  pressStroke(from) {
    const { tool } = this;
    const points = [from];
    this.draft = { kind: tool, points };
    this.gesture = {
      drag: (point, held) => {
        if (geometry.distance(points.at(-1), point) >= (held.reach ?? 6) / 6) points.push(point);
      },
      release: (point, held) => {
        if (tool !== "lasso") return this.paint(points, tool === "eraser");
        if (points.length < 3) return this.clickInstead(from);
        return this.addOutline(geometry.simplified(points, (held.reach ?? 6) / 5), "Draw around something.");
      },
    };
  }

  /** Paint into the selected mask, or into a new one; erase from whatever is selected, which becomes a mask. */
  paint(points, erase) {
    const { current, layout } = this;
    const onto = current && !current.locked && (erase || current.shape.kind === "mask") ? current : null;
    if (erase && !onto) return this.say("Select the region from which to erase.");
    const png = this.painter.painted(onto?.shape ?? null, { points, size: this.brush, erase }, layout);
    if (png === null) return this.say(erase ? "Nothing of the region would be left." : "Paint on the canvas.");
    const shape = { kind: "mask", png };
    if (!onto) return this.add(shape);
    return this.commit(layouts.changed(layout, new Set([onto.id]), () => ({ shape }))); // prettier-ignore
  }

  // --- snapping ----------------------------------------------------------------------------------------------------

  /** Lines that an edge may keep to: the canvas's, and those of the regions that stay where they are. */
  lines() {
    const { width, height, regions } = this.layout;
    const still = regions.filter((region) => !this.selection.has(region.id) && region.shape.kind !== "mask");
    const boxes = [[0, 0, width, height], ...still.map(({ shape }) => layouts.shapeBounds(shape, this.layout))];
    return {
      xs: boxes.flatMap(([x, , wide]) => [x, x + wide / 2, x + wide]),
      ys: boxes.flatMap(([, y, , high]) => [y, y + high / 2, y + high]),
    };
  }

  snappedPoint([x, y], held) {
    if (!this.snap || held.alt) return [x, y];
    const { xs, ys } = this.lines();
    const pull = held.pull ?? held.reach ?? 6;
    const to = [geometry.snapped(x, xs, pull), geometry.snapped(y, ys, pull)];
    this.guides = [...(to[0] === x ? [] : [["x", to[0]]]), ...(to[1] === y ? [] : [["y", to[1]]])];
    return to;
  }

  showGuides([x, y, width, height]) {
    const { xs, ys } = this.lines();
    const near = (list, value) => list.some((line) => Math.abs(line - value) < 1e-6);
    this.guides = [
      ...[x, x + width / 2, x + width].filter((at) => near(xs, at)).map((at) => ["x", at]),
      ...[y, y + height / 2, y + height].filter((at) => near(ys, at)).map((at) => ["y", at]),
    ];
  }
}
