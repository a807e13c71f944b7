package derivation

import "strings"

// An EditKind says what an [Edit] does with its text.
type EditKind uint8

// The kinds of edit. The zero value is none of them.
const (
	EditSame    EditKind = iota + 1 // the text is in both
	EditRemoved                     // it is only in the first
	EditAdded                       // it is only in the second
)

// String returns "same", "removed" or "added".
func (k EditKind) String() string {
	switch k {
	case EditSame:
		return "same"
	case EditRemoved:
		return "removed"
	case EditAdded:
		return "added"
	}
	return "none"
}

// An Edit is a piece of one text or both.
type Edit struct {
	Kind EditKind
	Text string
}

// DiffText returns how to make b of a, word by word. The pieces that are not added make
// up a, and those that are not removed make up b; neighbours are of different kinds.
//
// Lines are compared first, and then the words of those that differ. The work is
// bounded: where two texts have little in common, what is between their common
// beginning and end is removed and added as a whole.
func DiffText(a, b string) []Edit {
	var e edits
	e.compare(a, b, splitLines, func(a, b string) {
		e.compare(a, b, splitWords, func(a, b string) {
			e.add(EditRemoved, a)
			e.add(EditAdded, b)
		})
	})
	return e
}

// edits are collected one by one.
type edits []Edit

// add appends a piece, to the one before it if that is of the same kind.
func (e *edits) add(kind EditKind, text string) {
	if text == "" {
		return
	}
	if n := len(*e); n > 0 && (*e)[n-1].Kind == kind {
		(*e)[n-1].Text += text
		return
	}
	*e = append(*e, Edit{kind, text})
}

// compare splits two texts, adds what they have in common, and calls differ for what
// stands before, between and after that.
func (e *edits) compare(a, b string, split func(string) []string, differ func(a, b string)) {
	partsA, partsB := split(a), split(b)
	i, j := 0, 0
	for _, m := range append(commonParts(partsA, partsB), common{len(partsA), len(partsB), 0}) {
		goneA, goneB := concat(partsA[i:m.a]), concat(partsB[j:m.b])
		if goneA != "" || goneB != "" {
			differ(goneA, goneB)
		}
		e.add(EditSame, concat(partsA[m.a:m.a+m.n]))
		i, j = m.a+m.n, m.b+m.n
	}
}

func concat(parts []string) string { return strings.Join(parts, "") }

// splitLines returns the lines of s, each with its line feed.
func splitLines(s string) []string { return strings.SplitAfter(s, "\n") }

// splitWords returns the words of s: runs of letters, digits and underscores; runs of
// spaces; and other bytes alone. What is not ASCII counts as letters.
func splitWords(s string) (words []string) {
	for len(s) > 0 {
		n := 1
		if class := wordClass(s[0]); class != otherByte {
			for n < len(s) && wordClass(s[n]) == class {
				n++
			}
		}
		words, s = append(words, s[:n]), s[n:]
	}
	return words
}

const (
	otherByte = iota
	wordByte
	spaceByte
)

func wordClass(c byte) int {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c >= 0x80:
		return wordByte
	case c == ' ':
		return spaceByte
	}
	return otherByte
}

// A common says that n elements of one list, from a on, are those of another from b on.
type common struct{ a, b, n int }

// commonParts returns what two lists have in common, in order.
func commonParts(a, b []string) []common {
	before := 0
	for before < len(a) && before < len(b) && a[before] == b[before] {
		before++
	}
	a, b = a[before:], b[before:]
	after := 0
	for after < len(a) && after < len(b) && a[len(a)-1-after] == b[len(b)-1-after] {
		after++
	}
	parts := []common{{0, 0, before}}
	for _, m := range shortestEdit(a[:len(a)-after], b[:len(b)-after]) {
		parts = append(parts, common{before + m.a, before + m.b, m.n})
	}
	return append(parts, common{before + len(a) - after, before + len(b) - after, after})
}

// Bounds of shortestEdit: how many elements may be removed and added, and how many
// may be compared.
const (
	mostEdits       = 500
	mostComparisons = 4 << 20
)

// shortestEdit returns what two lists have in common, so that the rest of both is as
// little as possible; nil if that is much. The algorithm is that of Eugene Myers, "An
// O(ND) Difference Algorithm and Its Variations".
//
// It goes from the beginnings of both lists to their ends. Diagonal k is where it has
// passed k elements more of a than of b; reach[k] is how many of a it can have passed
// there with so many edits.
func shortestEdit(a, b []string) []common {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	reach := make([]int32, 2*mostEdits+3)
	const middle = mostEdits + 1 // the index of diagonal 0
	var history [][]int32        // reach before each round
	comparisons := 0
	for edits := 0; edits <= mostEdits && comparisons < mostComparisons; edits++ {
		history = append(history, append([]int32(nil), reach[middle-edits-1:middle+edits+2]...))
		for k := -edits; k <= edits; k += 2 {
			x := step(reach[middle-edits-1:], k+edits+1, k == -edits, k == edits)
			start := x
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			comparisons += x - start + 1
			reach[middle+k] = int32(x)
			if x >= len(a) && x-k >= len(b) {
				return wayBack(history, a, b)
			}
		}
	}
	return nil
}

// step returns how far one comes on the diagonal at index i with one edit more: by
// adding an element, coming from the diagonal after it, or by removing one, coming from
// that before it.
func step(reach []int32, i int, lowest, highest bool) int {
	if lowest || !highest && reach[i-1] < reach[i+1] {
		return int(reach[i+1])
	}
	return int(reach[i-1]) + 1
}

// wayBack goes from the ends of both lists back to their beginnings, and returns what it
// passes that is common.
func wayBack(history [][]int32, a, b []string) []common {
	var parts []common
	x, y := len(a), len(b)
	for edits := len(history) - 1; edits >= 0; edits-- {
		reach, k := history[edits], x-y
		i := k + edits + 1
		from := 0
		if edits > 0 {
			from = step(reach, i, k == -edits, k == edits)
		}
		if x > from {
			parts = append(parts, common{from, from - k, x - from})
		}
		if edits == 0 {
			break
		}
		x = from
		if k == -edits || k != edits && reach[i-1] < reach[i+1] {
			y = x - k - 1 // an element of b was added
		} else {
			y = x - k
			x--
		}
	}
	for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
		parts[i], parts[j] = parts[j], parts[i]
	}
	return parts
}
