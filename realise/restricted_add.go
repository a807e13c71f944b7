package realise

import (
	"context"
	"fmt"
	"io"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

var (
	_ store.TextAdder = (*restricted)(nil)
	_ store.Adder     = (*restricted)(nil)
	_ store.NARAdder  = (*restricted)(nil)
)

// checkReferences returns an error unless the scope has all references of a path. A valid path that the scope lacks
// gives the same error as one that is not valid.
func (r *restricted) checkReferences(path storepath.Path, references []storepath.Path) error {
	for _, ref := range references {
		if ref != path && !r.scope.Has(ref) {
			return &store.NotFoundError{Path: ref}
		}
	}
	return nil
}

// AddTextToStore implements [store.TextAdder].
func (r *restricted) AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error) {
	if err := r.checkReferences("", references); err != nil {
		return "", err
	}
	ctx, end := r.link(ctx)
	defer end()
	path, err := store.AddText(ctx, r.inner, name, contents, references)
	if err != nil {
		return "", err
	}
	return path, r.scope.Add(ctx, path)
}

// AddToStore implements [store.Adder].
func (r *restricted) AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *store.AddOptions) (*store.PathInfo, error) {
	if err := r.checkReferences("", references); err != nil {
		return nil, err
	}
	ctx, end := r.link(ctx)
	defer end()
	info, err := store.Add(ctx, r.inner, name, m, a, references, contents, opts)
	if err != nil {
		return nil, err
	}
	return r.addContents(ctx, info)
}

// addContents adds the path of added contents to the scope, and returns its info for the builder.
func (r *restricted) addContents(ctx context.Context, info *store.PathInfo) (*store.PathInfo, error) {
	if err := r.scope.Add(ctx, info.Path); err != nil {
		return nil, err
	}
	return censored(info), nil
}

// AddToStoreNAR implements [store.NARAdder]. The store below does not read the archive of a path that is valid, and
// the builder could get any path into its scope without its contents. So the archive is hashed here, and compared with
// the valid path.
func (r *restricted) AddToStoreNAR(ctx context.Context, info *store.PathInfo, archive io.Reader, opts *store.AddOptions) error {
	if err := r.checkReferences(info.Path, info.References); err != nil {
		return err
	}
	ctx, end := r.link(ctx)
	defer end()
	h := nixhash.SHA256.New()
	sent := io.TeeReader(archive, h)
	if err := store.AddNAR(ctx, r.inner, info, sent, opts); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, sent); err != nil {
		return err
	}
	hash, err := nixhash.FromDigest(nixhash.SHA256, h.Sum(nil))
	if err != nil {
		return err
	}
	valid, err := r.inner.QueryPathInfo(ctx, info.Path)
	if err != nil {
		return err
	}
	if valid.NARHash != hash {
		return fmt.Errorf("cannot add '%s' in recursive Nix because its contents are not those of the archive", info.Path)
	}
	if err := r.checkReferences(valid.Path, valid.References); err != nil {
		return err
	}
	return r.scope.Add(ctx, info.Path)
}
