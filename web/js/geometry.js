// Points, boxes and outlines on the canvas, in canvas pixels. Pure: no page, no app.

/** @typedef {[number, number]} Point  @typedef {[number, number, number, number]} Box  x, y, width, height */

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
export const round = (value) => Math.round(value * 100) / 100 + 0; // + 0: never -0, which JSON would write as 0
export const distance = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);

/** The box between two opposite corners. @returns {Box} */
export function boxBetween([ax, ay], [bx, by]) {
  return [Math.min(ax, bx), Math.min(ay, by), Math.abs(ax - bx), Math.abs(ay - by)];
}

/** @param {Point[]} points @returns {Box} */
export function boundsOf(points) {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x);
    bottom = Math.max(bottom, y);
  }
  return [left, top, right - left, bottom - top];
}

export function boxContains([x, y, width, height], [px, py]) {
  return px >= x && py >= y && px <= x + width && py <= y + height;
}

export function ellipseContains([x, y, width, height], [px, py]) {
  if (!(width > 0 && height > 0)) return false;
  return ((px - x) / width - 0.5) ** 2 + ((py - y) / height - 0.5) ** 2 <= 0.25;
}

export function polygonContains(points, [px, py]) {
  let inside = false;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const [ax, ay] = points[i];
    const [bx, by] = points[j];
    if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

/** Area without sign. */
export function areaOf(points) {
  if (points.length < 3) return 0;
  const [ox, oy] = points[0]; // near the origin the products lose no digits
  let twice = 0;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    twice += (points[j][0] - ox) * (points[i][1] - oy) - (points[i][0] - ox) * (points[j][1] - oy);
  }
  return Math.abs(twice) / 2;
}

/** Without corners that repeat their neighbour. */
export function withoutRepeats(points) {
  return points.filter(([x, y], i) => {
    const [px, py] = points[(i + points.length - 1) % points.length];
    return points.length < 2 || x !== px || y !== py;
  });
}

const side = ([px, py], [qx, qy], [rx, ry]) => Math.sign((qx - px) * (ry - py) - (qy - py) * (rx - px));

