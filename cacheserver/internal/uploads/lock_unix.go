//go:build unix

package uploads

import (
	"errors"

	"pix/internal/flock"
)

// lock locks a file, so that no other process deletes the uploads of this one.
func lock(name string) (unlock func() error, err error) {
	f, err := flock.Open(name)
	if err != nil {
		return nil, err
	}
	ok, err := flock.Try(f.File, flock.Exclusive)
	if err == nil && !ok {
		err = lockedError(name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
