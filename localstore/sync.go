package localstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// syncObject waits until an object is on the disk, with all that lies in it and its name.
func syncObject(name string) error {
	err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return syncFile(path)
	})
	if err != nil {
		return err
	}
	return syncFile(filepath.Dir(name))
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
