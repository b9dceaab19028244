// Where the canvas lies on the screen: zoom and pan. Pure: no page, no app.

import { clamp } from "./geometry.js";

const LEAST = 0.02;
const MOST = 64;

export class View {
  constructor() {
    this.scale = 1; // screen pixels per canvas pixel
    this.x = 0; // where the canvas's left top corner is
    this.y = 0;
    this.isFitted = true; // follows the size of its frame until the user zooms or pans
  }

  toScreen([x, y]) {
    return [this.x + x * this.scale, this.y + y * this.scale];
  }

  toCanvas([x, y]) {
    return [(x - this.x) / this.scale, (y - this.y) / this.scale];
  }

  /** All of the canvas in the middle of a frame. */
  fit(canvas, frame, margin = 12) {
    const room = [Math.max(frame.width - 2 * margin, 1), Math.max(frame.height - 2 * margin, 1)];
    this.scale = clamp(Math.min(room[0] / canvas.width, room[1] / canvas.height), LEAST, MOST);
    this.x = (frame.width - canvas.width * this.scale) / 2;
    this.y = (frame.height - canvas.height * this.scale) / 2;
    this.isFitted = true;
  }

  /** Zoom by a factor, so that what is under the point stays there. */
  zoom(factor, [px, py]) {
    const [x, y] = this.toCanvas([px, py]);
    this.scale = clamp(this.scale * factor, LEAST, MOST);
    this.x = px - x * this.scale;
    this.y = py - y * this.scale;
    this.isFitted = false;
  }

  pan(across, down) {
    this.x += across;
    this.y += down;
    this.isFitted = false;
  }
}
