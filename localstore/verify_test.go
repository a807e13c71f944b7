package localstore

import (
	"testing"

	"pix/activity"
	"pix/storepath"
)

// What is added while the store is verified stays valid.
func TestAddedWhileVerifying(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	var added storepath.Path
	ctx := activity.WithHandler(t.Context(), activity.HandlerFunc(func(e activity.Event) {
		// By now it is known what lies in the store directory, and not yet what is valid.
		if log, ok := e.(activity.Log); ok && log.Text == "checking path existence..." {
			added = addTexts(t, s, 1, false)[0]
		}
	}))
	if remain, err := s.VerifyStore(ctx, true, false); remain || err != nil {
		t.Errorf("errors remain: %v, %v", remain, err)
	}
	if valid, err := s.IsValidPath(t.Context(), added); !valid || err != nil {
		t.Errorf("valid: %v, %v", valid, err)
	}
}
