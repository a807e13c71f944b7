// The page of pix view. Each view is a module in views/.
import { Closure, type ClosureJSON, type Summary } from "./closure.ts";
import { h, replace } from "./dom.ts";
import { getJSON, startSession } from "./session.ts";
import { Shell } from "./shell.ts";
import { visible } from "./text.ts";
import { path } from "./views/path/path.ts";
import { paths } from "./views/paths.ts";
import { treemap } from "./views/treemap.ts";

async function start(): Promise<void> {
  const app = document.getElementById("app")!;
  replace(app, h("p", { class: "notice", role: "status" }, "Loading the closure\u2026"));
  try {
    await startSession();
    const [summary, json] = await Promise.all([getJSON<Summary>("summary"), getJSON<ClosureJSON>("closure")]);
    new Shell(app, { closure: new Closure(json), summary, live: true }, [paths, treemap, path]).start();
    performance.mark("ready");
  } catch (error) {
    replace(app, h("p", { class: "notice", role: "alert" }, visible(error instanceof Error ? error.message : String(error))));
  }
}

void start();
