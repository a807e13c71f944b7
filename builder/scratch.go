package builder

import (
	"crypto/sha256"
	"slices"
	"strings"

	"pix/nixhash"
	"pix/storepath"
)

// A builder gets a scratch path for each output, and writes there. It is the path of the output where that is known and
// free. In a sandbox it is always free, because the builder does not see the valid object. Without one, a valid output must not
// be touched, so the builder gets a fallback path. What it writes is rewritten afterwards: the fallback path has the length
// of the final path, and each mention of the one becomes the other.
//
// An output that is addressed by its contents has no path before the build, and gets a fallback path too.

// assignScratch chooses the scratch paths, and collects what must be replaced in what the builder is given.
func (b *build) assignScratch() error {
	for _, o := range b.outputs {
		var err error
		switch {
		case o.path == "":
			o.scratch, err = b.fallbackForOutput(o.name)
		case b.mayWriteTo(o):
			o.scratch = o.path
		default:
			o.scratch, err = b.fallbackForPath(o.path)
		}
		if err != nil {
			return err
		}
		b.rewrites = append(b.rewrites, rewrite{string(storepath.OwnPlaceholder(o.name)), string(o.scratch)})
		if o.redirected() {
			b.rewrites = append(b.rewrites, rewrite{o.path.HashPart(), o.scratch.HashPart()})
		}
	}
	slices.SortFunc(b.rewrites, func(x, y rewrite) int { return strings.Compare(x.from, y.from) })
	return nil
}

// mayWriteTo reports whether the builder may write to the final path of an output.
func (b *build) mayWriteTo(o *output) bool {
	return b.sandboxed || !o.valid && !o.corrupt
}

// fallbackForOutput returns the scratch path of an output whose path is not known.
func (b *build) fallbackForOutput(name string) (storepath.Path, error) {
	return b.fallback(":name:"+name, storepath.OutputName(b.drv.Name, name))
}

// fallbackForPath returns the scratch path of an output that must not be touched.
func (b *build) fallbackForPath(path storepath.Path) (storepath.Path, error) {
	return b.fallback(":"+path.Base(), path.Name())
}

// fallback computes a path that no other store object can have. Its fingerprint has a type of its own and a hash of
// zeros. See makeFallbackPath in Nix.
func (b *build) fallback(of, name string) (storepath.Path, error) {
	zeros := nixhash.SHA256Hash([sha256.Size]byte{})
	return b.store.Dir().MakePath("rewrite:"+b.req.Path.Base()+of, zeros, name)
}

// A rewrite replaces a text by another one.
type rewrite struct{ from, to string }

// rewrites are done one after the other, sorted.
type rewrites []rewrite

// apply returns s with everything replaced.
func (r rewrites) apply(s string) string {
	for _, w := range r {
		s = strings.ReplaceAll(s, w.from, w.to)
	}
	return s
}
