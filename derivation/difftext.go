package derivation

import (
	"slices"
	"strings"

	"pix/nixbase32"
	"pix/storepath"
)

// An EditKind is the kind of an [Edit].
type EditKind uint8

// The kinds of edit. The zero value is invalid.
const (
	EditSame    EditKind = iota + 1 // the text is in both
	EditRemoved                     // the text is only in the first
	EditAdded                       // the text is only in the second
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

// An Edit is a piece of one or both of two texts.
type Edit struct {
	Kind EditKind
	Text string
}

// DiffText returns the edits from a to b, word by word. The pieces that are not added form a, and the pieces
// that are not removed form b. Neighbouring pieces have different kinds.
//
// It compares lines first, and then the words of lines that differ. The work is limited: if two texts have
// little in common, everything between their common prefix and suffix is removed and added as a whole.
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

// edits is a list of edits under construction.
type edits []Edit

// add appends a piece, or extends the previous one if it has the same kind.
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

// compare splits two texts, adds their common parts, and calls differ for the parts before, between and after
// them.
func (e *edits) compare(a, b string, split func(string) []string, differ func(a, b string)) {
	partsA, partsB := split(a), split(b)
	i, j := 0, 0
	for _, m := range append(commonParts(partsA, partsB), common{len(partsA), len(partsB), 0}) {
		onlyA, onlyB := concat(partsA[i:m.a]), concat(partsB[j:m.b])
		if onlyA != "" || onlyB != "" {
			differ(onlyA, onlyB)
		}
		e.add(EditSame, concat(partsA[m.a:m.a+m.n]))
		i, j = m.a+m.n, m.b+m.n
	}
}

func concat(parts []string) string { return strings.Join(parts, "") }

// splitLines returns the lines of s, each with its line feed.
func splitLines(s string) []string { return strings.SplitAfter(s, "\n") }

// splitWords returns the words of s: store paths, numbers with dots such as versions, runs of letters, digits and underscores,
// runs of spaces, and single other bytes. Bytes that are not ASCII count as letters.
func splitWords(s string) (words []string) {
	for len(s) > 0 {
		n := max(1, storePathLen(s))
		if n > 1 {
		} else if '0' <= s[0] && s[0] <= '9' {
			for n < len(s) && (wordClass(s[n]) == wordByte || s[n] == '.' && n+1 < len(s) && wordClass(s[n+1]) == wordByte) {
				n++
			}
		} else if class := wordClass(s[0]); class != otherByte {
			for n < len(s) && wordClass(s[n]) == class {
				n++
			}
		}
		words, s = append(words, s[:n]), s[n:]
	}
	return words
}

// storePathLen returns the length of the store path with which s begins, in any store directory of at most three parts; 0 if
// there is none.
func storePathLen(s string) int {
	const most = 3 // parts
	at := 0
	for parts := 0; parts <= most && at < len(s) && s[at] == '/'; parts++ {
		base := s[at+1:]
		if n := storepath.HashPartLen; len(base) > n && base[n] == '-' && nixbase32.IsDigits(base[:n]) {
			for n < len(base) && isNameByte(base[n]) {
				n++
			}
			return at + 1 + n
		}
		next := 0
		for next < len(base) && isNameByte(base[next]) {
			next++
		}
		at += 1 + next
	}
	return 0
}

// isNameByte reports whether the name of a store path may contain c.
func isNameByte(c byte) bool {
	return c < 0x80 && wordClass(c) == wordByte || strings.IndexByte("+-.?=", c) >= 0
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

// A common is a common part of two lists: n elements from a on in one list, and from b on in the other.
type common struct{ a, b, n int }

// commonParts returns the common parts of two lists, in order.
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

// Limits of shortestEdit.
const (
	maxEdits       = 500
	maxComparisons = 4 << 20
)

// shortestEdit returns the common parts of two lists that make the rest of both as short as possible. It
// returns nil if the rest is long. The algorithm is from Eugene Myers, "An O(ND) Difference Algorithm and Its
// Variations".
//
// It proceeds from the start of both lists to their ends. On diagonal k it has passed k elements more of a
// than of b. reach[k] is the largest number of elements of a that it can have passed there with the current
// number of edits.
func shortestEdit(a, b []string) []common {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	reach := make([]int32, 2*maxEdits+3)
	const middle = maxEdits + 1 // the index of diagonal 0
	var history [][]int32       // reach before each round
	comparisons := 0
	for edits := 0; edits <= maxEdits && comparisons < maxComparisons; edits++ {
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
				return backtrack(history, a, b)
			}
		}
	}
	return nil
}

// step returns the reach on the diagonal at index i after one more edit: from the diagonal after it by adding an
// element, or from the diagonal before it by removing one.
func step(reach []int32, i int, lowest, highest bool) int {
	if lowest || !highest && reach[i-1] < reach[i+1] {
		return int(reach[i+1])
	}
	return int(reach[i-1]) + 1
}

// backtrack goes from the ends of both lists to their starts, and returns the common parts on the way.
func backtrack(history [][]int32, a, b []string) []common {
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
	slices.Reverse(parts)
	return parts
}
