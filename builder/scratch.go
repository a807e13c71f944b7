package builder

import (
	"crypto/sha256"
	"slices"
	"strings"

	"pix/nixhash"
	"pix/storepath"
)

// A builder writes each output to its scratch path. That is the path of the output if it is known and free. In a
// sandbox it is always free, because the builder does not see the valid object. Without a sandbox, the builder must
// not change a valid output, so it gets a fallback path. The fallback path is as long as the final path. After the
// build, each occurrence of its hash part in the output is replaced with the final one.
//
// The path of a content-addressed output is not known before its first build, so the output gets a fallback path too. Later
// builds treat the path that the first one has registered as the path of the output.

// assignScratch chooses the scratch paths, and collects the rewrites for the variables, arguments and files of the
// builder.
func (b *build) assignScratch() error {
	for _, o := range b.outputs {
		var err error
		switch path := o.lastPath(); {
		case path == "":
			o.scratch, err = b.fallbackForOutput(o.name)
		case b.mayWriteTo(o):
			o.scratch = path
		default:
			o.scratch, err = b.fallbackForPath(path)
		}
		if err != nil {
			return err
		}
		b.rewrites = append(b.rewrites, rewrite{string(storepath.OwnPlaceholder(o.name)), string(o.scratch)})
		if o.redirected() {
			b.rewrites = append(b.rewrites, rewrite{o.lastPath().HashPart(), o.scratch.HashPart()})
		}
	}
	slices.SortFunc(b.rewrites, func(x, y rewrite) int { return strings.Compare(x.from, y.from) })
	return nil
}

// mayWriteTo reports whether the builder may write to the known path of an output.
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

// fallback computes a path that no other store object can have, because its fingerprint begins with "rewrite" and
// contains a hash of zeros. See makeFallbackPath in Nix.
func (b *build) fallback(of, name string) (storepath.Path, error) {
	zeros := nixhash.SHA256Hash([sha256.Size]byte{})
	return b.store.Dir().MakePath("rewrite:"+b.req.Path.Base()+of, zeros, name)
}

// A rewrite replaces one string with another.
type rewrite struct{ from, to string }

// rewrites are applied one after the other. They are sorted by the replaced string.
type rewrites []rewrite

// apply returns s after all replacements.
func (r rewrites) apply(s string) string {
	for _, w := range r {
		s = strings.ReplaceAll(s, w.from, w.to)
	}
	return s
}
