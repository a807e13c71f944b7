package localstore

import (
	"testing"

	"pix/activity"
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
