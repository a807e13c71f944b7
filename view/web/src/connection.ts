// Says so when the server of the page has gone, which can be long before the next view asks it something.
import { h, replace } from "./dom.ts";
import { onServerState, request, type ServerState } from "./session.ts";

const interval = 10_000; // milliseconds between two checks of a page in sight

const messages: Record<ServerState, string> = {
  answers: "",
  silent: "The program that serves this page does not answer. It may have been stopped in its terminal. The page shows what it has loaded, and goes on when the program answers.",
  other: "This page must be opened again, because its program was restarted. Use the address that the new one prints.",
};

// connection returns an element that shows why the server does not answer. back is called when it answers again.
export function connection(back: () => void): HTMLElement {
  const element = h("div", { role: "status" });
  let last: ServerState = "answers";
  onServerState((state) => {
    if (state === last) return;
    const before = last;
    last = state;
    replace(element, state !== "answers" && h("p", { class: "banner" }, messages[state]));
    if (state === "answers" && before !== "answers") back();
  });
  const check = () => {
    if (document.visibilityState === "visible") request("summary").catch(() => {}); // the state is reported
  };
  setInterval(check, interval);
  addEventListener("visibilitychange", check);
  return element;
}
