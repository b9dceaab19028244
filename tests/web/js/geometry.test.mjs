import assert from "node:assert/strict";
import test from "node:test";

import * as geometry from "../../../web/js/geometry.js";

const SQUARE = [[0, 0], [10, 0], [10, 10], [0, 10]]; // prettier-ignore
const BOW = [[0, 0], [10, 10], [10, 0], [0, 10]]; // prettier-ignore

test("areas and bounds", () => {
  assert.equal(geometry.areaOf(SQUARE), 100);
  assert.equal(geometry.areaOf([...SQUARE].reverse()), 100);
  assert.equal(geometry.areaOf(SQUARE.slice(0, 2)), 0);
  assert.deepEqual(geometry.boundsOf([[3, 9], [1, 2], [5, 4]]), [1, 2, 4, 7]); // prettier-ignore
  assert.deepEqual(geometry.boxBetween([5, 1], [2, 3]), [2, 1, 3, 2]);
});

test("what contains a point", () => {
  assert.ok(geometry.polygonContains(SQUARE, [5, 5]));
  assert.ok(!geometry.polygonContains(SQUARE, [15, 5]));
  assert.ok(geometry.boxContains([0, 0, 10, 10], [10, 10]));
  assert.ok(geometry.ellipseContains([0, 0, 10, 4], [9, 2]));
  assert.ok(!geometry.ellipseContains([0, 0, 10, 4], [9, 3.9]));
  assert.ok(!geometry.ellipseContains([0, 0, 0, 4], [0, 1]));
});

test("edges that cross, and those that only touch", () => {
  assert.equal(geometry.crossing(SQUARE), null);
  assert.deepEqual(geometry.crossing(BOW), [0, 2]);
  const bridge = [[0, 0], [9, 0], [9, 9], [5, 9], [5, 5], [5, 9], [0, 9]]; // prettier-ignore
  assert.equal(geometry.crossing(bridge), null);
});

test("any scribble is untangled into an outline that does not cross itself", () => {
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let run = 0; run < 60; run++) {
    const points = Array.from({ length: 3 + Math.floor(random() * 40) }, () => [random() * 100, random() * 100]);
    const order = geometry.untangled(points);
    assert.equal(geometry.crossing(order), null);
    assert.ok(order.length >= 3);
  }
});

test("simplifying keeps the ends and stays within the tolerance", () => {
  const wave = Array.from({ length: 200 }, (_, i) => [i, 10 * Math.sin(i / 20)]);
  const few = geometry.simplified(wave, 0.5);
  assert.ok(few.length < 40);
  assert.deepEqual([few[0], few.at(-1)], [wave[0], wave.at(-1)]);
  for (const point of wave) {
    const away = few.slice(1).map((corner, i) => geometry.distanceToSegment(point, few[i], corner));
    assert.ok(Math.min(...away) <= 0.5 + 1e-9);
  }
});

test("clipping to a box", () => {
  const half = geometry.clipped(SQUARE, [5, -5, 20, 20]);
  assert.equal(geometry.areaOf(half), 50);
  assert.deepEqual(geometry.clipped(SQUARE, [20, 20, 5, 5]), []);
  assert.equal(geometry.areaOf(geometry.clipped(SQUARE, [2, 2, 3, 3])), 9);
});

test("the inner radius of a square", () => {
  assert.ok(Math.abs(geometry.innerRadius(SQUARE) - 5) < 0.3);
  assert.equal(geometry.innerRadius([[0, 0], [1, 1], [2, 2]]), 0); // prettier-ignore
});

test("resizing by each handle, with and without proportions", () => {
  const box = [10, 10, 20, 10];
  const right = { across: 1, down: 0 };
  assert.deepEqual(geometry.resized(box, right, [50, 99]), [10, 10, 40, 10]);
  assert.deepEqual(geometry.resized(box, right, [50, 99], true), [10, 10, 40, 20]);
  assert.deepEqual(geometry.resized(box, { across: -1, down: -1 }, [0, 0]), [0, 0, 30, 20]);
  assert.deepEqual(geometry.resized(box, { across: -1, down: -1 }, [99, 99]), [29, 19, 1, 1]);
  assert.equal(geometry.handlesOf(box).length, 8);
  assert.deepEqual(geometry.handlesOf(box)[0], { across: -1, down: -1, at: [10, 10] });
});

test("snapping to the nearest line within reach", () => {
  assert.equal(geometry.snapped(11, [0, 10, 20], 3), 10);
  assert.equal(geometry.snapped(14, [0, 10, 20], 3), 14);
  assert.deepEqual(geometry.snapShift([11, 40, 20, 20], { xs: [10, 32], ys: [100] }, 3), [1, 0]);
  assert.deepEqual(geometry.snapShift([12, 98, 20, 20], { xs: [10], ys: [100] }, 3), [-2, 2]);
});

test("points follow their box", () => {
  assert.deepEqual(geometry.fitted([[0, 0], [10, 5]], [0, 0, 10, 10], [100, 0, 20, 10]), [[100, 0], [120, 5]]); // prettier-ignore
  assert.deepEqual(geometry.fitted([[3, 3]], [3, 3, 0, 0], [7, 8, 0, 0]), [[7, 8]]); // prettier-ignore
});

test("rounding never leaves a negative zero", () => {
  assert.ok(Object.is(geometry.round(-0.001), 0));
  assert.equal(geometry.round(1.005), 1); // as binary fractions have it
});
