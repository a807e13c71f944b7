package nar

import (
	"io/fs"
	"path"
)

// An fsFolder is a directory of an fs.FS.
type fsFolder struct {
	fsys fs.FS
	path string
}

func (f *fsFolder) list(l *nameList) error {
	entries, err := fs.ReadDir(f.fsys, f.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := l.add([]byte(e.Name()), kindOf(e.Type())); err != nil {
			return err
		}
	}
	return nil
}

func (f *fsFolder) openFile(name string) (openedFile, error) {
	file, err := f.fsys.Open(path.Join(f.path, name))
	if err != nil {
		return openedFile{}, err
	}
	return openedFrom(file)
}

func (f *fsFolder) readLink(name string) (string, error) {
	return fs.ReadLink(f.fsys, path.Join(f.path, name))
}

func (f *fsFolder) openFolder(name string) (folder, error) {
	return &fsFolder{f.fsys, path.Join(f.path, name)}, nil
}

func (f *fsFolder) close() {}

// pathFS dumps the root out of a file system.
func (d *dumper) pathFS(fsys fs.FS) error {
	info, err := fs.Lstat(fsys, d.root)
	if err != nil {
		return d.failed(err)
	}
	dir, name := &fsFolder{fsys, path.Dir(d.root)}, path.Base(d.root)
	switch kindOf(info.Mode()) {
	case Regular:
		f, err := dir.openFile(name)
		if err != nil {
			return d.failed(err)
		}
		return d.file(f, "", 0)
	case Directory:
		return d.folder(&fsFolder{fsys, d.root}, "", 0)
	case Symlink:
		target, err := dir.readLink(name)
		return d.symlink(target, err, "", 0)
	}
	return d.failed(ErrFileType)
}
