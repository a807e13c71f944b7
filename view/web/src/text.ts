// Texts for people.

// visible returns an untrusted text with its invisible characters as escapes: control characters, and characters that
// change the direction of a text or have no width. With them, a name could look like another one.
export function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (c) => {
    if (c === "\n") return "\\n";
    if (c === "\t") return "\\t";
    return `\\u{${c.codePointAt(0)!.toString(16)}}`;
  });
}

// visibleLines is visible for a text of several lines.
export function visibleLines(text: string): string {
  return text.split("\n").map(visible).join("\n");
}

// errorText returns the message of an error, which may repeat texts of the store.
export function errorText(error: unknown): string {
  return visible(error instanceof Error ? error.message : String(error));
}

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

// size returns a number of bytes with a unit, as the verbs print it.
export function size(bytes: number): string {
  let unit = 0;
  let n = Math.abs(bytes);
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  const digits = unit === 0 ? 0 : 1;
  return `${bytes < 0 ? "\u2212" : ""}${n.toFixed(digits)} ${units[unit]}`;
}

// signedSize is size with a sign.
export function signedSize(bytes: number): string {
  return bytes > 0 ? "+" + size(bytes) : size(bytes);
}

const wholeNumber = new Intl.NumberFormat("en");

export function count(n: number): string {
  return wholeNumber.format(n);
}

// counted returns a number and a noun.
export function counted(n: number, noun: string, plural = noun + "s"): string {
  return `${count(n)} ${n === 1 ? noun : plural}`;
}
