// The one place where Pakati meets the editor. Every hook is one call into a module beside this file.
// ComfyUI's page imports each .js file below web/, so a module must do nothing when it is only imported.
import { app } from "../../../scripts/app.js";
import * as canvases from "./canvases.js";
import { openWorkflow } from "./host.js";
import * as results from "./results.js";
import { QUICKSTART, tab } from "./sidebar.js";
import * as widget from "./widget.js";

const VERSION = "0.1.0";

app.registerExtension({
  name: "Pakati",
  aboutPageBadges: [{ label: `Pakati v${VERSION}`, icon: "pi pi-th-large" }],
  settings: [
    {
      id: "Pakati.Editor.FocusPrompt",
      category: ["Pakati", "Region Editor", "FocusPrompt"],
      name: "Go to the prompt after drawing a region",
      tooltip: "So that you can type at once what the region shows.",
      type: "boolean",
      defaultValue: true,
    },
    {
      id: "Pakati.Editor.Labels",
      category: ["Pakati", "Region Editor", "Labels"],
      name: "Show prompts on the canvas",
      type: "boolean",
      defaultValue: true,
    },
  ],
  commands: [
    { id: "Pakati.AddRegionEditor", label: "Add a Region Editor", icon: "pi pi-plus", function: () => widget.addEditorNode() },
    { id: "Pakati.LargeEditor", label: "Open the Region Editor large", icon: "pi pi-window-maximize", function: () => widget.openLargeEditor() },
    { id: "Pakati.Quickstart", label: "Open the quickstart", icon: "pi pi-play", function: () => openWorkflow(QUICKSTART) },
  ],
  keybindings: [{ combo: { key: "e", alt: true, shift: true }, commandId: "Pakati.LargeEditor" }],
  menuCommands: [{ path: ["Pakati"], commands: ["Pakati.AddRegionEditor", "Pakati.LargeEditor", "Pakati.Quickstart"] }],
  getCustomWidgets: () => ({ PAKATI_LAYOUT: widget.layoutWidget }),
  setup() {
    results.listen();
    canvases.listen();
    widget.listen();
    app.extensionManager.registerSidebarTab(tab);
  },
});
