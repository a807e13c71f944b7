// The widths of texts in pictures.

// textMeasure returns a function for the width of a text in the font of the page, in pixels.
export function textMeasure(): (text: string, fontSize: number) => number {
  const canvas = document.createElement("canvas").getContext("2d");
  const family = getComputedStyle(document.body).fontFamily;
  return (text, fontSize) => {
    if (!canvas) return text.length * fontSize * 0.6;
    canvas.font = `${fontSize}px ${family}`;
    return Math.ceil(canvas.measureText(text).width);
  };
}

// shortened returns the longest beginning of a text that fits, with an ellipsis, or "" if hardly anything fits.
export function shortened(text: string, room: number, width: (text: string) => number): string {
  if (width(text) <= room) return text;
  let [low, high] = [0, text.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (width(text.slice(0, middle) + "\u2026") <= room) low = middle;
    else high = middle - 1;
  }
  return low >= 3 ? text.slice(0, low) + "\u2026" : "";
}
