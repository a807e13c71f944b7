//go:build !linux

package localstore

import (
	"errors"
	"os"
)

func isReadOnlyMount(string) bool { return false }

func cloneWritable(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func fdName(f *os.File) string { return f.Name() }
