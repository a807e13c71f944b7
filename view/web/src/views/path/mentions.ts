// The files of a path in which the reference to another path stands. The server reads the whole archive for them.
import { h, replace } from "../../dom.ts";
import { getJSON } from "../../session.ts";
import { counted, errorText, visible } from "../../text.ts";
import type { Context } from "../../view.ts";

interface MentionsJSON {
  mentions: { file: string; target: string }[];
  more: number;
}

// mentions shows the files in an element.
export async function mentions(element: HTMLElement, { closure }: Context, from: number, to: number, signal: AbortSignal): Promise<void> {
  const names = [h("strong", {}, closure.name(to)), " in ", h("strong", {}, closure.name(from))];
  replace(element, h("p", { class: "muted" }, "Reading ", closure.name(from), "\u2026"));
  try {
    const found = await getJSON<MentionsJSON>("mentions", { from: closure.path(from), to: closure.path(to) }, signal);
    replace(
      element,
      h("p", { class: "reason" }, ...names, found.mentions.length > 0 ? ":" : ": no file contains the reference; it was declared when the path was added."),
      h("ul", { class: "files" }, ...found.mentions.map((m) => h("li", {}, h("code", {}, visible(m.file)), m.target !== "" && h("span", { class: "muted" }, " links to "), m.target !== "" && h("code", {}, visible(m.target))))),
      found.more > 0 && h("p", { class: "muted" }, `and ${counted(found.more, "more file")}`),
    );
  } catch (error) {
    if (signal.aborted) return;
    replace(element, h("p", { class: "failed" }, errorText(error)));
  }
  element.scrollIntoView({ block: "nearest" }); // the button may be far below
}
