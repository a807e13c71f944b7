// How a path or a signature is computed: the steps of pix explain, with the texts that are hashed.
import { h, replace, type Child } from "../../dom.ts";
import { getJSON } from "../../session.ts";
import { count, counted, errorText, visible, visibleLines } from "../../text.ts";

interface ExplanationJSON {
  subject: string;
  kind: string;
  steps: StepJSON[];
  problems: string[];
}

interface StepJSON {
  name: string;
  output: string | null;
  title: string;
  why: string;
  inputs: InputJSON[];
  op: string;
  text: string | null;
  textBase64: string | null;
  result: string | null;
}

interface InputJSON {
  name: string;
  value: string | null;
  valueBase64: string | null;
  from: number | null;
  reason: string | null;
  note: string | null;
}

const mostText = 20_000; // characters; a longer text is shown on demand
const mostInputs = 100;

// explanation shows the computation of a path in an element.
export async function explanation(element: HTMLElement, path: string, about: "path" | "signatures", signal: AbortSignal): Promise<void> {
  replace(element, h("p", { class: "muted", role: "status" }, "Computing\u2026"));
  try {
    const e = await getJSON<ExplanationJSON>("explain", { path, about }, signal);
    replace(
      element,
      h("p", { class: "muted" }, `${visible(e.kind)}: ${counted(e.steps.length, "step")}`),
      ...e.problems.map((p) => h("p", { class: "failed", role: "alert" }, visible(p))),
      h("ol", { class: "steps" }, ...e.steps.map(step)),
    );
  } catch (error) {
    if (signal.aborted) return;
    replace(element, h("p", { class: "muted" }, errorText(error)));
  }
}

function step(s: StepJSON): HTMLElement {
  const inputs = s.inputs.slice(0, mostInputs);
  return h(
    "li",
    {},
    h("h3", {}, visible(s.title)),
    h("p", { class: "explanation" }, visible(s.why)),
    inputs.length > 0 &&
      h(
        "details",
        { open: inputs.length <= 8 },
        h("summary", {}, counted(s.inputs.length, "value")),
        h("table", { class: "plain" }, h("tbody", {}, ...inputs.map(input))),
        s.inputs.length > mostInputs && h("p", { class: "muted" }, `and ${count(s.inputs.length - mostInputs)} more`),
      ),
    text(s),
    s.result !== null && h("p", { class: "result" }, h("span", { class: "muted" }, `${visible(s.op)} \u2192 `), h("code", {}, visible(s.result))),
  );
}

function input(i: InputJSON): HTMLElement {
  const notes = [i.from !== null ? `from step ${i.from}` : "", i.reason ?? "", i.note ?? ""].filter(Boolean).join("; ");
  return h("tr", {}, h("th", { scope: "row" }, visible(i.name)), h("td", {}, h("code", {}, cut(visible(i.value ?? `base64:${i.valueBase64 ?? ""}`), 400)), " ", h("span", { class: "muted" }, visible(notes))));
}

// text returns the text of a step. A long one is cut, because a browser takes seconds to lay out megabytes in a line.
function text(s: StepJSON): Child {
  const all = s.text ?? s.textBase64 ?? "";
  if (all === "") return null;
  const block = h("pre", { tabindex: 0, "aria-label": s.text === null ? "Text in base 64" : "Text" }, visibleLines(all.slice(0, mostText)));
  if (all.length <= mostText) return block;
  const more = h("button", { type: "button", class: "quiet" }, `Show all ${count(all.length)} characters`);
  more.addEventListener("click", () => {
    replace(block, visibleLines(all));
    more.remove();
  });
  return h("div", {}, block, more);
}

function cut(text: string, most: number): string {
  return text.length > most ? text.slice(0, most - 1) + "\u2026" : text;
}
