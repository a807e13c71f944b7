//go:build !linux

package nixdb

import (
	"bytes"
	"os"
)

// allocate reserves disk space for a file of this size in bytes, by writing to it.
func allocate(f *os.File, size int64) error {
	_, err := f.WriteAt(bytes.Repeat([]byte{'X'}, int(size)), 0)
	return err
}
