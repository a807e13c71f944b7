package localstore

import (
	"errors"
	"os"
	"testing"

	"pix/store"
)

// DerivationText returns the text of a valid derivation, and checks the validity and the hash, as reading the archive
// does.
func TestDerivationText(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	first, second, _ := drvs(t, s)
	lent, release := s.LendDerivations()
	defer release()
	want, err := os.ReadFile(s.object(first))
	if err != nil {
		t.Fatal(err)
	}
	change(t, s.object(second), append(want, ' '))
	invalid := second[:len(second)-len("second.drv")] + "third.drv"
	change(t, s.object(invalid), want)
	for _, s := range []store.Store{s, lent} {
		r := s.(store.DerivationTextReader)
		if text, err := r.DerivationText(t.Context(), first); err != nil || text != string(want) {
			t.Errorf("%q, %v, want the text of the file", text, err)
		}
		if _, err := r.DerivationText(t.Context(), second); !errors.As(err, new(*store.ModifiedError)) {
			t.Errorf("a changed file: %v, want a *ModifiedError", err)
		}
		if _, err := r.DerivationText(t.Context(), invalid); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("an invalid path: %v, want ErrNotFound", err)
		}
		if _, err := store.Derivations(s).LoadDerivation(t.Context(), second); !errors.As(err, new(*store.ModifiedError)) {
			t.Errorf("a changed file, loaded: %v, want a *ModifiedError", err)
		}
	}
}

// change replaces the contents of a file, which may be read-only.
func change(t *testing.T, name string, contents []byte) {
	t.Helper()
	if err := os.RemoveAll(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, contents, 0o444); err != nil {
		t.Fatal(err)
	}
}
