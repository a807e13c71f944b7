//go:build !unix

package derivation

import (
	"io"
	"io/fs"
	"os"
)

// readFile returns the contents of a file of at most [MaxFile] bytes. It does not use buf, and returns it unchanged.
func readFile(name string, buf []byte) (text string, _ []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", buf, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(b) > MaxFile {
		err = &fs.PathError{Op: "read", Path: name, Err: errTooLarge}
	}
	return string(b), buf, err
}
