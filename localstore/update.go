package localstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"pix/localstore/internal/nixdb"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// AddSignatures adds signatures to a valid path. It does not verify them: a signature of an untrusted key has no effect.
func (s *Store) AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error {
	canonical := make([]string, len(signatures))
	for i, text := range signatures {
		var err error
		if canonical[i], err = signature.Canonical(text); err != nil {
			return err
		}
	}
	return s.UpdateSignatures(ctx, path, func(info *store.PathInfo) []string {
		return append(info.Signatures, canonical...)
	})
}

// UpdateSignatures implements [store.SignatureKeeper].
func (s *Store) UpdateSignatures(ctx context.Context, path storepath.Path, update func(*store.PathInfo) []string) error {
	return s.write(ctx, func(c *conn) error {
		info, err := c.pathInfo(s.dir, path)
		if err != nil {
			return err
		}
		return (*nixdb.Conn)(c).SetSignatures(path, update(info))
	})
}

// TrustedKeys implements [store.SignatureKeeper].
func (s *Store) TrustedKeys() signature.KeySet { return s.opts.TrustedKeys }

// An InUseError reports that a path cannot be made invalid because other valid paths refer to it.
type InUseError struct {
	Path      storepath.Path
	Referrers []storepath.Path
}

func (e *InUseError) Error() string {
	names := make([]string, len(e.Referrers))
	for i, p := range e.Referrers {
		names[i] = "'" + string(p) + "'"
	}
	return fmt.Sprintf("cannot delete path '%s' because it is in use by %s", e.Path, strings.Join(names, ", "))
}

// invalidatePath makes a path invalid. It does not delete the object. It returns an [*InUseError] if other valid paths
// refer to the path, and nil if the path is already invalid.
func (s *Store) invalidatePath(ctx context.Context, path storepath.Path) error {
	return s.write(ctx, func(c *conn) error { return c.invalidate(s.dir, path) })
}

// invalidate makes a path invalid, within a transaction.
func (c *conn) invalidate(dir storepath.Dir, path storepath.Path) error {
	referrers, err := c.paths(dir, nixdb.ReferrersQuery, string(path))
	if err != nil {
		return err
	}
	referrers = slices.DeleteFunc(referrers, func(p storepath.Path) bool { return p == path })
	if len(referrers) > 0 {
		return &InUseError{path, referrers}
	}
	return (*nixdb.Conn)(c).DeletePath(path)
}
