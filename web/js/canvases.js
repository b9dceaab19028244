// The canvases that Save Canvas keeps on this host: asked for over the pack's routes, kept as long as they hold.

import { api, ask } from "./host.js";

const listeners = new Set();
/** @type {Map<string, string | null>} "name/step" -> picture as a data URL; null while it is on its way or not there */
const previews = new Map();
const MOST_PREVIEWS = 20;

const path = (name, ...more) => ["canvases", encodeURIComponent(name), ...more].join("/");

let listing = null;
export const stepsOf = (name) => ask(path(name));
export const stepOf = (name, step) => ask(path(name, "steps", step));
export const duplicate = (name) => changing(ask(path(name, "duplicate"), { method: "POST", body: {} }));
export const remove = (name) => changing(ask(path(name), { method: "DELETE" }));
export const restore = (name, token) => changing(ask(path(name, "restore"), { method: "POST", body: { token } }));

/** @param {boolean} isFresh ask the host again, for files may have come and gone */
export function list(isFresh = false) {
  if (isFresh) listing = null;
  listing ??= ask("canvases").catch((error) => {
    listing = null;
    throw error;
  });
  return listing;
}

/** @param {() => void} run whenever canvases may have changed @returns {() => void} stops it */
export function onCanvases(run) {
  listeners.add(run);
  return () => listeners.delete(run);
}

export function listen() {
  api.addEventListener("execution_success", changed);
}

/** The picture of a step as far as it is known; listeners hear when it has come. @returns {string | null} */
export function previewOf(name, step) {
  if (typeof name !== "string" || !name || !Number.isInteger(step)) return null;
  const key = `${name}/${step}`;
  if (!previews.has(key)) {
    if (previews.size >= MOST_PREVIEWS) previews.delete(previews.keys().next().value);
    previews.set(key, null);
    fetchPreview(name, step, key);
  }
  return previews.get(key) ?? null;
}

async function fetchPreview(name, step, key) {
  try {
    const { canvases } = await list(); // asking for one that is not there would be an error in the console
    if (!canvases.some((canvas) => canvas.name === name)) return;
    const { picture } = await stepOf(name, step);
    if (!previews.has(key)) return;
    previews.set(key, picture);
    tell();
  } catch {
    // The canvas has no such step, or is damaged; a run says so.
  }
}

async function changing(promise) {
  const found = await promise;
  changed();
  return found;
}

function changed() {
  previews.clear();
  listing = null;
  tell();
}

function tell() {
  for (const run of listeners) run();
}
