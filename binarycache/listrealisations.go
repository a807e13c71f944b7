package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pix/internal/unsupported"
	"pix/store"
)

// QueryAllRealisations returns the realisations of a cache in a directory, in the forms of Nix up to 2.34 and of later
// versions. Files with other names are ignored. If some files cannot be read, the error is a [*store.RealisationsError],
// and the other realisations are returned, too. A cache behind HTTP cannot list them: the error is
// [errors.ErrUnsupported].
func (s *Store) QueryAllRealisations(ctx context.Context) ([]store.KeyedRealisation, error) {
	if s.local == nil {
		return nil, unsupported.Errorf("a binary cache behind HTTP cannot list its realisations")
	}
	ids, failed, err := s.listedIDs()
	if err != nil {
		return nil, err
	}
	all := make([]store.KeyedRealisation, 0, len(ids))
	for _, id := range ids {
		r, err := s.QueryRealisation(ctx, id)
		if errors.Is(err, store.ErrNotFound) { // removed in the meantime
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all = append(all, store.KeyedRealisation{ID: id, Realisation: *r})
	}
	if len(failed) > 0 {
		return all, &store.RealisationsError{Failed: failed}
	}
	return all, nil
}

// listedIDs returns the outputs with realisations, from the names of their files. failed are the errors of directories
// of single derivations.
func (s *Store) listedIDs() (ids []store.DrvOutput, failed []error, err error) {
	if _, err := os.Stat(s.local.path); os.IsNotExist(err) {
		return nil, nil, &NoCacheError{s.local.path}
	}
	files, err := s.local.names("realisations")
	if err != nil {
		return nil, nil, err
	}
	for _, name := range files {
		id, err := store.ParseHashID(name)
		if err == nil && s.checkDrvOutput(id) == nil {
			ids = append(ids, id)
		}
	}
	drvs, err := s.local.names("build-trace-v2")
	if err != nil {
		return nil, nil, err
	}
	for _, drv := range drvs {
		path, err := s.Dir().ParseBase(drv)
		if err != nil {
			continue
		}
		outputs, err := s.local.names(filepath.Join("build-trace-v2", drv))
		if err != nil {
			failed = append(failed, err)
		}
		for _, output := range outputs {
			if id := (store.DrvOutput{Path: path, Output: output}); s.checkDrvOutput(id) == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids, failed, nil
}

// names returns the names in a directory of the cache, without the extension of realisations. A missing directory has
// none.
func (d *directory) names(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(d.path, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing realisations: %w", err)
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".doi")
	}
	return names, nil
}
