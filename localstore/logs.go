package localstore

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"pix/internal/buildlogs"
	"pix/internal/contextio"
	"pix/internal/modes"
	"pix/store"
	"pix/storepath"
)

// log returns the file name of the build log of a derivation. Nix adds ".bz2" and compresses the log, and reads both.
func (l layout) log(drv storepath.Path) string {
	base := drv.Base()
	return filepath.Join(l.buildLogs(), base[:2], base[2:])
}

// AddBuildLog stores the build log of a derivation, which need not be valid. It does not replace an existing log.
func (s *Store) AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error {
	if s.opts.ReadOnly {
		return ErrReadOnly
	}
	if _, err := s.dir.Parse(string(drv)); err != nil {
		return err
	}
	if exists, err := buildlogs.Exists(s.logDir, drv); exists || err != nil {
		return err
	}
	name := s.log(drv)
	if err := modes.MkdirAll(filepath.Dir(name)); err != nil {
		return err
	}
	return writeFileAtomically(name, contextio.NewReader(ctx, log))
}

// BuildLog returns the build log of a derivation. It returns a [*store.NotFoundError] if the store has no log.
func (s *Store) BuildLog(_ context.Context, drv storepath.Path) (io.ReadCloser, error) {
	if _, err := s.dir.Parse(string(drv)); err != nil {
		return nil, err
	}
	log, err := buildlogs.Open(s.logDir, drv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &store.NotFoundError{Path: drv}
	}
	if err != nil {
		return nil, err
	}
	return log, nil
}
