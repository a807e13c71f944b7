//go:build !linux

package nixdb

import (
	"bytes"
	"os"
)

// allocate sets aside disk for a file of that size in bytes.
func allocate(f *os.File, size int64) error {
	_, err := f.WriteAt(bytes.Repeat([]byte{'X'}, int(size)), 0)
	return err
}
