package objects

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Sync writes an object to the disk: its files, its directories, and its name in the store directory.
func Sync(name string) error {
	return errors.Join(syncTree(name, func(d fs.DirEntry) bool { return true }), SyncFile(filepath.Dir(name)))
}

// SyncDirs writes the directories of an object and its name to the disk. It suffices after a [Linker] has replaced
// files in the object by files that are on the disk already.
func SyncDirs(name string) error {
	return errors.Join(syncTree(name, fs.DirEntry.IsDir), SyncFile(filepath.Dir(name)))
}

// syncTree syncs the selected files and directories. It syncs a directory after the files in it. A symlink cannot be
// opened; the sync of its directory writes it.
func syncTree(name string, selected func(fs.DirEntry) bool) error {
	var dirs []string
	err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.Type()&fs.ModeSymlink != 0 || !selected(d):
			return err
		case d.IsDir():
			dirs = append(dirs, path)
			return nil
		}
		return SyncFile(path)
	})
	for i := len(dirs) - 1; i >= 0 && err == nil; i-- {
		err = SyncFile(dirs[i])
	}
	return err
}

// SyncParents writes the names of directories, and of all directories above them, to the disk. If the name of one of
// them is missing after a power cut, so is every object below it. SyncParents skips a directory that this process may
// not read: another user created it.
func SyncParents(dirs []string) error {
	synced := make(map[string]bool)
	for _, dir := range dirs {
		for parent := filepath.Dir(dir); !synced[parent]; parent = filepath.Dir(parent) {
			synced[parent] = true
			if err := SyncFile(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// SyncFile writes a file to the disk, or the names in a directory.
func SyncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
