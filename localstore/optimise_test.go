package localstore

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"pix/activity"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// Several goroutines optimise and verify the store while objects are replaced, and no call returns an error.
func TestOptimisedWhileReplaced(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root, NoSync: true})
	archive := bigTree("x")
	infos := make([]*store.PathInfo, 5)
	for i := range infos {
		infos[i] = infoOf(t, fmt.Sprint("x", i), archive)
	}
	opts := &store.AddOptions{NoSignatures: true, Repair: true}
	deadline := time.Now().Add(time.Second)
	if long() {
		deadline = time.Now().Add(20 * time.Second)
	}
	var all sync.WaitGroup
	again := func(what string, do func() error) {
		all.Go(func() {
			for n := 0; n == 0 || time.Now().Before(deadline); n++ {
				if err := do(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	for _, info := range infos {
		again("replacing", func() error { return s.AddToStoreNAR(t.Context(), info, bytes.NewReader(archive), opts) })
	}
	for range 2 {
		other := open(t, Options{Root: root, AutoOptimise: true})
		again("optimising", func() error { return other.OptimiseStore(t.Context()) })
		again("verifying", func() error {
			var lines []string
			remain, err := other.VerifyStore(activity.WithHandler(t.Context(), collectLines(&lines)), true, false)
			if err == nil && remain {
				err = fmt.Errorf("%q", lines)
			}
			return err
		})
		again("adding", func() error {
			_, err := other.AddToStore(t.Context(), "added", storepath.NAR, nixhash.SHA256, nil, bytes.NewReader(archive), opts)
			return err
		})
	}
	all.Wait()
	checkSound(t, s)
}
