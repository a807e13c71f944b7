package daemon_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pix/daemon"
	"pix/daemontest"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// Path infos come in the order of the paths, whether the daemon answers one or many in a reply.
func TestInfosInBatches(t *testing.T) {
	s := memstore.New(nil)
	var paths []storepath.Path
	for i := range 2500 {
		p, err := store.AddText(t.Context(), s, fmt.Sprint("t", i), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, p)
	}
	paths = append(paths, paths[7], paths[7])
	absent := storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-absent")
	for _, without := range []bool{false, true} {
		d := daemontest.New(t, &daemontest.Options{Store: s, NoFeatures: without})
		c, err := daemon.Dial(t.Context(), d.Socket(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		read := func(paths []storepath.Path) (got []storepath.Path, last error) {
			for info, err := range c.QueryPathInfos(t.Context(), paths) {
				if last = err; err == nil {
					got = append(got, info.Path)
				}
			}
			return got, last
		}
		if got, err := read(paths); err != nil || !slices.Equal(got, paths) {
			t.Errorf("without features %v: %d infos, %v", without, len(got), err)
		}
		var missing *store.NotFoundError
		if got, err := read(slices.Insert(slices.Clone(paths), 1500, absent)); len(got) != 1500 || !errors.As(err, &missing) || missing.Path != absent {
			t.Errorf("without features %v: %d infos before %v", without, len(got), err)
		}
		for range c.QueryPathInfos(t.Context(), paths) {
			break
		}
		if err := c.AddTempRoots(t.Context(), paths[:10]); err != nil {
			t.Errorf("without features %v: %v", without, err)
		}
		if err := c.Err(); err != nil {
			t.Errorf("without features %v: %v", without, err)
		}
	}
}
