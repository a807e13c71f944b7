// Addresses within the page: #/VIEW/PATH?KEY=VALUE.

export interface Route {
  view: string;
  path: string; // the last element of a store path, or ""
  query: URLSearchParams;
}

export function currentRoute(): Route {
  const [place = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", path = ""] = place.split("/", 2);
  return { view: view || "paths", path: decode(path), query: new URLSearchParams(query) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// address returns the address of a view.
export function address(view: string, path = "", query: Record<string, string> = {}): `#${string}` {
  const parameters = new URLSearchParams(query).toString();
  return `#/${view}${path ? "/" + encodeURIComponent(path) : ""}${parameters ? "?" + parameters : ""}`;
}

export function go(to: `#${string}`): void {
  location.hash = to;
}
