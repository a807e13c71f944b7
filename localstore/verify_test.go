package localstore

import (
	"strings"
	"sync"
	"testing"

	"pix/activity"
	"pix/localstore/internal/objects"
	"pix/storepath"
)

// What is added when verification has looked at the store directory already, and not yet at the
// database, is not taken for lost.
func TestVerifyWhileAdding(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	var added storepath.Path
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		if l, ok := e.(activity.Log); ok && l.Text == "checking path existence..." {
			added = addTexts(t, s, 2, true)[1]
		}
	}))
	if remain, err := s.VerifyStore(ctx, true, false); remain || err != nil {
		t.Error(remain, err)
	}
	if valid, err := s.IsValidPath(t.Context(), added); !valid || err != nil {
		t.Error(valid, err)
	}
}

// A path without an object that is added again while verification finds it missing stays valid. The first
// addition begins when verification has reported the path, the others at any time.
func TestVerifyWhileRestoring(t *testing.T) {
	root := t.TempDir()
	s, other := open(t, Options{Root: root, NoSync: true}), open(t, Options{Root: root, NoSync: true})
	path := addTexts(t, s, 1, false)[0]
	add := func() {
		if got := addTexts(t, other, 1, false)[0]; got != path {
			t.Errorf("added %s", got)
		}
	}
	for i := range 100 {
		if err := objects.Remove(s.object(path)); err != nil {
			t.Fatal(err)
		}
		var adding sync.WaitGroup
		ctx := t.Context()
		if i == 0 {
			ctx = activity.WithHandler(ctx, activity.HandlerFunc(func(e activity.Event) {
				if l, ok := e.(activity.Log); ok && strings.Contains(l.Text, "disappeared") {
					add()
				}
			}))
		} else {
			adding.Go(add)
		}
		if remain, err := s.VerifyStore(ctx, false, false); remain || err != nil {
			t.Fatal(remain, err)
		}
		adding.Wait()
		if valid, err := other.IsValidPath(t.Context(), path); !valid || err != nil {
			t.Fatalf("after %d: %v, %v", i, valid, err)
		}
		if _, err := objects.Lstat(s.object(path)); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
	}
}
