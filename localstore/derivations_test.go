package localstore

import (
	"errors"
	"os"
	"testing"

	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// using returns a derivation that uses others.
func using(name string, inputs ...storepath.Path) *derivation.Derivation {
	var entries []derivation.Entry[storepath.Path, derivation.InputOutputs]
	for _, input := range inputs {
		entries = append(entries, derivation.Entry[storepath.Path, derivation.InputOutputs]{Key: input, Value: derivation.OutputsOf("out")})
	}
	return &derivation.Derivation{
		Name:             name,
		Outputs:          derivation.MapOf(derivation.Entry[string, derivation.Output]{Key: "out", Value: derivation.DeferredOutput()}),
		Env:              derivation.MapOf(derivation.Entry[string, string]{Key: "out"}),
		InputDerivations: derivation.MapOf(entries...),
	}
}

// What lies under the name of a derivation while somebody uploads it, and was not checked, says
// nothing about the outputs of others: neither now, nor later.
func TestUncheckedInput(t *testing.T) {
	other := open(t, Options{Root: t.TempDir()})
	input := addDerivation(t, other, using("input"))
	liar := addDerivation(t, other, using("liar"))
	text, err := os.ReadFile(other.object(input))
	if err != nil {
		t.Fatal(err)
	}
	lie, err := os.ReadFile(other.object(liar))
	if err != nil {
		t.Fatal(err)
	}
	top := addDerivation(t, other, using("top", input))
	honest, err := os.ReadFile(other.object(top))
	if err != nil {
		t.Fatal(err)
	}

	s := open(t, Options{Root: t.TempDir()})
	if err := os.WriteFile(s.object(input), lie, 0o444); err != nil {
		t.Fatal(err)
	}
	// It says that it refers to nothing, so that nothing has to be valid.
	if path, err := s.AddTextToStore(t.Context(), "top.drv", string(honest), nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%s was added though its input is not valid: %v", path, err)
	}
	if got, err := s.AddTextToStore(t.Context(), "input.drv", string(text), nil); err != nil || got != input {
		t.Fatalf("%s, %v", got, err)
	}
	if got, err := s.AddTextToStore(t.Context(), "top.drv", string(honest), []storepath.Path{input}); err != nil || got != top {
		t.Errorf("%s, %v", got, err)
	}
}

// An input that somebody has changed in the store is an error that says so.
func TestChangedInput(t *testing.T) {
	root := t.TempDir()
	s := open(t, Options{Root: root})
	input := addDerivation(t, s, using("input"))
	top := using("top", input)
	if err := os.Chmod(s.object(input), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.object(input), []byte("Derive("), 0o444); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, Options{Root: root}) // remembers no hashes
	top.Dir, top.Platform, top.Builder = s.Dir(), "x", "/b"
	_, err := fresh.modulo.inputsOf(t.Context(), fresh, top, nil)
	var modified *store.ModifiedError
	if !errors.As(err, &modified) || modified.Path != input {
		t.Errorf("%v", err)
	}
}
