// The documentation of pix, with a search.
import { h, replace, type Child } from "../dom.ts";
import { address, type Route } from "../route.ts";
import { getJSON } from "../session.ts";
import { counted, errorText, visible } from "../text.ts";
import type { Context, View } from "../view.ts";

interface PageJSON {
  name: string;
  part: string;
  title: string;
  summary: string;
}

interface MatchJSON {
  page: string;
  anchor: string;
  title: string;
  excerpt: string;
}

// A DocsNode is a text or an element.
type DocsNode = string | { tag: string; id?: string; href?: string; children?: DocsNode[] };

export const docs: View = {
  name: "docs",
  title: "Docs",
  inTabs: true,
  available: (context) => context.live,
  async show(main: HTMLElement, _context: Context, route: Route, signal: AbortSignal): Promise<void> {
    const article = h("article", { class: "docs-page", id: "docs-page", "aria-label": "Page" });
    const contents = h("nav", { class: "docs-contents", "aria-label": "Pages" });
    // In a narrow window the list is above the page, and would hide it. The label of the list opens it there.
    const narrow = matchMedia("(max-width: 720px)");
    const fold = h("details", { class: "docs-fold" }, h("summary", {}, "Pages"), contents);
    const setFold = (): void => void (fold.open = !narrow.matches);
    setFold();
    narrow.addEventListener("change", setFold, { signal });
    const search = h("input", {
      type: "search",
      placeholder: "Search the documentation",
      "aria-label": "Search the documentation",
      spellcheck: "false",
      autocomplete: "off",
      value: route.query.get("q") ?? "",
    });
    replace(main, h("div", { class: "docs" }, h("aside", { class: "docs-side" }, h("div", { role: "search", "aria-label": "Documentation" }, search), fold), article));
    const pages = await getJSON<PageJSON[]>("docs", {}, signal);
    replace(contents, ...list(pages, route.path));
    const finder = new Finder(article, pages, signal);
    search.addEventListener("input", () => {
      history.replaceState(null, "", address("docs", "", search.value ? { q: search.value } : {}));
      replace(contents, ...list(pages, ""));
      void finder.find(search.value);
    });
    if (route.path !== "") await showPage(article, route, signal);
    else await finder.find(search.value);
  },
};

// A Finder shows the sections that a search finds. Only the last of several searches is shown.
class Finder {
  private last = new AbortController();

  constructor(
    private readonly article: HTMLElement,
    private readonly pages: PageJSON[],
    private readonly leave: AbortSignal,
  ) {}

  async find(words: string): Promise<void> {
    this.last.abort();
    this.last = new AbortController();
    const { signal } = this.last;
    if (words.trim() === "") {
      replace(this.article, ...overview(this.pages));
      return;
    }
    try {
      const matches = await getJSON<MatchJSON[]>("docs", { q: words }, AbortSignal.any([signal, this.leave]));
      replace(this.article, ...found(matches, this.pages));
    } catch (error) {
      if (signal.aborted || this.leave.aborted) return;
      replace(this.article, h("p", { class: "failed", role: "alert" }, errorText(error)));
    }
  }
}

function found(matches: MatchJSON[], pages: PageJSON[]): Child[] {
  const titles = new Map(pages.map((p) => [p.name, p.title]));
  return [
    h("p", { class: "muted", role: "status" }, matches.length > 0 ? `${counted(matches.length, "section")}, the best ones first` : "No section has any of these words."),
    h(
      "ul",
      { class: "docs-found" },
      ...matches.map((m) => h("li", {}, h("a", { href: address("docs", m.page, { at: m.anchor }) }, m.title), h("span", { class: "muted" }, ` ${titles.get(m.page) ?? m.page}`), h("p", {}, visible(m.excerpt)))),
    ),
  ];
}

// byPart returns the pages of each part, in reading order.
function byPart(pages: PageJSON[]): [string, PageJSON[]][] {
  const parts = new Map<string, PageJSON[]>();
  for (const p of pages) parts.set(p.part, [...(parts.get(p.part) ?? []), p]);
  return [...parts];
}

function list(pages: PageJSON[], current: string): Child[] {
  return byPart(pages).flatMap(([part, of]) => [
    h("h2", {}, part),
    h("ul", {}, ...of.map((p) => h("li", {}, h("a", { href: address("docs", p.name), title: p.summary, "aria-current": p.name === current ? "page" : undefined }, p.title)))),
  ]);
}

function overview(pages: PageJSON[]): Child[] {
  return [
    h("h1", {}, "Documentation of pix"),
    h("p", { class: "explanation" }, "The pages can be read in this order without knowing Nix."),
    ...byPart(pages).flatMap(([part, of]) => [h("h2", {}, part), h("ul", {}, ...of.map((p) => h("li", {}, h("a", { href: address("docs", p.name) }, p.title), h("span", { class: "muted" }, ` ${p.summary}`))))]),
  ];
}

async function showPage(article: HTMLElement, route: Route, signal: AbortSignal): Promise<void> {
  const page = await getJSON<PageJSON & { contents: DocsNode[] }>("docs", { page: route.path }, signal);
  document.title = `${page.title} \u2013 pix docs`;
  replace(article, ...page.contents.map(node));
  const at = route.query.get("at");
  const target = at ? document.getElementById("docs-" + at) : null;
  if (target) target.scrollIntoView();
  else article.closest("main")!.scrollTop = 0;
}

// allowed are the elements of a page. Of any other element only the children are shown.
const allowed = new Set(["h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "del", "br", "hr", "table", "thead", "tbody", "tr", "th", "td"] as const);
type Allowed = typeof allowed extends Set<infer T> ? T : never;

function isAllowed(tag: string): tag is Allowed {
  return (allowed as Set<string>).has(tag);
}

function node(n: DocsNode): Child {
  if (typeof n === "string") return n;
  const children = (n.children ?? []).map(node);
  if (n.tag === "a") return link(n.href ?? "", children);
  if (n.tag === "table") return h("div", { class: "wide" }, h("table", { class: "plain" }, ...children));
  return isAllowed(n.tag) ? h(n.tag, n.id ? { id: n.id, tabindex: -1 } : {}, ...children) : h("span", {}, ...children);
}

// link returns a link to another page, or to another site if the address has one of these schemes.
function link(href: string, children: Child[]): Child {
  if (href.startsWith("#/docs/")) return h("a", { href: href as `#${string}` }, ...children);
  if (/^https?:/.test(href)) return h("a", { href: href as `https:${string}`, rel: "noopener noreferrer", target: "_blank" }, ...children);
  return h("span", {}, ...children);
}
