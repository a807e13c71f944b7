package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"pix/derivation"
	"pix/nar"
	"pix/storepath"
)

// maxDerivation is the maximum length in bytes of a .drv file that is read from a store. The longest
// known files have a few megabytes.
const maxDerivation = 32 << 20

// A DerivationLender is a [Store] whose users read derivations in turn, if they are large, as these
// take much memory. What it lends is the same store for that; whoever has let go of what he has read
// so far calls release, and may go on reading.
type DerivationLender interface {
	LendDerivations() (s Store, release func())
}

// LendDerivations returns s to read derivations from; see [DerivationLender].
func LendDerivations(s Store) (lent Store, release func()) {
	if l, ok := As[DerivationLender](s); ok {
		return l.LendDerivations()
	}
	return s, func() {}
}

// Derivations returns a loader of the derivations in s, which must be a [NARReader]. A path
// that is not valid is [fs.ErrNotExist], as it must be for a loader. It has the [Limits] of s.
func Derivations(s Store) derivation.Loader { return storeLoader{s} }

type storeLoader struct{ s Store }

// ClosureLimits implements [derivation.LimitedLoader].
func (l storeLoader) ClosureLimits() (limits Limits, source string) {
	return LimitsOf(l.s), nameOf(l.s)
}

// LoadDerivation implements [derivation.Loader].
func (l storeLoader) LoadDerivation(ctx context.Context, path storepath.Path) (string, error) {
	r, ok := As[NARReader](l.s)
	if !ok {
		return "", unsupported(l.s, "give the contents of paths")
	}
	archive, err := r.NARFromPath(ctx, path)
	if errors.Is(err, ErrNotFound) {
		return "", fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	if err != nil {
		return "", err
	}
	defer archive.Close()
	return fileIn(archive, path)
}

// fileIn returns the contents of an archive that is a single file. It reads up to the end,
// where the store says whether the archive was the right one.
func fileIn(archive io.Reader, path storepath.Path) (string, error) {
	r := nar.NewReader(archive)
	entry, err := r.Next()
	if err != nil {
		return "", err
	}
	if entry.Kind != nar.Regular || entry.Size > maxDerivation {
		return "", fmt.Errorf("'%s' is no derivation: it is a %s of %d bytes", path, entry.Kind, entry.Size)
	}
	var text strings.Builder
	if _, err := io.Copy(&text, r); err != nil {
		return "", err
	}
	if _, err := r.Next(); err != io.EOF {
		return "", fmt.Errorf("'%s' does not end: %w", path, err)
	}
	_, err = io.Copy(io.Discard, archive)
	return text.String(), err
}
