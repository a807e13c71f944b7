package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"pix/derivation"
	"pix/internal/contextio"
	"pix/internal/githash"
	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// finish gives an output its final path and contents. The outputs to which it refers are finished already. A
// content-addressed output is registered at once, even if its hash is not the one in the derivation: a later
// derivation with this hash need not download the file again.
func (f *finisher) finish(ctx context.Context, m *made) error {
	spec, _ := f.drv.Outputs.Get(m.name)
	var err error
	if spec.Kind() == derivation.InputAddressed {
		err = f.inputAddressed(ctx, m)
	} else {
		err = f.contentAddressed(ctx, m, spec.Method(), spec.Algorithm())
	}
	if err != nil {
		return err
	}
	m.info.Deriver, m.info.Ultimate = f.req.Path, true
	switch {
	case f.req.Mode == store.BuildCheck:
		return f.compare(ctx, m)
	case spec.Kind() == derivation.InputAddressed:
		return nil
	}
	return f.placeContentAddressed(ctx, m)
}

// inputAddressed finishes an output whose path follows from the derivation.
func (f *finisher) inputAddressed(ctx context.Context, m *made) error {
	f.finals[m.scratch] = m.path
	if err := f.rewrite(ctx, m, f.rewritesOf(m)); err != nil {
		return err
	}
	f.setPath(m, m.path, f.finalReferences(m))
	return nil
}

// setPath sets the final path and the references of an output.
func (f *finisher) setPath(m *made, path storepath.Path, refs storepath.References) {
	f.finals[m.scratch] = path
	m.info.Path, m.info.References = path, refs.Others
	if refs.Self {
		m.info.References = append(m.info.References, path)
	}
	slices.Sort(m.info.References)
}

// contentAddressed finishes an output whose path follows from its contents. The contents may contain the hash part of
// the output itself, which depends on the hash. So this hash part is hashed as zero bytes, and rewritten afterwards.
func (f *finisher) contentAddressed(ctx context.Context, m *made, method storepath.Method, algo nixhash.Algorithm) error {
	if isFile := m.mode.IsRegular() && m.mode&0o100 == 0; !isFile && (method == storepath.Flat || method == storepath.Text) {
		return rejected("output path \"%s\" should be a non-executable regular file since recursive hashing is not enabled (one of outputHashMode={flat,text} is true)", f.outside(m.file))
	}
	if err := f.rewrite(ctx, m, f.rewritesOf(m)); err != nil {
		return err
	}
	hash, err := f.contentHash(ctx, m, method, algo)
	if err != nil {
		return err
	}
	if m.info.CA, err = storepath.NewContentAddress(method, hash); err != nil {
		return err
	}
	name := storepath.OutputName(f.drv.Name, m.name)
	refs := f.finalReferences(m)
	if err := checkReferences(name, m.info.CA, refs); err != nil {
		return err
	}
	path, err := f.store.Dir().FixedOutputPath(name, m.info.CA, refs)
	if err != nil {
		return err
	}
	if from, to := m.scratch.HashPart(), path.HashPart(); from != to && m.contains(m.scratch) {
		if err := f.rewrite(ctx, m, map[string]string{from: to}); err != nil {
			return err
		}
	}
	f.setPath(m, path, refs)
	return nil
}

// checkReferences returns an error, with the text of Nix, if an object with this content address cannot have these
// references. As in Nix, the error is not a [*Failure], so it ends the whole request.
func checkReferences(name string, ca storepath.ContentAddress, refs storepath.References) error {
	switch {
	case ca.Method() == storepath.Text && refs.Self:
		return errors.New("self-reference not allowed with text hashing")
	case ca.Method() == storepath.Text, ca.Method() == storepath.NAR && ca.Hash().Algorithm() == nixhash.SHA256:
		return nil
	case refs.Self || len(refs.Others) > 0:
		return fmt.Errorf("fixed output derivation '%s' is not allowed to refer to other store paths.\n"+
			"You may need to use the 'unsafeDiscardReferences' derivation attribute, see the manual for more details.", name)
	}
	return nil
}

// contentHash returns the hash in the content address of an output.
func (f *finisher) contentHash(ctx context.Context, m *made, method storepath.Method, algo nixhash.Algorithm) (nixhash.Hash, error) {
	if method == storepath.NAR && algo == nixhash.SHA256 && !m.contains(m.scratch) {
		return m.info.NARHash, nil
	}
	if method == storepath.Git {
		root, err := os.OpenRoot(filepath.Dir(m.file))
		if err != nil {
			return nixhash.Hash{}, err
		}
		defer root.Close()
		return githash.Hash(ctx, root, filepath.Base(m.file), algo)
	}
	h, err := nar.NewModuloHasher(algo, m.scratch.HashPart())
	if err != nil {
		return nixhash.Hash{}, err
	}
	if method == storepath.NAR {
		err = nar.Dump(ctx, h, m.file, nil)
	} else {
		err = readFile(ctx, h, m.file)
	}
	if err != nil {
		return nixhash.Hash{}, err
	}
	hash := f.store.Rules().ContentHash(h.Finish())
	if hash.IsZero() {
		return hash, rejected("output '%s' mentions its own path too often", m.name)
	}
	return hash, nil
}

// readFile writes the contents of a regular file to dst.
func readFile(ctx context.Context, dst io.Writer, name string) error {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, &fs.PathError{Op: "read", Path: name, Err: errors.New("it is not a regular file")})
	}
	_, err = io.Copy(dst, contextio.NewReader(ctx, file))
	return err
}
