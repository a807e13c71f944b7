package realise

import (
	"context"
	"fmt"
	"io"

	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// A submitting store is what a builder with the feature builder-rpc-v0 sees of the store. The server allows only some
// of the operations of a restricted store.
type submitting struct{ *restricted }

var (
	_ store.ScanningAdder   = submitting{}
	_ store.OutputSubmitter = submitting{}
)

// A scanner adds objects with the references that occur in their contents.
type scanner interface {
	AddScanned(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, candidates []storepath.Path, contents io.Reader) (*store.PathInfo, error)
}

// AddToStoreScanning implements [store.ScanningAdder]. References are paths of the scope.
func (s submitting) AddToStoreScanning(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, contents io.Reader) (*store.PathInfo, error) {
	adder, ok := store.As[scanner](s.inner)
	if !ok {
		return nil, &store.UnsupportedError{Store: s.inner, What: "find references in contents"}
	}
	ctx, end := s.link(ctx)
	defer end()
	info, err := adder.AddScanned(ctx, name, m, a, s.scope.Paths(), contents)
	if err != nil {
		return nil, err
	}
	return s.addContents(ctx, info)
}

// SubmitOutput implements [store.OutputSubmitter].
func (s submitting) SubmitOutput(_ context.Context, path derivation.SingleDerivedPath, output string) error {
	opaque, ok := path.(derivation.Opaque)
	if !ok {
		return fmt.Errorf("Attempted to submit Built path '%s' for output '%s'.\n Only Opaque paths are supported, see https://github.com/NixOS/nix/issues/12727", path, output) //nolint:staticcheck // Nix's words
	}
	return s.scope.Submit(opaque.Path, output)
}
