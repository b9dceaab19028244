// Paints one session on a canvas element. Regions that lie still are kept as pictures, so that a drag repaints one.

import { handlesOf } from "./geometry.js";
import { problemOf, shapeBounds, takingPart } from "./layout.js";
import { outlinePath, strokePath } from "./masks.js";

const FILL = 0.32; // how much of a region's colour lies over the picture
const HANDLE = 7;

export class Drawing {
  /** @param {import("./masks.js").Painter} painter */
  constructor(painter) {
    this.painter = painter;
    this.layers = { below: null, above: null, key: [] };
    this.paths = new WeakMap();
    this.problems = new WeakMap();
  }

  /** @param {CanvasRenderingContext2D} pen  @param {object} scene session, view, size, ratio, picture, ink, hovered */
  paint(pen, scene) {
    const { session, view, size, ratio } = scene;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, size.width, size.height);
    const moving = session.live ? new Set(session.free(session.layout).map((region) => region.id)) : new Set();
    if (moving.size) this.paintInLayers(pen, scene, moving);
    else {
      this.layers.key = [];
      this.paintGround(pen, scene);
      this.paintRegions(pen, scene, session.shown.regions);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.paintMarks(pen, scene);
    pen.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
    this.paintDraft(pen, scene);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.paintGuides(pen, scene);
  }

  /** What lies still below and above that which is dragged is painted once for the whole drag. */
  paintInLayers(pen, scene, moving) {
    const { session, view, size, ratio, picture, ink } = scene;
    const { regions } = session.layout;
    const lowest = regions.findIndex((region) => moving.has(region.id));
    const key = [session.layout, [...moving].join(), view.scale, view.x, view.y, size.width, size.height, ratio, picture, ink];
    if (key.some((part, i) => part !== this.layers.key[i])) {
      const layer = (paint) => {
        const canvas = document.createElement("canvas");
        canvas.width = Math.max(1, Math.round(size.width * ratio));
        canvas.height = Math.max(1, Math.round(size.height * ratio));
        const layerPen = canvas.getContext("2d");
        layerPen.setTransform(ratio, 0, 0, ratio, 0, 0);
        paint(layerPen);
        return canvas;
      };
      const still = (list) => list.filter((region) => !moving.has(region.id));
      const below = layer((one) => {
        this.paintGround(one, scene);
        this.paintRegions(one, scene, still(regions.slice(0, lowest)));
      });
      const above = layer((one) => this.paintRegions(one, scene, still(regions.slice(lowest))));
      this.layers = { below, above, key };
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.layers.below, 0, 0);
    this.paintRegions(pen, scene, session.shown.regions.filter((region) => moving.has(region.id))); // prettier-ignore
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.drawImage(this.layers.above, 0, 0);
  }

  paintGround(pen, { session, view, picture, ink }) {
    const { width, height } = session.shown;
    const [x, y] = view.toScreen([0, 0]);
    const [wide, high] = [width * view.scale, height * view.scale];
    pen.fillStyle = ink.paper;
    pen.fillRect(x, y, wide, high);
    if (picture) pen.drawImage(picture, x, y, wide, high);
    else {
      const square = (Math.min(width, height) / 8) * view.scale;
      pen.strokeStyle = ink.rule;
      pen.lineWidth = 1;
      pen.beginPath();
      for (let at = square; at < wide - 1; at += square) line(pen, x + at, y, x + at, y + high);
      for (let at = square; at < high - 1; at += square) line(pen, x, y + at, x + wide, y + at);
      pen.stroke();
    }
    pen.strokeStyle = ink.border;
    pen.strokeRect(x - 0.5, y - 0.5, wide + 1, high + 1);
  }

