package localstore

import (
	"compress/bzip2"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pix/internal/contextio"
	"pix/internal/modes"
	"pix/localstore/internal/regular"
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
	name := s.log(drv)
	for _, existing := range []string{name, name + ".bz2"} {
		if _, err := os.Lstat(existing); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
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
	f, err := regular.Open(s.log(drv), os.O_RDONLY)
	if err == nil {
		return f, nil
	}
	f, err = regular.Open(s.log(drv)+".bz2", os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &store.NotFoundError{Path: drv}
	}
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{bzip2.NewReader(f), f}, nil
}
