// Building elements. Texts only ever become text nodes and attributes of a short list, so a name or a log line cannot
// become markup. Nothing else in the sources creates elements.

export type Child = Node | string | number | null | undefined | false;

// Attributes are the attributes that the page sets. There is no attribute whose value a browser runs.
export interface Attributes {
  class?: string;
  id?: string;
  title?: string;
  type?: "button" | "search" | "checkbox" | "radio" | "range" | "text";
  name?: string;
  value?: string;
  placeholder?: string;
  href?: `#${string}` | `https:${string}` | `http:${string}` | "/licences.txt";
  rel?: "noopener noreferrer";
  target?: "_blank";
  for?: string;
  role?: string;
  tabindex?: number;
  hidden?: boolean;
  disabled?: boolean;
  checked?: boolean;
  open?: boolean;
  spellcheck?: "false";
  autocomplete?: "off";
  list?: string;
  min?: number;
  max?: number;
  dir?: "auto" | "ltr";
  scope?: "col" | "row";
  [aria: `aria-${string}`]: string | number | boolean | undefined;
  on?: Partial<{ [E in keyof HTMLElementEventMap]: (event: HTMLElementEventMap[E]) => void }>;
}

// h returns an element. false, null and undefined are left out.
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value as object)) element.addEventListener(event, listener as EventListener);
    } else if (name.startsWith("aria-") && typeof value === "boolean") {
      element.setAttribute(name, String(value));
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== undefined && value !== false) {
      element.setAttribute(name, String(value));
    }
  }
  append(element, children);
  return element;
}

// append appends children, numbers and strings as text.
export function append(parent: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(typeof child === "number" ? String(child) : child);
  }
}

// replace replaces the children of an element.
export function replace(parent: Element, ...children: Child[]): void {
  parent.replaceChildren();
  append(parent, children);
}

const svgNamespace = "http://www.w3.org/2000/svg";

// svg returns an element of an image.
export function svg<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Record<string, string | number> = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  const element = document.createElementNS(svgNamespace, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  append(element, children);
  return element;
}
