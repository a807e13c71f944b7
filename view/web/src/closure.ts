// The closure that the page shows, with an index for each path.
import { size } from "./text.ts";

// A Summary is the answer of /api/summary.
export interface Summary {
  name: string;
  storeDir: string;
  paths: number;
  narSize: number;
  hasClosure: boolean; // false if the page shows only the documentation
  hasRoots: boolean;
  hasBuilds: boolean;
  hasContents: boolean;
}

// A ClosureJSON is the answer of /api/closure.
export interface ClosureJSON {
  storeDir: string;
  paths: string[];
  narSizes: number[];
  addedSizes: number[];
  dominators: number[];
  self: number[];
  first: number[];
  references: number[];
  roots: number[];
}

// A SizesJSON is the answer of /api/sizes. It has null if the references have cycles.
export interface SizesJSON {
  closureSizes: number[] | null;
}

const hashLength = 32;

// nameOf returns the name in the last element of a store path: the part after the hash.
export function nameOf(base: string): string {
  return base.slice(hashLength + 1);
}

// baseOf returns the last element of a store path.
export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

// A Closure is the closure of the page. An index stands for each path, in the order of the last elements.
export class Closure {
  readonly storeDir: string;
  readonly bases: string[];
  readonly sizes: Float64Array;
  closureSizes: Float64Array | null = null; // null until they are known, and if the references have cycles
  sizesKnown = false;
  readonly addedSizes: Float64Array;
  readonly dominators: Int32Array; // the path that contains the added size of each path; -1 for none
  readonly roots: number[];
  private readonly first: Int32Array;
  private readonly references: Int32Array;
  private referrerFirst: Int32Array;
  private referrers: Int32Array;
  private dominatedBy: Map<number, number[]> | null = null;
  private lowerNames: string[] | null = null;

  constructor(json: ClosureJSON) {
    this.storeDir = json.storeDir;
    this.bases = json.paths;
    this.sizes = Float64Array.from(json.narSizes);
    this.addedSizes = Float64Array.from(json.addedSizes);
    this.dominators = Int32Array.from(json.dominators);
    this.roots = json.roots;
    this.first = Int32Array.from(json.first);
    this.references = Int32Array.from(json.references);
    [this.referrerFirst, this.referrers] = this.reverse();
  }

  setClosureSizes(json: SizesJSON): void {
    this.closureSizes = json.closureSizes && Float64Array.from(json.closureSizes);
    this.sizesKnown = true;
  }

  // closureSize returns the closure size of a path as text.
  closureSize(i: number): string {
    if (this.closureSizes) return size(this.closureSizes[i]!);
    return this.sizesKnown ? "unknown" : "\u2026";
  }

  get length(): number {
    return this.bases.length;
  }

  get referenceCount(): number {
    return this.references.length;
  }

  // reverse returns the opposite of the references.
  private reverse(): [Int32Array, Int32Array] {
    const first = new Int32Array(this.length + 1);
    for (const ref of this.references) first[ref + 1]!++;
    for (let i = 0; i < this.length; i++) first[i + 1]! += first[i]!;
    const next = first.slice();
    const referrers = new Int32Array(this.references.length);
    for (let i = 0; i < this.length; i++) {
      for (const ref of this.referencesOf(i)) referrers[next[ref]!++] = i;
    }
    return [first, referrers];
  }

  // referencesOf returns the paths to which a path refers, except itself.
  referencesOf(i: number): Int32Array {
    return this.references.subarray(this.first[i], this.first[i + 1]);
  }

  // referrersOf returns the paths that refer to a path, except itself.
  referrersOf(i: number): Int32Array {
    return this.referrers.subarray(this.referrerFirst[i], this.referrerFirst[i + 1]);
  }

  hash(i: number): string {
    return this.bases[i]!.slice(0, hashLength);
  }

  name(i: number): string {
    return nameOf(this.bases[i]!);
  }

  path(i: number): string {
    return `${this.storeDir}/${this.bases[i]!}`;
  }

  // dominated returns the paths whose dominator is a path; -1 is for those that have none.
  dominated(path: number): number[] {
    if (!this.dominatedBy) {
      this.dominatedBy = new Map();
      for (let i = 0; i < this.length; i++) {
        const above = this.dominators[i]!;
        const siblings = this.dominatedBy.get(above);
        if (siblings) siblings.push(i);
        else this.dominatedBy.set(above, [i]);
      }
    }
    return this.dominatedBy.get(path) ?? [];
  }

  // reaches reports whether a path needs another, directly or indirectly.
  reaches(from: number, to: number): boolean {
    const seen = new Uint8Array(this.length);
    seen[from] = 1;
    for (const todo = [from]; todo.length > 0; ) {
      for (const ref of this.referencesOf(todo.pop()!)) {
        if (ref === to) return true;
        if (!seen[ref]) {
          seen[ref] = 1;
          todo.push(ref);
        }
      }
    }
    return from === to;
  }

  // find returns the index of a path or of the last element of one, or -1. The elements are sorted.
  find(path: string): number {
    const base = baseOf(path);
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.bases[middle]! < base) low = middle + 1;
      else high = middle;
    }
    return this.bases[low] === base ? low : -1;
  }

  // require is find for a path in the address of a view, which a user may have typed or kept from another closure.
  require(path: string): number {
    const i = this.find(path);
    if (i < 0) throw new Error(`'${path}' is not in this closure. If the store has it, 'pix view' with this path shows it.`);
    return i;
  }

  // search returns the paths that contain each word of a text, in any case.
  search(text: string): Int32Array {
    this.lowerNames ??= this.bases.map((base) => base.toLowerCase());
    const words = text.toLowerCase().replaceAll(this.storeDir.toLowerCase() + "/", "").split(/\s+/).filter(Boolean);
    const found = new Int32Array(this.length);
    let n = 0;
    for (let i = 0; i < this.length; i++) {
      const name = this.lowerNames[i]!;
      if (words.every((word) => name.includes(word))) found[n++] = i;
    }
    return found.subarray(0, n);
  }
}
