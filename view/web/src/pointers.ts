// Moving and zooming a plane with a mouse, fingers or keys.
import type { Camera } from "./webgl.ts";

export interface PointersOptions {
  camera: Camera;
  least: () => number; // the smallest scale
  moved: () => void; // the camera has changed
  hover: (x: number, y: number) => void; // in pixels of the element
  pick: (x: number, y: number) => void;
  signal: AbortSignal;
}

const most = 120; // pixels per unit
const keyStep = 60; // pixels

// trackPointers moves the camera, and reports hovering and clicks.
export function trackPointers(element: HTMLElement, options: PointersOptions): void {
  const { camera, signal } = options;
  const down = new Map<number, { x: number; y: number }>();
  let travelled = 0;
  const place = (event: MouseEvent) => {
    const { left, top } = element.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  };
  const zoom = (factor: number, at: { x: number; y: number }) => {
    const scale = Math.max(options.least(), Math.min(most, camera.scale * factor));
    const [dx, dy] = [at.x - element.clientWidth / 2, at.y - element.clientHeight / 2];
    camera.x += dx / camera.scale - dx / scale;
    camera.y += dy / camera.scale - dy / scale;
    camera.scale = scale;
    options.moved();
  };
  const on = <E extends keyof HTMLElementEventMap>(name: E, listener: (event: HTMLElementEventMap[E]) => void, passive = true) => element.addEventListener(name, listener, { signal, passive });

  on("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    down.set(event.pointerId, place(event));
    if (down.size === 1) travelled = 0;
  });
  on("pointermove", (event) => {
    const at = place(event);
    const before = down.get(event.pointerId);
    if (!before) {
      options.hover(at.x, at.y);
      return;
    }
    const others = [...down].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
    down.set(event.pointerId, at);
    travelled += Math.abs(at.x - before.x) + Math.abs(at.y - before.y);
    const part = 1 / down.size;
    camera.x -= ((at.x - before.x) * part) / camera.scale;
    camera.y -= ((at.y - before.y) * part) / camera.scale;
    const other = others[0];
    if (other) {
      const distance = (p: { x: number; y: number }) => Math.hypot(p.x - other.x, p.y - other.y);
      zoom(distance(at) / Math.max(1, distance(before)), { x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
    }
    options.moved();
  });
  const end = (event: PointerEvent) => {
    if (!down.delete(event.pointerId)) return;
    if (event.type === "pointerup" && down.size === 0 && travelled < 6) {
      const at = place(event);
      options.pick(at.x, at.y);
    }
  };
  on("pointerup", end);
  on("pointercancel", end);
  on(
    "wheel",
    (event) => {
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      zoom(Math.exp(-event.deltaY * lines * 0.0015), place(event));
    },
    false,
  );
  on(
    "keydown",
    (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const middle = { x: element.clientWidth / 2, y: element.clientHeight / 2 };
      const moves: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      const move = moves[event.key];
      if (move) {
        camera.x += (move[0] * keyStep) / camera.scale;
        camera.y += (move[1] * keyStep) / camera.scale;
        options.moved();
      } else if (event.key === "+" || event.key === "=") zoom(1.3, middle);
      else if (event.key === "-") zoom(1 / 1.3, middle);
      else return;
      event.preventDefault();
    },
    false,
  );
}
