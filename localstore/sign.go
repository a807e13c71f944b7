package localstore

import (
	"context"

	"pix/localstore/internal/nixdb"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// AddSignatures adds signatures to those that a valid path has. They are not verified: those
// of keys that nobody trusts do no harm.
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
