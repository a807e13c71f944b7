package localstore

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pix/activity"
)

// Every user can register a symlink to any name, and no such symlink ends a collection.
func TestDanglingRoots(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Root: filepath.Join(dir, "root")})
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]string{
		"too long":             filepath.Join(dir, strings.Repeat("x", 300)),
		"through a loop":       filepath.Join(loop, "x"),
		"a loop":               loop,
		"below a file":         filepath.Join(file, "x"),
		"of many directories":  dir + strings.Repeat("/x", 1800),
		"longer than any name": dir + strings.Repeat("/x", 3000),
		"with a line feed":     filepath.Join(dir, "a\nb"),
		"the links themselves": s.autoRoots(),
	} {
		t.Run(name, func(t *testing.T) {
			s.AddIndirectRoot(t.Context(), link) // may fail
			if _, err := s.FindRoots(t.Context()); err != nil {
				t.Errorf("FindRoots: %v", err)
			}
			if _, err := s.CollectGarbage(t.Context(), deleteAll); err != nil {
				t.Errorf("CollectGarbage: %v", err)
			}
		})
	}
}

// Another process may add a root again at the moment at which its stale symlink is removed.
func TestRootRecreated(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Root: filepath.Join(dir, "root")})
	path := addTexts(t, s, 1, false)[0]
	link := filepath.Join(dir, "result")
	if _, err := s.AddPermRoot(t.Context(), path, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	added := false
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if log, ok := e.(activity.Log); ok && strings.HasPrefix(log.Text, "removing stale link") {
			if _, err := addPermRoot(s.layout, path, link); err != nil {
				t.Error(err)
			}
			added = true
		}
	}))
	for range 2 {
		search := &rootSearch{layout: s.layout, tidy: true, strict: true}
		roots, err := search.permanent(ctx)
		if err != nil || len(roots) != 1 || roots[0].Link != link || roots[0].Path != path || !added {
			t.Errorf("found %v, %v", roots, err)
		}
	}
}