  paintRegions(pen, { session, view, ratio, hovered }, regions) {
    pen.setTransform(ratio * view.scale, 0, 0, ratio * view.scale, ratio * view.x, ratio * view.y);
    const { shown } = session;
    const heard = new Set(takingPart(shown).map((region) => region.id));
    for (const region of regions) {
      const faint = heard.has(region.id) ? 1 : 0.25;
      const strong = session.selection.has(region.id) || region.id === hovered;
      pen.globalAlpha = FILL * faint * (strong ? 1.25 : 1);
      if (region.shape.kind === "mask") {
        const tinted = this.painter.tinted(region.shape.png, region.colour);
        const [ox, oy] = region.shape.share ?? [0, 0];
        pen.globalAlpha = Math.min(1, pen.globalAlpha * 1.4);
        if (tinted) pen.drawImage(tinted, ox * shown.width, oy * shown.height, shown.width, shown.height);
        continue;
      }
      const path = this.pathOf(region.shape, shown);
      pen.fillStyle = region.colour;
      pen.fill(path);
      if (region.feather > 0 && strong) {
        pen.globalAlpha = 0.18 * faint;
        pen.strokeStyle = region.colour;
        pen.lineWidth = 2 * region.feather;
        pen.stroke(path);
      }
      pen.globalAlpha = faint;
      pen.strokeStyle = region.colour;
      pen.lineWidth = (strong ? 2.5 : 1.5) / view.scale;
      pen.stroke(path);
    }
    pen.globalAlpha = 1;
  }

  pathOf(shape, layout) {
    if (shape.kind === "whole") return outlinePath(shape, layout);
    if (!this.paths.has(shape)) this.paths.set(shape, outlinePath(shape, layout));
    return this.paths.get(shape);
  }

  /** Labels, the frame and handles of what is selected, corners. */
  paintMarks(pen, { session, view, ink, showLabels }) {
    const { shown } = session;
    if (showLabels) {
      pen.font = `12px ${ink.font}`;
      pen.textBaseline = "middle";
      for (const region of shown.regions) this.paintLabel(pen, region, session, view, ink);
    }
    const selected = session.selected.filter((region) => region.shape.kind !== "whole");
    if (!selected.length) return;
    const current = session.current;
    if (session.tool === "points" && current?.shape.kind === "polygon") {
      current.shape.points.forEach((point, i) => dot(pen, view.toScreen(point), i === session.vertex, current.colour, ink));
      return;
    }
    const [x, y, width, height] = session.frameOf(selected);
    const [left, top] = view.toScreen([x, y]);
    const frame = [left, top, width * view.scale, height * view.scale];
    pen.setLineDash([4, 3]);
    pen.lineWidth = 1;
    pen.strokeStyle = ink.handle;
    pen.strokeRect(...frame);
    pen.setLineDash([]);
    const scalable = session.free(shown).length && selected.every((region) => region.shape.kind !== "mask");
    if (!scalable || session.tool !== "select") return;
    for (const { at } of handlesOf(frame)) {
      pen.fillStyle = ink.paper;
      pen.strokeStyle = ink.handle;
      pen.fillRect(at[0] - HANDLE / 2, at[1] - HANDLE / 2, HANDLE, HANDLE);
      pen.strokeRect(at[0] - HANDLE / 2, at[1] - HANDLE / 2, HANDLE, HANDLE);
    }
  }

  paintLabel(pen, region, session, view, ink) {
    const { shown } = session;
    const bounds = region.shape.kind === "mask" ? this.painter.bounds(region.shape, shown) : shapeBounds(region.shape, shown);
    const width = Math.min(bounds[2], shown.width - bounds[0]) * view.scale;
    if (width < 30) return;
    let [x, y] = view.toScreen([Math.max(bounds[0], 0), Math.max(bounds[1], 0)]);
    const text = region.prompt.trim() || region.name;
    if (!this.problems.has(region)) this.problems.set(region, problemOf(region, shown));
    const fitted = fit(pen, this.problems.get(region) ? `⚠ ${text}` : text, Math.min(width - 14, 180));
    if (!fitted) return;
    const wide = pen.measureText(fitted).width;
    const middle = view.toCanvas([x + wide / 2 + 9, y + 12]);
    if (region.shape.kind !== "mask" && !session.contains(region.shape, middle)) {
      [x, y] = view.toScreen(insideOf(region.shape, bounds));
      [x, y] = [x - wide / 2 - 9, y - 12];
    }
    pen.globalAlpha = 0.86;
    pen.fillStyle = ink.plate;
    pen.fillRect(x + 3, y + 3, wide + 12, 18);
    pen.fillStyle = region.colour;
    pen.fillRect(x + 3, y + 3, 4, 18);
    pen.globalAlpha = 1;
    pen.fillStyle = "#fff";
    pen.fillText(fitted, x + 11, y + 12.5);
  }

