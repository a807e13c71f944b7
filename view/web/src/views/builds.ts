// The builds that run now. The server sends a line when something changes.
import { nameOf } from "../closure.ts";
import { h, replace } from "../dom.ts";
import { address, type Route } from "../route.ts";
import { request, ServerError } from "../session.ts";
import { counted, visible } from "../text.ts";
import type { Context, View } from "../view.ts";

// A LineJSON is a line of the stream.
interface LineJSON {
  now: number;
  builds: BuildJSON[];
}

interface BuildJSON {
  derivation: string; // the last element
  startTime: number;
  mainPid: number;
  mainUser: { uid: number; name: string | null };
  phase?: string | null;
  processes: { pid: number; parentPid: number; argv: string[]; utime: number | null; stime: number | null; cutime: number | null; cstime: number | null }[];
  utime: number | null;
  stime: number | null;
}

export const builds: View = {
  name: "builds",
  title: "Builds",
  inTabs: true,
  available: (context) => context.live && context.summary.hasBuilds,
  async show(main: HTMLElement, context: Context, _route: Route, signal: AbortSignal): Promise<void> {
    const list = h("div", { class: "builds" });
    const state = h("p", { class: "muted", role: "status" }, "Connecting\u2026");
    replace(main, h("p", { class: "explanation" }, "The builds of all processes that use the store. The time is since the start; CPU is the processor time of all processes of the build."), state, list);
    let line: LineJSON | null = null;
    let offset = 0; // of the server's clock
    const show = () => {
      if (line) replace(list, ...line.builds.map((b) => build(context, b, Date.now() / 1000 + offset)));
    };
    const timer = setInterval(show, 1000);
    signal.addEventListener("abort", () => clearInterval(timer));
    while (!signal.aborted) {
      try {
        for await (const received of lines(await request("builds", {}, signal))) {
          line = received;
          offset = received.now - Date.now() / 1000;
          replace(state, received.builds.length > 0 ? `${counted(received.builds.length, "build")} running` : "No builds are running. A build appears here when it starts.");
          show();
        }
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ServerError && error.status !== 0) throw error;
      }
      if (signal.aborted) return;
      line = null;
      replace(list);
      replace(state, "The connection is lost; trying again\u2026");
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  },
};

// lines returns the lines of a response as they arrive.
async function* lines(response: Response): AsyncGenerator<LineJSON> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop()!;
    for (const part of parts) yield JSON.parse(part) as LineJSON;
  }
}

const mostProcesses = 50;

function build({ closure }: Context, b: BuildJSON, now: number): HTMLElement {
  const name = visible(nameOf(b.derivation).replace(/\.drv$/, ""));
  const link = closure.find(b.derivation) >= 0 ? h("a", { href: address("path", b.derivation, { show: "derivation" }) }, name) : h("span", { title: visible(b.derivation) }, name);
  const cpu = seconds([b.utime, b.stime]) ?? seconds(b.processes.flatMap((p) => [p.utime, p.stime, p.cutime, p.cstime]));
  const facts = [duration(now - b.startTime), cpu === null ? "" : `${cpu.toFixed(1)} s CPU`, b.phase ? visible(b.phase) : "", visible(b.mainUser.name ?? String(b.mainUser.uid)), b.mainPid ? `process ${b.mainPid}` : ""];
  return h(
    "section",
    { class: "build" },
    h("h2", {}, link),
    h("p", { class: "muted" }, facts.filter(Boolean).join(" \u00b7 ")),
    h("ul", { class: "files" }, ...b.processes.slice(0, mostProcesses).map((p) => h("li", {}, h("code", {}, shorten(visible(p.argv.join(" "))))))),
  );
}

function shorten(text: string): string {
  return text.length > 160 ? text.slice(0, 159) + "\u2026" : text;
}

function seconds(times: (number | null)[]): number | null {
  const known = times.filter((t) => t !== null);
  return known.length > 0 ? known.reduce((sum, t) => sum + t, 0) : null;
}

// duration returns a number of seconds for people.
function duration(n: number): string {
  const whole = Math.max(0, Math.floor(n));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return [hours > 0 ? `${hours} h` : "", whole >= 60 ? `${minutes} min` : "", `${rest} s`].filter(Boolean).join(" ");
}
