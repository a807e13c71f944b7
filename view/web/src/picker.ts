// A text field for a path, with suggestions: a combobox as the ARIA practices describe it.
import type { Closure } from "./closure.ts";
import { h, replace } from "./dom.ts";
import { size } from "./text.ts";

const most = 12; // suggestions

let lastId = 0;

export interface PickerOptions {
  label: string;
  value: string; // a whole path, or ""
  // pick gets a whole path: a suggestion, or the text if it is one.
  pick: (path: string) => void;
}

// picker returns the field with its label.
export function picker(closure: Closure, options: PickerOptions): HTMLElement {
  const id = `picker${lastId++}`;
  let found: number[] = [];
  let active = -1;
  const input = h("input", {
    type: "text",
    id,
    value: options.value,
    role: "combobox",
    spellcheck: "false",
    autocomplete: "off",
    "aria-expanded": false,
    "aria-controls": `${id}-list`,
    "aria-autocomplete": "list",
    placeholder: "Name, hash or path",
  });
  const list = h("ul", { id: `${id}-list`, role: "listbox", class: "suggestions", hidden: true, "aria-label": options.label });

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const take = (path: string) => {
    input.value = path;
    close();
    options.pick(path);
  };
  const show = () => {
    replace(
      list,
      ...found.map((i, n) =>
        h(
          "li",
          { role: "option", id: `${id}-${n}`, "aria-selected": n === active, class: n === active ? "active" : "", on: { pointerdown: (event) => (event.preventDefault(), take(closure.path(i))) } },
          h("span", { class: "label" }, closure.name(i)),
          h("span", { class: "hash" }, closure.hash(i).slice(0, 8)),
          h("span", { class: "number" }, size(closure.sizes[i]!)),
        ),
      ),
    );
    list.hidden = found.length === 0;
    input.setAttribute("aria-expanded", String(found.length > 0));
    if (active >= 0) input.setAttribute("aria-activedescendant", `${id}-${active}`);
  };
  input.addEventListener("input", () => {
    active = -1;
    const all = input.value.trim() === "" ? [] : Array.from(closure.search(input.value));
    found = all.sort((a, b) => closure.sizes[b]! - closure.sizes[a]!).slice(0, most);
    show();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && found.length > 0) {
      active = (active + (event.key === "ArrowDown" ? 1 : -1) + found.length) % found.length;
      show();
      event.preventDefault();
    } else if (event.key === "Enter") {
      const i = found[active] ?? (found.length === 1 ? found[0] : undefined);
      if (i !== undefined) take(closure.path(i));
      else if (input.value.startsWith(closure.storeDir + "/")) take(input.value.trim());
      event.preventDefault();
    }
  });
  input.addEventListener("blur", close);
  return h("div", { class: "picker" }, h("label", { for: id }, options.label), input, list);
}
