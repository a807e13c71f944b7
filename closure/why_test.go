package closure

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pix/store"
	"pix/storepath"
)

func TestWhy(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "abc", "b": "d", "c": "e", "d": "e", "e": "f", "f": "", "g": "a"})
	for _, test := range []struct {
		from, to storepath.Path
		want     string
	}{
		{"a", "e", "[a c e]"},
		{"a", "a", "[a]"},
		{"g", "f", "[g a c e f]"},
		{"e", "a", "[]"},
		{"a", "absent", "[]"},
		{"absent", "a", "[]"},
	} {
		if got := fmt.Sprint(c.Why(test.from, test.to)); got != test.want {
			t.Errorf("Why(%s, %s) = %s, want %s", test.from, test.to, got, test.want)
		}
	}
}

func TestBetween(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "abc", "b": "d", "c": "e", "d": "e", "e": "f", "f": "", "g": "e", "x": "f"})
	for _, test := range []struct {
		from, to storepath.Path
		want     string
	}{
		{"a", "e", "[{a b} {a c} {b d} {c e} {d e}]"},
		{"b", "f", "[{b d} {d e} {e f}]"},
		{"e", "a", "[]"},
		{"a", "a", "[]"},
		{"a", "absent", "[]"},
	} {
		if got := fmt.Sprint(c.Between(test.from, test.to)); got != test.want {
			t.Errorf("Between(%s, %s) = %s, want %s", test.from, test.to, got, test.want)
		}
	}
}

// Only methods that need an order of the paths fail for a closure with a cycle.
func TestCycle(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "b", "b": "c", "c": "bd", "d": ""})
	if got := fmt.Sprint(c.Why("a", "d"), c.Between("c", "d"), c.Of("b").Paths()); got != "[a b c d] [{c d}] [b c d]" {
		t.Error(got)
	}
	if sizes, err := c.ClosureSizes("a", "b"); err != nil || len(sizes) != 2 {
		t.Errorf("sizes %v, error %v", sizes, err)
	}
	_, err := c.Layout()
	if !errors.As(err, new(*store.ReferenceCycleError)) {
		t.Errorf("Layout returned %v", err)
	}
	if _, err = c.allClosureSizes(); !errors.As(err, new(*store.ReferenceCycleError)) {
		t.Errorf("allClosureSizes returned %v", err)
	}
}

func TestNewMissing(t *testing.T) {
	_, err := New([]*store.PathInfo{{Path: "a", References: []storepath.Path{"b"}}})
	var missing *MissingError
	if !errors.As(err, &missing) || *missing != (MissingError{Path: "b", Referrer: "a"}) {
		t.Errorf("New returned %v", err)
	}
}

func TestWriteDOT(t *testing.T) {
	const a, b storepath.Path = "/nix/store/a1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a", "/nix/store/b1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-b"
	c := closureOf(t, []*store.PathInfo{{Path: b}, {Path: a, References: []storepath.Path{a, b}}})
	var graph, edges strings.Builder
	if err := c.WriteDOT(&graph); err != nil {
		t.Fatal(err)
	}
	if err := WriteDOT(&edges, c.Between(a, b)); err != nil {
		t.Fatal(err)
	}
	const edge = "  \"a1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a\" -> \"b1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-b\";\n"
	const want = "digraph {\n" +
		"  \"a1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-a\" [label=\"a\"];\n" + edge +
		"  \"b1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-b\" [label=\"b\"];\n}\n"
	if graph.String() != want {
		t.Errorf("the closure is\n%s\nwant\n%s", graph.String(), want)
	}
	if edges.String() != "digraph {\n"+edge+"}\n" {
		t.Errorf("the edges are\n%s", edges.String())
	}
}
