package localstore

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"pix/internal/modes"
	"pix/localstore/internal/objects"
	"pix/storepath"
)

// CreateLog returns a writer of the build log of a derivation, which need not be valid. The log is not compressed. It
// replaces the log of an earlier build, even a compressed one; a program that reads the earlier log continues to read
// it. Writes are not buffered, so the log is complete even if the process is killed.
func (s *Store) CreateLog(_ context.Context, drv storepath.Path) (io.WriteCloser, error) {
	if s.opts.ReadOnly {
		return nil, ErrReadOnly
	}
	if _, err := s.dir.Parse(string(drv)); err != nil {
		return nil, err
	}
	name := s.log(drv)
	if err := modes.MkdirAll(filepath.Dir(name)); err != nil {
		return nil, err
	}
	f, err := createAt(name)
	if err != nil {
		return nil, err
	}
	if err := objects.IgnoreNotExist(os.Remove(name + ".bz2")); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// createAt makes an empty file, which takes the place of another in one step. The name may be as long as a name can be, so the
// temporary one does not contain it.
func createAt(name string) (*os.File, error) {
	temp := filepath.Join(filepath.Dir(name), ".tmp-"+strconv.Itoa(os.Getpid())+"-"+strconv.FormatUint(rand.Uint64(), 36))
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, modes.File)
	if err != nil {
		return nil, err
	}
	if err = f.Chmod(modes.File); err == nil {
		err = os.Rename(temp, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(temp))
	}
	return f, nil
}
