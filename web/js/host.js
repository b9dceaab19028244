// All that the pack asks of ComfyUI's page: settings, messages, pictures, lists, routes. Frontend 1.49 and later.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

/** @param {"success" | "info" | "warn" | "error"} severity */
export function toast(severity, summary, detail = "") {
  const { toast: given } = app.extensionManager;
  const life = severity === "error" ? 10_000 : 5000;
  if (typeof given[severity] === "function") given[severity](summary, { description: detail, duration: life });
  else given.add({ severity, summary, detail, life }); // 1.49; "warning" is no severity there
}

export function setting(name, otherwise) {
  return app.extensionManager.setting.get(`Pakati.${name}`) ?? otherwise;
}

/** Ask one of the pack's own routes. Rejects with the server's sentence. */
export async function ask(path, { method = "GET", body } = {}) {
  const given = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const answer = await api.fetchApi(`/pakati/${path}`, { method, ...given });
  let found = null;
  try {
    found = await answer.json();
  } catch {
    // said below
  }
  if (!answer.ok) throw new Error(found?.error ?? `ComfyUI answered ${answer.status}`);
  return found;
}

/** Run, and show what went wrong. @template T @param {() => Promise<T>} run @returns {Promise<T | null>} */
export async function attempt(run) {
  try {
    return await run();
  } catch (error) {
    toast("error", "Pakati", error.message);
    return null;
  }
}

/** Open one of the pack's own workflows, as the template browser does. @returns {Promise<boolean>} */
export async function openWorkflow(name) {
  const folder = new URL(import.meta.url).pathname.split("/extensions/")[1].split("/")[0];
  try {
    const answer = await api.fetchApi(`/workflow_templates/${folder}/${name}.json`);
    if (!answer.ok) throw new Error(`ComfyUI answered ${answer.status}`);
    await app.loadGraphData(await answer.json(), true, true, name);
    return true;
  } catch (error) {
    toast("error", "The workflow could not be opened", error.message);
    return false;
  }
}

/** @returns {Promise<string[]>} the names of the host's LoRAs; none where it cannot be asked */
export async function loras() {
  try {
    const answer = await api.fetchApi("/models/loras");
    const names = answer.ok ? await answer.json() : [];
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}

/** Put a picture into the host's input folder. @returns {Promise<string | null>} its name there */
export async function upload(file) {
  const body = new FormData();
  body.append("image", file);
  body.append("subfolder", "pakati");
  try {
    const answer = await api.fetchApi("/upload/image", { method: "POST", body });
    if (!answer.ok) throw new Error(`ComfyUI answered ${answer.status}`);
    const { name, subfolder } = await answer.json();
    return subfolder ? `${subfolder}/${name}` : name;
  } catch (error) {
    toast("error", "The picture could not be stored", error.message);
    return null;
  }
}

/** The address of a picture of this host. @param {{filename: string, subfolder?: string, type?: string}} entry */
export function viewUrl({ filename, subfolder = "", type = "output" }) {
  return api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);
}

export function inputUrl(name) {
  const path = name.replace(/ \[(input|output|temp)\]$/, "");
  const type = name.endsWith(" [output]") ? "output" : name.endsWith(" [temp]") ? "temp" : "input";
  const cut = path.lastIndexOf("/");
  return viewUrl({ filename: path.slice(cut + 1), subfolder: cut < 0 ? "" : path.slice(0, cut), type });
}

export { api, app };
