package explain_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pix/explain"
)

// Many causes of one kind are counted, with examples. The full text has each of them.
func TestRebuildGroups(t *testing.T) {
	f := fakePackages{t, texts{}}
	var inputs []explain.Drv
	for i := range 40 {
		inputs = append(inputs, f.add(fmt.Sprintf("in%d-x", i), "1"))
	}
	old, current := f.add("tool", "1", inputs[:2]...), f.add("tool", "2", inputs[2:]...)
	r, err := explain.WhyRebuilt(t.Context(), old, current)
	if err != nil {
		t.Fatal(err)
	}
	text := string(r.AppendText(nil, nil))
	full := string(r.AppendText(nil, &explain.TextOptions{Full: true}))
	for _, want := range []string{
		fmt.Sprintf("causes: %d\n", len(r.Causes)), ". variable version of tool\n   - 1\n   + 2\n", ". input in0-x of tool\n", ". input in1-x of tool\n",
		". added inputs: 38\n   - input in10-x of tool\n", "\n   - and 35 more\n", ". added variables: 36\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not contain %q:\n%s", want, text)
		}
	}
	if strings.Contains(full, "more\n") || strings.Count(full, ". input in") != 40 || strings.Count(text, "input in") != 5 || strings.Contains(text, "8. ") {
		t.Errorf("the short text:\n%s\nthe full text:\n%s", text, full)
	}
}

// --affects prints the beginning of long lists.
func TestInfluenceText(t *testing.T) {
	f := fakePackages{t, texts{}}
	var inputs []explain.Drv
	for i := range 40 {
		inputs = append(inputs, f.add(fmt.Sprintf("in%d-x", i), "1"))
	}
	i, err := explain.Affects(t.Context(), f.add("tool", "1", inputs...))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(i.AppendText(nil, nil)); strings.Count(text, ".drv\n") != 25 || !strings.HasSuffix(text, "changes its outputs: 41\n"+text[strings.Index(text, "   "):]) ||
		!strings.HasSuffix(text, "\n   - and 17 more\n") {
		t.Errorf("the text is %s", text)
	}
	if text := string(i.AppendText(nil, &explain.TextOptions{Full: true})); strings.Count(text, ".drv\n") != 42 {
		t.Errorf("the full text is %s", text)
	}
}

// Sentences are wrapped, and values are not. Without the line breaks the text is the same, with and without colours.
func TestWrappedText(t *testing.T) {
	f := fakePackages{t, texts{}}
	e := explainDrv(t, f, f.add("tool", "1", f.add("lib", "1")).Path)
	e.Problems = []string{strings.Repeat("wide words and ", 10)}
	joined := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	wide := string(e.AppendText(nil, nil))
	narrow := string(e.AppendText(nil, &explain.TextOptions{Columns: 50}))
	if joined(wide) != joined(narrow) || wide == narrow {
		t.Errorf("the narrow text is %s", narrow)
	}
	why := 0
	for line := range strings.Lines(narrow) {
		for i := range e.Steps {
			if strings.HasPrefix(strings.TrimSpace(line), firstWords(e.Steps[i].Why)) {
				why++
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 50 {
					t.Errorf("a sentence has a line of %d columns: %s", n, line)
				}
				break
			}
		}
		if strings.HasPrefix(line, "problem: ") && len(line) > 51 {
			t.Errorf("a problem has a long line: %s", line)
		}
	}
	if why != len(e.Steps) || !strings.Contains(narrow, "\n   = "+string(e.Steps[len(e.Steps)-1].Result)+"\n") {
		t.Errorf("%d of %d sentences, or no result, in %s", why, len(e.Steps), narrow)
	}
	colored := string(e.AppendText(nil, &explain.TextOptions{Columns: 50, Color: true}))
	for _, code := range []string{"1", "2", "31", "32", "36", "0"} {
		colored = strings.ReplaceAll(colored, "\x1b["+code+"m", "")
	}
	if colored != narrow {
		t.Errorf("without its colours the text is %s\nwant %s", colored, narrow)
	}
}

func firstWords(s string) string { return strings.Join(strings.Fields(s)[:4], " ") }
