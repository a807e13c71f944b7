package derivation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pix/derivation"
)

// bothTexts joins the pieces of the two texts.
func bothTexts(edits []derivation.Edit) (a, b string) {
	for _, e := range edits {
		if e.Kind != derivation.EditAdded {
			a += e.Text
		}
		if e.Kind != derivation.EditRemoved {
			b += e.Text
		}
	}
	return a, b
}

// spell formats edits as a line.
func spell(edits []derivation.Edit) string {
	var s strings.Builder
	for _, e := range edits {
		fmt.Fprintf(&s, "%c%s|", " =-+"[e.Kind], e.Text)
	}
	return s.String()
}

func TestDiffText(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"", "", ""},
		{"a", "a", "=a|"},
		{"", "a b", "+a b|"},
		{"a b", "", "-a b|"},
		{"a", "b", "-a|+b|"},
		{"hello-2.10", "hello-2.12.1", "=hello-|-2.10|+2.12.1|"},
		{"one two three", "one 2 three", "=one |-two|+2|= three|"},
		{"a\nb\nc\n", "a\nc\n", "=a\n|-b\n|=c\n|"},
		{"a b\nc d\ne f", "a b\nc D\ne f", "=a b\nc |-d|+D|=\ne f|"},
		{"--with-a --with-b --with-c", "--with-a --with-c --with-d", "=--with-a --with-|-b|+c|= --with-|-c|+d|"},
	} {
		if got := spell(derivation.DiffText(c.a, c.b)); got != c.want {
			t.Errorf("from %q to %q: %q, want %q", c.a, c.b, got, c.want)
		}
	}
}

// The time is not quadratic for texts that have nothing in common, or little in many places.
func TestDiffTextBounded(t *testing.T) {
	const size = 1 << 20
	words := func(word func(i int) string) string {
		var s strings.Builder
		for i := 0; s.Len() < size; i++ {
			s.WriteString(word(i))
		}
		return s.String()
	}
	for what, pair := range map[string][2]string{
		"nothing in common":    {words(func(i int) string { return fmt.Sprintf("a%d ", i) }), words(func(i int) string { return fmt.Sprintf("b%d ", i) })},
		"one word all over":    {words(func(i int) string { return "x " }), words(func(i int) string { return "x\n" })},
		"the halves exchanged": {strings.Repeat("a ", size/4) + strings.Repeat("b ", size/4), strings.Repeat("b ", size/4) + strings.Repeat("a ", size/4)},
		"every other line":     {words(func(i int) string { return fmt.Sprintf("%d a\n", i) }), words(func(i int) string { return fmt.Sprintf("%d %c\n", i, "ab"[i%2]) })},
	} {
		start := time.Now()
		a, b := bothTexts(derivation.DiffText(pair[0], pair[1]))
		if a != pair[0] || b != pair[1] {
			t.Errorf("%s: the edits do not form the texts", what)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: it took %v", what, took)
		}
	}
}

func FuzzDiffText(f *testing.F) {
	f.Add("hello-2.10", "hello-2.12.1")
	f.Add("a\nb\nc\n", "c\nb\na\n")
	f.Add("a b c d e f", "f e d c b a")
	f.Add("\xff\x00 é", "é\x00 \xff")
	f.Fuzz(func(t *testing.T, a, b string) {
		edits := derivation.DiffText(a, b)
		if gotA, gotB := bothTexts(edits); gotA != a || gotB != b {
			t.Errorf("from %q to %q: %s", a, b, spell(edits))
		}
		for i, e := range edits {
			if e.Text == "" || i > 0 && edits[i-1].Kind == e.Kind {
				t.Errorf("from %q to %q: piece %d of %s", a, b, i, spell(edits))
			}
		}
		if (a == b) != (len(edits) == 0 || len(edits) == 1 && edits[0].Kind == derivation.EditSame) {
			t.Errorf("from %q to %q: %s", a, b, spell(edits))
		}
	})
}
