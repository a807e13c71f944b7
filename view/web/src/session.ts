// The right to read. The address that opens the page has a token in its fragment, which is exchanged once for a bearer.
// The bearer stays in the storage of the tab: no other site can read it there, and it is gone when the tab is closed.

const bearerKey = "bearer";

// A ServerState says whether the server answers this page: it does; it does not; or it is another one, which does not know the
// bearer.
export type ServerState = "answers" | "silent" | "other";

let report: (state: ServerState) => void = () => {};

// onServerState sets the function that gets the state after each request.
export function onServerState(listener: (state: ServerState) => void): void {
  report = listener;
}

// A ServerError is an error that the server has reported.
export class ServerError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

// startSession exchanges the token in the address, if there is one. The token leaves the address and the history. The address
// of a view may follow it.
export async function startSession(): Promise<void> {
  const [, token, route] = /^#token=([A-Za-z0-9]+)(\/.*)?$/.exec(location.hash) ?? [];
  if (!token) return;
  history.replaceState(null, "", `/#${route ?? "/"}`);
  const response = await fetch("/api/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ token }),
  });
  await check(response);
  const { bearer } = (await response.json()) as { bearer: string };
  sessionStorage.setItem(bearerKey, bearer);
}

async function check(response: Response): Promise<void> {
  if (response.ok) return;
  let message = `the server answered with the status ${response.status}`;
  try {
    const { error } = (await response.json()) as { error?: unknown };
    if (typeof error === "string") message = error;
  } catch {
    // The answer is not from this server.
  }
  throw new ServerError(response.status, message);
}

// request sends a GET request with the bearer.
export async function request(path: string, parameters: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
  const query = new URLSearchParams(parameters).toString();
  let response: Response;
  try {
    response = await fetch(`/api/${path}${query ? "?" + query : ""}`, {
      headers: { Authorization: `Bearer ${sessionStorage.getItem(bearerKey) ?? ""}` },
      signal: signal ?? null,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    report("silent");
    throw new ServerError(0, "the program that serves this page does not answer; it may have been stopped in its terminal");
  }
  report(response.status === 401 ? "other" : "answers");
  await check(response);
  return response;
}

// getJSON returns the value of a resource.
export async function getJSON<T>(path: string, parameters: Record<string, string> = {}, signal?: AbortSignal): Promise<T> {
  return (await (await request(path, parameters, signal)).json()) as T;
}
