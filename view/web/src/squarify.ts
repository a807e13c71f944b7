// Rectangles whose areas are proportional to numbers, as square as possible (Bruls, Huizing and van Wijk, "Squarified
// Treemaps", 2000).

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

// squarify divides a rectangle. The values are positive, and sorted with the largest one first.
export function squarify(values: readonly number[], into: Rect): Rect[] {
  const total = values.reduce((sum, value) => sum + value, 0);
  const scale = total > 0 ? (into.width * into.height) / total : 0;
  const rects: Rect[] = [];
  let { x, y, width, height } = into;
  for (let at = 0; at < values.length; ) {
    const side = Math.min(width, height);
    let end = at;
    let area = 0;
    let worst = Infinity;
    // A row takes more values while its worst rectangle gets more square.
    while (end < values.length) {
      const next = area + values[end]! * scale;
      const ratio = worstRatio(values[at]! * scale, values[end]! * scale, next, side);
      if (ratio > worst) break;
      [worst, area] = [ratio, next];
      end++;
    }
    const thickness = side > 0 ? area / side : 0;
    let offset = 0;
    for (; at < end; at++) {
      const length = thickness > 0 ? (values[at]! * scale) / thickness : 0;
      rects.push(width <= height ? { x: x + offset, y, width: length, height: thickness } : { x, y: y + offset, width: thickness, height: length });
      offset += length;
    }
    if (width <= height) [y, height] = [y + thickness, Math.max(0, height - thickness)];
    else [x, width] = [x + thickness, Math.max(0, width - thickness)];
  }
  return rects;
}

// worstRatio returns the largest ratio of the sides in a row with this area.
function worstRatio(largest: number, smallest: number, area: number, side: number): number {
  if (area === 0 || smallest === 0) return Infinity;
  const square = area * area;
  return Math.max((side * side * largest) / square, square / (side * side * smallest));
}
