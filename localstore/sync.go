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

// syncAncestors writes the names of directories to the disk, with the names of all directories above them: after a
// power cut an object is missing if the name of a directory above it is. A directory that this process cannot read
// was made by another user, so its contents are left to that user.
func syncAncestors(dirs []string) error {
	synced := make(map[string]bool)
	for _, dir := range dirs {
		for parent := filepath.Dir(dir); !synced[parent]; parent = filepath.Dir(parent) {
			synced[parent] = true
			if err := syncFile(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
