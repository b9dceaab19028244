// Painted masks: decoded once, drawn in a region's colour, painted on, moved. Needs a page for its canvases.
// Shape masks in the layout are PNGs, grey on black, stretched over the canvas.

import { shapeBounds } from "./layout.js";

const LONGEST = 1024; // pixels along a mask's longer side; more would make workflows heavy
const MOST_KEPT = 64;

export class Painter {
  /** @param {() => void} onDecoded when a mask that was asked for can be drawn */
  constructor(onDecoded = () => {}) {
    this.onDecoded = onDecoded;
    this.masks = new Map(); // png -> {canvas, bounds} with the mask as alpha, or null while it is decoded
    this.tints = new Map();
  }

  /** The mask as the alpha of a canvas, or null while it is not there yet. */
  mask(png) {
    if (!this.masks.has(png)) {
      this.masks.set(png, null);
      decode(png).then(
        (canvas) => {
          this.keep(png, canvas);
          this.onDecoded();
        },
        () => {}, // a damaged picture stays invisible; a run says what is wrong with it
      );
    }
    return this.masks.get(png);
  }

  keep(png, canvas) {
    while (this.masks.size > MOST_KEPT) this.masks.delete(this.masks.keys().next().value);
    this.masks.set(png, { canvas, bounds: null });
  }

  /** The mask in one colour, or null. */
  tinted(png, colour) {
    const mask = this.mask(png);
    if (!mask) return null;
    const key = `${colour} ${png}`;
    if (!this.tints.has(key)) {
      while (this.tints.size > MOST_KEPT) this.tints.delete(this.tints.keys().next().value);
      const canvas = newCanvas(mask.canvas.width, mask.canvas.height);
      const pen = canvas.getContext("2d");
      pen.drawImage(mask.canvas, 0, 0);
      pen.globalCompositeOperation = "source-in";
      pen.fillStyle = colour;
      pen.fillRect(0, 0, canvas.width, canvas.height);
      this.tints.set(key, canvas);
    }
    return this.tints.get(key);
  }

  /** Is the mask more than half there? across and down: fractions of the canvas. */
  contains(png, across, down) {
    const mask = this.mask(png);
    if (!mask) return false;
    const { canvas } = mask;
    const x = Math.min(Math.floor(across * canvas.width), canvas.width - 1);
    const y = Math.min(Math.floor(down * canvas.height), canvas.height - 1);
    return canvas.getContext("2d").getImageData(x, y, 1, 1).data[3] > 127;
  }

  /** The box around what is painted, in canvas pixels. */
  bounds(shape, layout) {
    const mask = this.mask(shape.png);
    const [ox, oy] = shape.share ?? [0, 0];
    if (!mask) return [ox * layout.width, oy * layout.height, layout.width, layout.height];
    const { canvas } = mask;
    mask.bounds ??= boundsOfAlpha(canvas);
    const [x, y, width, height] = mask.bounds;
    const [across, down] = [layout.width / canvas.width, layout.height / canvas.height];
    return [x * across + ox * layout.width, y * down + oy * layout.height, width * across, height * down];
  }

  /**
   * A shape, or nothing, with a stroke painted on it or erased from it.
   * @returns {string | null} the PNG; null where nothing is left
   */
  painted(shape, { points, size, erase }, layout) {
    const scale = Math.min(1, LONGEST / Math.max(layout.width, layout.height));
    const canvas = newCanvas(Math.max(1, Math.round(layout.width * scale)), Math.max(1, Math.round(layout.height * scale)));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    if (shape?.kind === "mask") {
      const mask = this.mask(shape.png);
      if (!mask) return shape.png;
      pen.drawImage(mask.canvas, 0, 0, canvas.width, canvas.height);
    }
    pen.scale(canvas.width / layout.width, canvas.height / layout.height);
    if (shape && shape.kind !== "mask") {
      pen.fill(outlinePath(shape, layout));
    }
    if (erase) pen.globalCompositeOperation = "destination-out";
    pen.lineWidth = size;
    pen.lineCap = pen.lineJoin = "round";
    pen.stroke(strokePath(points));
    return this.encode(canvas);
  }

  /** The mask elsewhere; what leaves the canvas is lost. across and down: fractions of the canvas. */
  moved(png, across, down) {
    const mask = this.mask(png);
    if (!mask) return png;
    const canvas = newCanvas(mask.canvas.width, mask.canvas.height);
    const shift = [Math.round(across * canvas.width), Math.round(down * canvas.height)];
    canvas.getContext("2d").drawImage(mask.canvas, ...shift);
    return this.encode(canvas) ?? png;
  }

