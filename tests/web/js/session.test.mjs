import assert from "node:assert/strict";
import test from "node:test";

import { read } from "../../../web/js/layout.js";
import { Session } from "../../../web/js/session.js";
import { View } from "../../../web/js/view.js";

// Stands for masks.js: a "mask" says what was done to it.
const painter = {
  painted: (shape, { points, erase }) => (points[0][0] < 0 ? null : `${shape?.png ?? shape?.kind ?? ""}${erase ? "-" : "+"}${points.length}`),
  moved: (png, across, down) => `${png}>${across},${down}`,
  bounds: () => [10, 10, 20, 20],
  contains: (png, across, down) => across < 0.1 && down < 0.1,
};
const start = (regions = []) => {
  const session = new Session(JSON.stringify({ pakati: "regions", version: 1, width: 200, height: 200, regions }), painter);
  session.snap = false;
  return session;
};
const two = () => start([{ id: "a", box: [20, 20, 40, 40], prompt: "a" }, { id: "b", box: [100, 100, 50, 50], prompt: "b" }]); // prettier-ignore
const stroke = (session, points, held = {}) => {
  session.press(points[0], held);
  for (const point of points.slice(1)) session.drag(point, held);
  session.release(points.at(-1), held);
};
const boxes = (session) => session.layout.regions.map((region) => region.shape.box);
const saved = (session) => JSON.parse(session.value);

test("a box is drawn from any corner and can be undone", () => {
  const session = start();
  assert.equal(session.tool, "box");
  stroke(session, [[60, 50], [10, 20]]); // prettier-ignore
  assert.deepEqual(boxes(session), [[10, 20, 50, 30]]);
  assert.equal(session.current.id, "region 1");
  session.undo();
  assert.deepEqual(boxes(session), []);
  session.redo();
  assert.deepEqual(boxes(session), [[10, 20, 50, 30]]);
});

test("shift makes it a square, a click draws nothing", () => {
  const session = start();
  stroke(session, [[10, 10], [50, 30]], { shift: true }); // prettier-ignore
  stroke(session, [[150, 150], [150, 150.5]]); // prettier-ignore
  stroke(session, [[300, 300], [350, 350]]); // prettier-ignore
  assert.deepEqual(boxes(session), [[10, 10, 40, 40]]);
});

test("a polygon closes on its first corner, on Enter, and gives corners back", () => {
  const session = start();
  session.setTool("polygon");
  for (const point of [[10, 10], [90, 10], [90, 90], [11, 11]]) session.press(point); // prettier-ignore
  assert.deepEqual(session.current.shape.points, [[10, 10], [90, 10], [90, 90]]); // prettier-ignore
  for (const point of [[10, 100], [90, 100], [50, 190]]) session.press(point); // prettier-ignore
  assert.ok(session.dropCorner());
  session.press([60, 180]);
  session.closePolygon();
  assert.deepEqual(session.current.shape.points.at(-1), [60, 180]);
  session.press([5, 5]);
  session.closePolygon();
  assert.equal(session.layout.regions.length, 2);
});

test("a lasso that crosses itself becomes an outline that does not", () => {
  const session = start();
  session.setTool("lasso");
  stroke(session, [[10, 10], [90, 90], [90, 10], [10, 90]]); // prettier-ignore
  assert.equal(session.layout.regions.length, 1);
  assert.match(session.message, /crossed itself/);
  assert.deepEqual(read(session.value).notes, []);
});

test("moving, also of several, ends at the border of the canvas", () => {
  const session = two();
  stroke(session, [[30, 30], [35, 40]]); // prettier-ignore
  assert.deepEqual(boxes(session)[0], [25, 30, 40, 40]);
  session.press([110, 110], { shift: true });
  assert.equal(session.selection.size, 2);
  stroke(session, [[110, 110], [120, 110]]); // prettier-ignore
  assert.deepEqual(boxes(session), [[35, 30, 40, 40], [110, 100, 50, 50]]); // prettier-ignore
  session.select(["a"]);
  session.nudge(9999, 0);
  assert.deepEqual(boxes(session)[0], [192, 30, 40, 40]);
});

test("snapping holds on to another region's edge, alt lets go", () => {
  const session = two();
  session.snap = true;
  session.select(["a"]);
  stroke(session, [[30, 30], [111, 30]], { reach: 6 }); // prettier-ignore
  assert.equal(boxes(session)[0][0], 100);
  session.undo();
  stroke(session, [[30, 30], [111, 30]], { reach: 6, alt: true }); // prettier-ignore
  assert.equal(boxes(session)[0][0], 101);
});

test("a handle scales, and a flip stops at the least size", () => {
  const session = two();
  session.select(["a"]);
  stroke(session, [[60, 60], [80, 100]]); // prettier-ignore
  assert.deepEqual(boxes(session)[0], [20, 20, 60, 80]);
  stroke(session, [[80, 100], [0, 0]]); // prettier-ignore
  assert.deepEqual(boxes(session)[0], [20, 20, 2, 2]);
});

