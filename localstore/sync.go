package localstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// syncObject writes an object to the disk: its files, its directories, and its name.
func syncObject(name string) error {
	return errors.Join(syncTree(name, func(d fs.DirEntry) bool { return true }), syncFile(filepath.Dir(name)))
}

// syncDirectories writes the directories of an object to the disk, after some files in them were replaced
// by other ones that were synced.
func syncDirectories(name string) error {
	return errors.Join(syncTree(name, fs.DirEntry.IsDir), syncFile(filepath.Dir(name)))
}

// syncTree syncs the files and directories that are chosen. A directory is synced after the files in it.
// The name of a symlink is its contents too, which the sync of its directory writes.
func syncTree(name string, choose func(fs.DirEntry) bool) error {
	var dirs []string
	err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.Type()&fs.ModeSymlink != 0 || !choose(d):
			return err
		case d.IsDir():
			dirs = append(dirs, path)
			return nil
		}
		return syncFile(path)
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		err = syncFile(dirs[i])
	}
	return err
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
