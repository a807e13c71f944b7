package store

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pix/storepath"
)

// A table finds what a map finds. Each two bytes of the input are a path that is looked up, and added if it is missing.
func FuzzNodeTable(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("aaababacaaadabacaa"))
	many := make([]byte, 0, 6000)
	for i := range 3000 {
		many = append(many, byte(i), byte(i>>8))
	}
	f.Add(many)
	f.Fuzz(func(t *testing.T, b []byte) {
		table, want := newNodeTable(), make(map[storepath.Path]int32)
		for i := 0; i+1 < len(b); i += 2 {
			path := storepath.Path(fmt.Sprintf("/nix/store/%02x%02x", b[i], b[i+1]))
			n := table.find(path)
			root, found := want[path]
			if found != (n != nil) || found && (n.path != path || n.root != root) {
				t.Fatalf("'%s' is %v, want %v %d", path, n, found, root)
			}
			if !found {
				want[path] = int32(i)
				if added := table.add(node{path: path, root: int32(i)}); added.path != path {
					t.Fatalf("add returned %v", added)
				}
			} else {
				n.root++
				want[path]++
			}
		}
		if table.len() != len(want) || !slices.Equal(table.sortedPaths(), slices.Sorted(maps.Keys(want))) {
			t.Errorf("%d nodes, want %d", table.len(), len(want))
		}
	})
}