test("corners: dragged, added on an edge, deleted, and sent back where the outline would cross itself", () => {
  const session = start([{ id: "p", polygon: [[0, 0], [100, 0], [100, 100], [0, 100]], prompt: "p" }]); // prettier-ignore
  const points = () => session.current.shape.points;
  session.select(["p"]);
  session.setTool("points");
  stroke(session, [[100, 100], [150, 120]]); // prettier-ignore
  assert.deepEqual(points()[2], [150, 120]);
  stroke(session, [[50, 0], [50, 20]]); // prettier-ignore
  assert.deepEqual(points()[1], [50, 20]);
  assert.equal(points().length, 5);
  stroke(session, [[50, 20], [50, 190]]); // prettier-ignore
  assert.deepEqual(points()[1], [50, 20]);
  assert.match(session.message, /cross itself/);
  session.nudge(1, -1);
  assert.deepEqual(points()[1], [51, 19]);
  session.remove();
  assert.equal(points().length, 4);
  session.stepVertex(-1);
  session.remove();
  session.remove();
  assert.equal(points().length, 3);
});

test("a box gets corners when they are to be edited", () => {
  const session = two();
  session.setTool("points");
  session.press([30, 30]);
  assert.deepEqual(session.current.shape.points, [[20, 20], [60, 20], [60, 60], [20, 60]]); // prettier-ignore
});

test("locked regions stay where they are", () => {
  const session = two();
  session.change({ locked: true }, ["a"]);
  session.select(["a"]);
  const before = session.value;
  stroke(session, [[30, 30], [90, 90]]); // prettier-ignore
  session.nudge(5, 5);
  session.grow(5, 5);
  session.remove();
  assert.equal(session.value, before);
  assert.match(session.message, /Locked/);
});

test("copy, paste into another editor, duplicate, delete", () => {
  const session = two();
  session.select(["a", "b"]);
  session.copy();
  const other = start();
  other.paste();
  assert.deepEqual(other.layout.regions.map((region) => region.prompt), ["a", "b"]); // prettier-ignore
  other.duplicate();
  assert.equal(other.layout.regions.length, 4);
  other.remove();
  assert.equal(other.layout.regions.length, 2);
  assert.equal(new Set(other.layout.regions.map((region) => region.id)).size, 2);
  assert.equal(session.layout.regions.length, 2);
});

test("brush and eraser hand their strokes to the painter", () => {
  const session = two();
  session.setTool("brush");
  stroke(session, [[5, 5], [25, 25], [45, 45]]); // prettier-ignore
  assert.equal(session.current.shape.png, "+3");
  stroke(session, [[5, 5], [25, 25]]); // prettier-ignore
  assert.equal(session.current.shape.png, "+3+2");
  assert.equal(session.layout.regions.length, 3);
  session.select(["a"]);
  session.setTool("eraser");
  stroke(session, [[5, 5], [25, 25]]); // prettier-ignore
  assert.equal(session.current.shape.png, "box-2");
  session.select([]);
  stroke(session, [[5, 5], [25, 25]]); // prettier-ignore
  assert.match(session.message, /Select the region/);
  session.setTool("select");
  session.select([session.layout.regions[2].id]);
  session.nudge(20, 0);
  assert.equal(session.current.shape.png, "+3+2>0.1,0");
});

test("typing in one field is one step back", () => {
  const session = two();
  session.select(["a"]);
  for (const prompt of ["c", "ca", "cat"]) session.change({ prompt });
  assert.equal(saved(session).regions[0].prompt, "cat");
  session.undo();
  assert.equal(saved(session).regions[0].prompt, "a");
});

test("a value is handed back as it was until it is edited", () => {
  const text = '{ "pakati": "regions", "version": 1, "width": 64, "height": 64, "regions": [] }';
  const session = new Session(text, painter);
  assert.equal(session.value, text);
  const newer = '{"pakati": "regions", "version": 9}';
  session.open(newer);
  assert.equal(session.value, newer);
  assert.match(session.message, /newer Pakati/);
  stroke(session, [[10, 10], [50, 50]]); // prettier-ignore
  assert.equal(saved(session).regions.length, 1);
  session.undo();
  assert.equal(session.value, newer);
});

test("an older value that was mended is saved mended", () => {
  const session = new Session('{"pakati": "regions", "width": 64, "height": 64, "regions": [{"id": "a"}]}', painter);
  assert.deepEqual(saved(session), { pakati: "regions", version: 1, width: 64, height: 64, regions: [] });
  assert.ok(session.notes.length >= 2);
});

test("escape lets go of what is under way", () => {
  const session = two();
  const before = session.value;
  session.press([30, 30]);
  session.drag([80, 80]);
  assert.notEqual(session.shown, session.layout);
  assert.ok(session.cancel());
  assert.equal(session.value, before);
  assert.equal(session.shown, session.layout);
});

test("without a pointer: shapes, stepping, growing", () => {
  const session = start();
  session.addDefault();
  assert.deepEqual(boxes(session), [[50, 50, 100, 100]]);
  session.setTool("polygon");
  session.addDefault();
  assert.equal(session.current.shape.points.length, 4);
  session.step(1);
  assert.equal(session.current.id, "region 1");
  session.grow(10, -200);
  assert.deepEqual(boxes(session)[0], [50, 50, 110, 2]);
});

test("the view keeps what is under the pointer, and fits", () => {
  const view = new View();
  view.fit({ width: 200, height: 100 }, { width: 224, height: 324 });
  assert.deepEqual([view.scale, view.x, view.y], [1, 12, 112]);
  const under = view.toCanvas([60, 150]);
  view.zoom(2.5, [60, 150]);
  assert.deepEqual(view.toScreen(under), [60, 150]);
  view.pan(5, -5);
  assert.deepEqual(view.toScreen(under), [65, 145]);
  view.zoom(1e9, [0, 0]);
  assert.equal(view.scale, 64);
});