  /** A canvas whose alpha is the mask, as a grey PNG. @returns {string | null} null where it is empty */
  encode(canvas) {
    const pen = canvas.getContext("2d");
    const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
    const { data } = pixels;
    let any = false;
    for (let i = 0; i < data.length; i += 4) {
      const alpha = data[i + 3];
      any ||= alpha > 0;
      data[i] = data[i + 1] = data[i + 2] = alpha;
      data[i + 3] = 255;
    }
    if (!any) return null;
    const grey = newCanvas(canvas.width, canvas.height);
    grey.getContext("2d").putImageData(pixels, 0, 0);
    const png = grey.toDataURL("image/png");
    this.keep(png, canvas);
    return png;
  }

  /**
   * The colours of a picture that is a map of regions, the largest first, each with its mask.
   * @returns {{colour: string, png: string}[]}
   */
  colourMap(picture, layout, most = 24) {
    const scale = Math.min(1, LONGEST / Math.max(layout.width, layout.height));
    const [width, height] = [Math.max(1, Math.round(layout.width * scale)), Math.max(1, Math.round(layout.height * scale))];
    const canvas = newCanvas(width, height);
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture, 0, 0, width, height);
    const { data } = pen.getImageData(0, 0, width, height);
    const keyed = new Int32Array(width * height); // -1 where it is transparent
    const counts = new Map();
    for (let i = 0; i < keyed.length; i++) {
      const [r, g, b, a] = [data[4 * i], data[4 * i + 1], data[4 * i + 2], data[4 * i + 3]];
      keyed[i] = a < 128 ? -1 : (r << 16) | (g << 8) | b;
      if (keyed[i] >= 0) counts.set(keyed[i], (counts.get(keyed[i]) ?? 0) + 1);
    }
    const found = [...counts].sort((one, other) => other[1] - one[1]);
    const large = found.filter(([, count]) => count >= keyed.length / 1000).slice(0, most);
    return large.map(([key]) => {
      const part = newCanvas(width, height);
      const pixels = new ImageData(width, height);
      for (let i = 0; i < keyed.length; i++) if (keyed[i] === key) pixels.data[4 * i + 3] = 255;
      part.getContext("2d").putImageData(pixels, 0, 0);
      return { colour: `#${key.toString(16).padStart(6, "0")}`, png: this.encode(part) };
    });
  }

  /** A picture that is one mask, white or opaque inside. @returns {string | null} */
  fromMask(picture, layout) {
    const scale = Math.min(1, LONGEST / Math.max(layout.width, layout.height));
    const canvas = newCanvas(Math.max(1, Math.round(layout.width * scale)), Math.max(1, Math.round(layout.height * scale)));
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    greyToAlpha(pen, canvas);
    return this.encode(canvas);
  }
}

/** The outline of a shape as a path in canvas pixels. */
export function outlinePath(shape, layout) {
  const path = new Path2D();
  const [x, y, width, height] = shapeBounds(shape, layout);
  if (shape.kind === "polygon") {
    shape.points.forEach(([px, py], i) => (i ? path.lineTo(px, py) : path.moveTo(px, py)));
    path.closePath();
  } else if (shape.kind === "ellipse") {
    path.ellipse(x + width / 2, y + height / 2, width / 2, height / 2, 0, 0, 2 * Math.PI);
  } else {
    path.rect(x, y, width, height);
  }
  return path;
}

export function strokePath(points) {
  const path = new Path2D();
  path.moveTo(...points[0]);
  for (const point of points.slice(1)) path.lineTo(...point);
  if (points.length === 1) path.lineTo(points[0][0] + 0.01, points[0][1]);
  return path;
}

/** Load a picture from an address of this host or from the page itself. @returns {Promise<HTMLImageElement>} */
export async function loadPicture(url) {
  const picture = new Image();
  picture.src = url;
  await picture.decode();
  return picture;
}

async function decode(png) {
  const picture = await loadPicture(png);
  const canvas = newCanvas(Math.min(picture.naturalWidth, 4096), Math.min(picture.naturalHeight, 4096));
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  greyToAlpha(pen, canvas);
  return canvas;
}

/** Where a picture has transparency, opaque counts; else white does. As pakati_core.layout has it. */
function greyToAlpha(pen, canvas) {
  const pixels = pen.getImageData(0, 0, canvas.width, canvas.height);
  const { data } = pixels;
  let isOpaque = true;
  for (let i = 3; i < data.length && isOpaque; i += 4) isOpaque = data[i] === 255;
  if (!isOpaque) return;
  for (let i = 0; i < data.length; i += 4) {
    data[i + 3] = Math.round(0.299 * data[i] + 0.587 * data[i + 1] + 0.114 * data[i + 2]);
  }
  pen.putImageData(pixels, 0, 0);
}

function boundsOfAlpha(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[4 * (y * width + x) + 3] === 0) continue;
      left = Math.min(left, x);
      top = Math.min(top, y);
      right = Math.max(right, x + 1);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return right > left ? [left, top, right - left, bottom - top] : [0, 0, width, height];
}

function newCanvas(width, height) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}
