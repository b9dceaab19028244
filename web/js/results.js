// What the last run made: the picture, and of which layout and seed it is. Listens to the host's own events.

import { api, app, viewUrl } from "./host.js";
import { read } from "./layout.js";

const listeners = new Set();
/** @type {{url: string, layout: object | null, seeds: number[], prompt: string} | null} */
let last = null;
const backgrounds = new Map(); // a node's execution id -> address of the picture that was connected to it

export const lastResult = () => last;
export const backgroundOf = (node) => backgrounds.get(String(node.id)) ?? null;

/** @param {() => void} run after each run that made a picture @returns {() => void} stops it */
export function onResult(run) {
  listeners.add(run);
  return () => listeners.delete(run);
}

export function listen() {
  api.addEventListener("executed", ({ detail }) => note(detail));
}

async function note(detail) {
  const output = detail?.output;
  const behind = output?.pakati_background?.[0];
  if (behind?.filename) {
    backgrounds.set(String(detail.display_node ?? detail.node).split(":").at(-1), viewUrl(behind));
    tell();
  }
  const picture = output?.images?.[0];
  if (!picture?.filename || isOverlay(detail)) return;
  const url = viewUrl(picture);
  last = { url, layout: null, seeds: [], prompt: detail.prompt_id };
  const made = await provenance(detail.prompt_id);
  if (last?.url === url) last = { ...last, ...made };
  tell();
}

/** Drawings of the layout are no results. */
function isOverlay(detail) {
  const id = String(detail.display_node ?? detail.node).split(":").at(-1);
  const node = app.graph.getNodeById?.(Number(id));
  if (node?.type?.startsWith("Pakati")) return true;
  const before = node?.getInputNode?.(0);
  return before?.type === "PakatiRegionEditor" || before?.type === "PakatiRegionOverlay";
}

/** The layout and the seeds of a prompt, as the host has queued it. */
async function provenance(promptId) {
  try {
    const running = await nodesOf(promptId);
    const nodes = Object.values(running);
    const value = nodes.find((node) => node.class_type === "PakatiRegionEditor")?.inputs.layout;
    const seeds = nodes.flatMap((node) => [node.inputs.seed, node.inputs.noise_seed]).filter(Number.isInteger);
    return { layout: typeof value === "string" ? read(value).layout : null, seeds };
  } catch {
    return { layout: null, seeds: [] };
  }
}

/** The nodes of a prompt that runs or has run. */
async function nodesOf(promptId) {
  const done = await (await api.fetchApi(`/history/${promptId}`)).json();
  if (done[promptId]) return done[promptId].prompt[2];
  const queue = await (await api.fetchApi("/queue")).json();
  return queue.queue_running.find((entry) => entry[1] === promptId)?.[2] ?? {};
}

function tell() {
  for (const run of listeners) run();
}