  paintDraft(pen, { session, view, pointer, ink }) {
    const { draft, tool } = session;
    pen.lineWidth = 2 / view.scale;
    pen.strokeStyle = ink.handle;
    pen.fillStyle = ink.handle;
    if (draft?.kind === "box" || draft?.kind === "ellipse") {
      const path = draft.box ? outlinePath(draft, session.layout) : null;
      if (path) filledAndLined(pen, path);
    } else if (draft?.kind === "polygon" && draft.points) {
      const path = strokePath([...draft.points, draft.cursor ?? draft.points.at(-1)]);
      pen.stroke(path);
      for (const point of draft.points) {
        pen.beginPath();
        pen.arc(...point, 4 / view.scale, 0, 2 * Math.PI);
        pen.fill();
      }
    } else if (draft?.kind === "lasso") {
      filledAndLined(pen, strokePath(draft.points));
    } else if (draft) {
      pen.globalAlpha = 0.5;
      pen.lineWidth = session.brush;
      pen.lineCap = pen.lineJoin = "round";
      pen.strokeStyle = draft.kind === "eraser" ? ink.erase : ink.handle;
      pen.stroke(strokePath(draft.points));
      pen.globalAlpha = 1;
    }
    if (pointer && (tool === "brush" || tool === "eraser")) {
      pen.lineWidth = 1.5 / view.scale;
      pen.strokeStyle = ink.handle;
      pen.beginPath();
      pen.arc(...pointer, session.brush / 2, 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  paintGuides(pen, { session, view, size, ink }) {
    pen.strokeStyle = ink.guide;
    pen.lineWidth = 1;
    pen.beginPath();
    for (const [axis, at] of session.guides) {
      if (axis === "x") line(pen, view.x + at * view.scale, 0, view.x + at * view.scale, size.height);
      else line(pen, 0, view.y + at * view.scale, size.width, view.y + at * view.scale);
    }
    pen.stroke();
  }
}


function line(pen, x1, y1, x2, y2) {
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
}

function filledAndLined(pen, path) {
  pen.globalAlpha = 0.2;
  pen.fill(path);
  pen.globalAlpha = 1;
  pen.stroke(path);
}

function dot(pen, [x, y], isChosen, colour, ink) {
  pen.beginPath();
  pen.arc(x, y, isChosen ? 5.5 : 4, 0, 2 * Math.PI);
  pen.fillStyle = isChosen ? colour : ink.paper;
  pen.strokeStyle = ink.handle;
  pen.lineWidth = 1.5;
  pen.fill();
  pen.stroke();
}

/** A point well inside a shape; where its outline is intricate, the mean of its corners. */
function insideOf(shape, [x, y, width, height]) {
  if (shape.kind !== "polygon") return [x + width / 2, y + height / 2];
  const levels = [0.5, 0.35, 0.65, 0.2, 0.8].map((share) => y + share * height);
  for (const level of levels) {
    const crossed = [];
    shape.points.forEach(([bx, by], i) => {
      const [ax, ay] = shape.points.at(i - 1);
      if (ay > level !== by > level) crossed.push(ax + ((level - ay) / (by - ay)) * (bx - ax));
    });
    crossed.sort((one, other) => one - other);
    let best = [0, 0];
    for (let i = 0; i + 1 < crossed.length; i += 2) {
      if (crossed[i + 1] - crossed[i] > best[1] - best[0]) best = [crossed[i], crossed[i + 1]];
    }
    if (best[1] - best[0] > width / 4) return [(best[0] + best[1]) / 2, level];
  }
  const count = shape.points.length;
  return [0, 1].map((axis) => shape.points.reduce((sum, point) => sum + point[axis], 0) / count);
}

/** The text cut to a width; "" where not even one letter fits. */
function fit(pen, text, width) {
  const line = text.replace(/\s+/g, " ").slice(0, 120);
  if (pen.measureText(line).width <= width) return line;
  let length = line.length;
  while (length > 1 && pen.measureText(`${line.slice(0, length)}…`).width > width) length = Math.floor(length * 0.8);
  return length > 1 ? `${line.slice(0, length)}…` : "";
}