/** Do two segments cross at a point inside both? Those that only touch do not. */
function cross(a, b, c, d) {
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

/** The first two edges that cross, by the number of their first corner, or null. As in pakati_core.geometry. */
export function crossing(points) {
  const count = points.length;
  const boxes = points.map((point, i) => boxBetween(point, points[(i + 1) % count]));
  for (let i = 0; i < count - 1; i++) {
    const [x, y, width, height] = boxes[i];
    for (let j = i + 1; j < count; j++) {
      const other = boxes[j];
      if (other[0] > x + width || other[1] > y + height) continue;
      if (other[0] + other[2] < x || other[1] + other[3] < y) continue;
      if (cross(points[i], points[i + 1], points[j], points[(j + 1) % count])) return [i, j];
    }
  }
  return null;
}

/** The same corners in an order whose outline does not cross itself; the hull where that takes too long. */
export function untangled(points) {
  let order = withoutRepeats(points);
  for (let turn = 0; turn < 4 * order.length + 20; turn++) {
    const found = crossing(order);
    if (!found) return order;
    const [i, j] = found;
    order = [...order.slice(0, i + 1), ...order.slice(i + 1, j + 1).reverse(), ...order.slice(j + 1)];
  }
  return hull(points);
}

/** @param {Point[]} points @returns {Point[]} the convex hull */
export function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (from) => {
    const out = [];
    for (const point of from) {
      while (out.length > 1 && side(out[out.length - 2], out[out.length - 1], point) <= 0) out.pop();
      out.push(point);
    }
    return out.slice(0, -1);
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

/** Fewer corners, none of those left out further than `tolerance` from the outline (Ramer, Douglas, Peucker). */
export function simplified(points, tolerance) {
  if (points.length < 3) return points;
  const kept = new Set([0, points.length - 1]);
  const spans = [[0, points.length - 1]];
  while (spans.length) {
    const [first, last] = spans.pop();
    let [farthest, at] = [tolerance, -1];
    for (let i = first + 1; i < last; i++) {
      const away = distanceToSegment(points[i], points[first], points[last]);
      if (away > farthest) [farthest, at] = [away, i];
    }
    if (at < 0) continue;
    kept.add(at);
    spans.push([first, at], [at, last]);
  }
  return points.filter((_, i) => kept.has(i));
}

export function distanceToSegment(point, a, b) {
  const [ux, uy] = [b[0] - a[0], b[1] - a[1]];
  const length = ux * ux + uy * uy;
  const along = length ? clamp(((point[0] - a[0]) * ux + (point[1] - a[1]) * uy) / length, 0, 1) : 0;
  return distance(point, [a[0] + along * ux, a[1] + along * uy]);
}

/** The edge nearest to a point: [number of its first corner, distance]. */
export function nearestEdge(points, point) {
  let best = [-1, Infinity];
  points.forEach((corner, i) => {
    const away = distanceToSegment(point, corner, points[(i + 1) % points.length]);
    if (away < best[1]) best = [i, away];
  });
  return best;
}

/** The part of an outline inside a box (Sutherland, Hodgman). */
export function clipped(points, [x, y, width, height]) {
  const walls = [
    [0, x, 1],
    [0, x + width, -1],
    [1, y, 1],
    [1, y + height, -1],
  ];
  let out = points;
  for (const [axis, at, sign] of walls) {
    const inside = (point) => sign * (point[axis] - at) >= 0;
    const next = [];
    out.forEach((point, i) => {
      const before = out[(i + out.length - 1) % out.length];
      if (inside(point) !== inside(before)) {
        const share = (at - before[axis]) / (point[axis] - before[axis]);
        const met = [before[0] + share * (point[0] - before[0]), before[1] + share * (point[1] - before[1])];
        met[axis] = at;
        next.push(met);
      }
      if (inside(point)) next.push(point);
    });
    out = next;
  }
  return out;
}

/** How far a point that is inside lies from the outline, at the best of a grid of points; 0 where none is inside. */
export function innerRadius(points, steps = 24) {
  const [x, y, width, height] = boundsOf(points);
  let best = 0;
  for (let i = 0; i < steps; i++) {
    for (let j = 0; j < steps; j++) {
      const point = [x + ((i + 0.5) / steps) * width, y + ((j + 0.5) / steps) * height];
      if (polygonContains(points, point)) best = Math.max(best, nearestEdge(points, point)[1]);
    }
  }
  return best;
}

/** Move points so that the box `from` becomes the box `to`. */
export function fitted(points, from, to) {
  const across = from[2] ? to[2] / from[2] : 1;
  const down = from[3] ? to[3] / from[3] : 1;
  return points.map(([x, y]) => [to[0] + (x - from[0]) * across, to[1] + (y - from[1]) * down]);
}

/** Where the eight handles of a box lie, with the edges that each one drags: -1 left or top, 1 right or bottom. */
export function handlesOf([x, y, width, height]) {
  const out = [];
  for (const down of [-1, 0, 1]) {
    for (const across of [-1, 0, 1]) {
      if (across || down) {
        out.push({ across, down, at: [x + ((across + 1) / 2) * width, y + ((down + 1) / 2) * height] });
      }
    }
  }
  return out;
}

/** A box after one of its handles went to a point; `keep` holds its proportions, `least` its smallest side. */
export function resized([x, y, width, height], { across, down }, [px, py], keep = false, least = 1) {
  const [fixedX, fixedY] = [across < 0 ? x + width : x, down < 0 ? y + height : y];
  let wide = across ? Math.max(least, across * (px - fixedX)) : width;
  let high = down ? Math.max(least, down * (py - fixedY)) : height;
  if (keep && width > 0 && height > 0) {
    const scale = across && down ? Math.max(wide / width, high / height) : across ? wide / width : high / height;
    [wide, high] = [Math.max(least, width * scale), Math.max(least, height * scale)];
  }
  return [across < 0 ? fixedX - wide : x, down < 0 ? fixedY - high : y, wide, high];
}

/**
 * The nearest of some lines to a value, within reach.
 * @param {number} value @param {number[]} lines @param {number} reach
 */
export function snapped(value, lines, reach) {
  let best = value;
  let nearest = reach;
  for (const line of lines) {
    const away = Math.abs(line - value);
    if (away <= nearest) [best, nearest] = [line, away];
  }
  return best;
}

/** How far a box has to move so that an edge or its middle lies on a line: [across, down]. */
export function snapShift([x, y, width, height], lines, reach) {
  const shift = (from, length, along) => {
    let best = 0;
    let nearest = reach;
    for (const at of [from, from + length / 2, from + length]) {
      const away = snapped(at, along, nearest) - at;
      if (away !== 0 && Math.abs(away) <= nearest) [best, nearest] = [away, Math.abs(away)];
      else if (along.includes(at)) return 0;
    }
    return best;
  };
  return [shift(x, width, lines.xs), shift(y, height, lines.ys)];
}
