package closure

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/store/memstore"
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
	if sizes, err := c.ClosureSizes(t.Context(), "a", "b"); err != nil || len(sizes) != 2 {
		t.Errorf("sizes %v, error %v", sizes, err)
	}
	_, err := c.Layout(t.Context())
	if !errors.As(err, new(*store.ReferenceCycleError)) {
		t.Errorf("Layout returned %v", err)
	}
	if _, err = c.allClosureSizes(t.Context()); !errors.As(err, new(*store.ReferenceCycleError)) {
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

// FindReferences finds files and symlinks in a directory, and the object itself if it is a file.
func TestFindReferences(t *testing.T) {
	s := memstore.New(nil)
	ref, err := store.AddText(t.Context(), s, "ref", "text", nil)
	if err != nil {
		t.Fatal(err)
	}
	contents := "see " + string(ref)
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	w.WriteEntry(nar.Entry{Kind: nar.Directory})
	w.WriteEntry(nar.Entry{Kind: nar.Regular, Depth: 1, Name: "a", Size: uint64(len(contents))})
	io.WriteString(w, contents)
	w.WriteEntry(nar.Entry{Kind: nar.Directory, Depth: 1, Name: "dir"})
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: 2, Name: "link", Target: string(ref) + "/x"})
	w.WriteEntry(nar.Entry{Kind: nar.Symlink, Depth: 2, Name: "other", Target: "/elsewhere"})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := store.Add(t.Context(), s, "object", storepath.NAR, nixhash.SHA256, []storepath.Path{ref}, &archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	mentions, err := FindReferences(t.Context(), s, info.Path, ref)
	want := []Mention{{File: "a"}, {File: "dir/link", Target: string(ref) + "/x"}}
	if err != nil || !slices.Equal(mentions, want) {
		t.Errorf("FindReferences returned %q, %v, want %q", mentions, err, want)
	}
	if _, err := FindReferences(t.Context(), s, onePath, ref); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("FindReferences of a path that is not valid returned %v", err)
	}
}
