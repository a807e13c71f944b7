// Finding the point near a place: a grid of cells with the points in each.

export class Nearest {
  private readonly columns: number;
  private readonly rows: number;
  private readonly first: Int32Array;
  private readonly points: Int32Array;
  private readonly left: number;
  private readonly top: number;

  constructor(
    private readonly x: Float32Array,
    private readonly y: Float32Array,
    private readonly cell: number,
    private readonly maxRadius: number,
  ) {
    const [minX, maxX] = range(x);
    const [minY, maxY] = range(y);
    this.left = minX;
    this.top = minY;
    this.columns = Math.floor((maxX - minX) / cell) + 1;
    this.rows = Math.floor((maxY - minY) / cell) + 1;
    this.first = new Int32Array(this.columns * this.rows + 1);
    for (let i = 0; i < x.length; i++) this.first[this.cellOf(i) + 1]!++;
    for (let c = 0; c + 1 < this.first.length; c++) this.first[c + 1]! += this.first[c]!;
    const next = this.first.slice();
    this.points = new Int32Array(x.length);
    for (let i = 0; i < x.length; i++) this.points[next[this.cellOf(i)]!++] = i;
  }

  private cellOf(i: number): number {
    return Math.floor((this.y[i]! - this.top) / this.cell) * this.columns + Math.floor((this.x[i]! - this.left) / this.cell);
  }

  // find returns the point with the smallest distance to a place, less its radius; -1 if none is within the distance.
  find(x: number, y: number, distance: number, radii: Float32Array): number {
    let best = -1;
    let least = distance;
    const reach = distance + this.maxRadius;
    const fromRow = Math.max(0, Math.floor((y - reach - this.top) / this.cell));
    const toRow = Math.min(this.rows - 1, Math.floor((y + reach - this.top) / this.cell));
    const fromColumn = Math.max(0, Math.floor((x - reach - this.left) / this.cell));
    const toColumn = Math.min(this.columns - 1, Math.floor((x + reach - this.left) / this.cell));
    for (let row = fromRow; row <= toRow; row++) {
      const from = this.first[row * this.columns + fromColumn]!;
      const to = this.first[row * this.columns + toColumn + 1]!;
      for (let k = from; k < to; k++) {
        const i = this.points[k]!;
        // A small point on a large one wins, because it is drawn above it.
        const away = Math.hypot(this.x[i]! - x, this.y[i]! - y);
        if (away > radii[i]! + distance) continue;
        if (away < least || (best >= 0 && away <= radii[i]! && radii[i]! < radii[best]!)) {
          best = i;
          least = Math.min(least, away);
        } else if (best < 0) {
          best = i;
        }
      }
    }
    return best;
  }
}

function range(numbers: Float32Array): [number, number] {
  let least = Infinity;
  let most = -Infinity;
  for (const n of numbers) {
    if (n < least) least = n;
    if (n > most) most = n;
  }
  return numbers.length > 0 ? [least, most] : [0, 0];
}
