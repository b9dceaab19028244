import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import * as layouts from "../../../web/js/layout.js";

const { read, toData, write } = layouts;
// The same file is read by tests/core/test_editing.py.
const GOLDEN = JSON.parse(readFileSync(new URL("../../data/layouts.json", import.meta.url), "utf8"));

for (const { what, value, usable, notes, written } of GOLDEN) {
  test(`golden: ${what}`, () => {
    const found = read(typeof value === "string" ? value : JSON.stringify(value));
    assert.equal(found.usable, usable);
    assert.deepEqual(found.notes, notes);
    assert.deepEqual(JSON.parse(write(found.layout)), written);
  });
  test(`golden, read twice: ${what}`, () => {
    const again = read(JSON.stringify(written));
    assert.deepEqual(again.notes, []);
    assert.deepEqual(toData(again.layout), written);
  });
}

const three = () =>
  read(
    JSON.stringify({
      ...{ pakati: "regions", version: 1, width: 100, height: 100 },
      regions: ["a", "b", "c"].map((id, i) => ({ id, box: [i * 20, 0, 20, 20], prompt: id })),
    }),
  ).layout;
const ids = (layout) => layout.regions.map((region) => region.id).join("");

test("a region goes to another place in painting order", () => {
  assert.equal(ids(layouts.reordered(three(), "a", 2)), "bca");
  assert.equal(ids(layouts.reordered(three(), "c", 0)), "cab");
  assert.equal(ids(layouts.reordered(three(), "c", 99)), "abc");
  assert.equal(ids(layouts.reordered(three(), "none", 0)), "abc");
});

test("copies lie a little aside, on the canvas, under ids of their own", () => {
  const { layout, ids: made } = layouts.withCopies(three(), three().regions.slice(2));
  assert.equal(layout.regions.length, 4);
  assert.deepEqual(layout.regions[3].shape.box, [56, 16, 20, 20]);
  assert.deepEqual([...made], ["region 4"]);
  assert.equal(new Set(layout.regions.map((region) => region.id)).size, 4);
  const corner = { ...three().regions[0], shape: { kind: "box", box: [90, 90, 10, 10] } };
  assert.deepEqual(layouts.withCopies(three(), [corner]).layout.regions[3].shape.box, [90, 90, 10, 10]);
});

test("solo is heard alone, muted not at all", () => {
  const all = three();
  const set = (key, which) => layouts.changed(all, new Set(which), () => ({ [key]: true }));
  const heard = (layout) => layouts.takingPart(layout).map((region) => region.id).join("");
  assert.equal(heard(all), "abc");
  assert.equal(heard(set("muted", ["a"])), "bc");
  assert.equal(heard(set("solo", ["a", "c"])), "ac");
});

test("a change leaves the layout before it as it was", () => {
  const before = three();
  const text = write(before);
  layouts.changed(before, new Set(["a"]), () => ({ prompt: "other" }));
  layouts.atSize(before, 200, 50);
  layouts.without(before, new Set(["a"]));
  assert.equal(write(before), text);
});

test("another canvas size stretches boxes and edges", () => {
  const layout = layouts.changed(three(), new Set(["b"]), () => ({ feather: 4, grow: -2 }));
  const { regions, width, height } = layouts.atSize(layout, 400, 100);
  assert.deepEqual([width, height], [400, 100]);
  assert.deepEqual(regions[1].shape.box, [80, 0, 80, 20]);
  assert.deepEqual([regions[1].feather, regions[1].grow], [8, -4]);
});

test("what keeps a region from being used is said", () => {
  const layout = three();
  const [region] = layout.regions;
  const said = (change) => layouts.problemOf({ ...region, ...change }, layout);
  assert.equal(said({}), null);
  assert.match(said({ prompt: " " }), /no prompt/);
  assert.match(said({ shape: { kind: "box", box: [200, 0, 9, 9] } }), /canvas/);
  const bow = [[0, 0], [50, 50], [50, 0], [0, 50]]; // prettier-ignore
  assert.match(said({ shape: { kind: "polygon", points: bow } }), /crosses itself/);
  assert.match(said({ shape: { kind: "whole" }, invert: true }), /empty/);
});

test("no more than 256 regions and 2000 corners", () => {
  const regions = Array.from({ length: 300 }, (_, i) => ({ id: `r${i}`, whole: true }));
  const points = Array.from({ length: 9000 }, (_, i) => {
    const angle = (i / 4500) * Math.PI;
    return [50 + 40 * Math.cos(angle), 50 + 40 * Math.sin(angle)];
  });
  regions[0] = { id: "round", polygon: points };
  const { layout, notes } = read({ pakati: "regions", version: 1, width: 100, height: 100, regions });
  assert.equal(layout.regions.length, 256);
  assert.ok(layout.regions[0].shape.points.length <= 2000);
  assert.match(notes.join(" "), /300 regions.*9000 points/);
  assert.ok(layouts.isFull(layout));
  assert.equal(layouts.withCopies(layout, layout.regions.slice(0, 3)).layout.regions.length, 256);
});

test("values that are no text at all", () => {
  for (const value of [null, undefined, 5, true, [], {}, () => 1, new Map()]) {
    assert.equal(typeof write(read(value).layout), "string");
  }
  const loop = {};
  loop.pakati = loop;
  assert.equal(read(loop).usable, false);
});
