package closure

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"pix/store"
	"pix/storepath"
)

func BenchmarkTree(b *testing.B) {
	c := randomClosure(b, 10_000)
	paths := c.Paths()
	for b.Loop() {
		if err := c.WriteTree(io.Discard, nil, paths...); err != nil {
			b.Fatal(err)
		}
	}
}

// numbered returns the path with a number.
func numbered(tb testing.TB, i int) storepath.Path {
	tb.Helper()
	p, err := storepath.DefaultDir.ParseBase(fmt.Sprintf("%032d-x", i))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// letters returns a closure of paths named by letters: "a" refers to the letters of refs["a"].
func letters(tb testing.TB, refs map[storepath.Path]string) *Closure {
	tb.Helper()
	var infos []*store.PathInfo
	for p, letters := range refs {
		info := &store.PathInfo{Path: p}
		for _, letter := range letters {
			for ref := range refs {
				if string(ref) == string(letter) {
					info.References = append(info.References, ref)
				}
			}
		}
		infos = append(infos, info)
	}
	return closureOf(tb, infos)
}

func TestWriteTree(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "abce", "b": "cd", "c": "d", "d": "", "e": ""})
	const want = `a
├───c
│   └───d
├───b
│   ├───d [...]
│   └───c [...]
├───e
└───a [...]
`
	var out strings.Builder
	if err := c.WriteTree(&out, nil, "a"); err != nil || out.String() != want {
		t.Errorf("WriteTree: %v\n%s", err, out.String())
	}
	out.Reset()
	if err := c.WriteTree(&out, &TreeOptions{Depth: 1}, "b"); err != nil || out.String() != "b\n├───d\n└───c\n" {
		t.Errorf("WriteTree: %v\n%s", err, out.String())
	}
	out.Reset()
	if err := c.WriteTree(&out, nil, "d", "d"); err != nil || out.String() != "d\nd [...]\n" {
		t.Errorf("two roots: %v\n%s", err, out.String())
	}
	if err := c.WriteTree(io.Discard, nil, "absent"); err == nil {
		t.Error("no error for a root outside the closure")
	}
}

func TestWriteTreeCycle(t *testing.T) {
	c := letters(t, map[storepath.Path]string{"a": "b", "b": "c", "c": "b"})
	var out strings.Builder
	if err := c.WriteTree(&out, nil, "a"); !errors.As(err, new(*store.ReferenceCycleError)) || out.Len() > 0 {
		t.Errorf("error %v after %d bytes", err, out.Len())
	}
}

// The tree of a chain of 100,000 paths would take gigabytes.
func TestWriteDeepTree(t *testing.T) {
	const n = 100_000
	var infos []*store.PathInfo
	for i := range n {
		infos = append(infos, &store.PathInfo{Path: numbered(t, i), References: []storepath.Path{numbered(t, min(i+1, n-1)), numbered(t, n-1)}})
	}
	c := closureOf(t, infos)
	var out strings.Builder
	if err := c.WriteTree(&out, nil, numbered(t, 0)); !errors.As(err, new(*TreeDepthError)) || out.Len() > 20<<20 {
		t.Errorf("error %v after %d bytes", err, out.Len())
	}
	if err := c.WriteTree(io.Discard, &TreeOptions{Depth: 1000}, numbered(t, 0)); err != nil {
		t.Error(err)
	}
}
