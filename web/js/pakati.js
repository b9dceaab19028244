// The one place where Pakati meets the editor. Every hook is one call into a module beside this file.
// ComfyUI's page imports each .js file below web/, so a module must do nothing when it is only imported.
import { app } from "../../../scripts/app.js";
import * as results from "./results.js";
import * as widget from "./widget.js";

const VERSION = "0.1.0";

app.registerExtension({
  name: "Pakati",
  aboutPageBadges: [{ label: `Pakati v${VERSION}`, icon: "pi pi-th-large" }],
  getCustomWidgets: () => ({ PAKATI_LAYOUT: widget.layoutWidget }),
  setup() {
    results.listen();
    widget.listen();
  },
});
