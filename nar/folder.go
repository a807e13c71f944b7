package nar

import (
	"io"
	"io/fs"
	"os"
	"path"
)

// A folder is a directory that is being dumped. The names are file names that list
// returned, without slashes.
type folder interface {
	list(*nameList) error
	openFile(name string) (openedFile, error)
	readLink(name string) (string, error)
	openFolder(name string) (folder, error)
	close()
}

// An openedFile is a file whose contents are about to be read.
type openedFile struct {
	io.ReadCloser
	readerAt   io.ReaderAt // reads the same contents; may be nil
	size       uint64
	executable bool

	// shortReadIsEOF is true if a Read that does not fill its buffer has reached the end.
	shortReadIsEOF bool
}

// kindOf returns the kind of node for a file with that mode, or 0 if there is none.
func kindOf(mode fs.FileMode) Kind {
	switch mode.Type() {
	case 0:
		return Regular
	case fs.ModeDir:
		return Directory
	case fs.ModeSymlink:
		return Symlink
	}
	return 0
}

// openedFrom returns f as an openedFile. If f is not a regular file, it closes f and fails.
func openedFrom(f fs.File) (openedFile, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrFileChanged
	}
	if err != nil {
		f.Close()
		return openedFile{}, err
	}
	return openedFile{ReadCloser: f, size: uint64(info.Size()), executable: info.Mode()&0o100 != 0}, nil
}

// A rootFolder is a directory of the file system. Files are opened relative to it, so a
// dump continues in the same tree if another process renames a directory above.
type rootFolder struct {
	root *os.Root
	self *os.File // the same directory, to read its names
}

func openRootFolder(root *os.Root, err error) (folder, error) {
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &rootFolder{root, self}, nil
}

func (f *rootFolder) openFolder(name string) (folder, error) {
	return openRootFolder(f.root.OpenRoot(name))
}

func (f *rootFolder) readLink(name string) (string, error) { return f.root.Readlink(name) }

func (f *rootFolder) close() {
	f.self.Close()
	f.root.Close()
}

// statKind returns the kind of a file in file systems whose directories do not contain it.
func (f *rootFolder) statKind(name string) (Kind, error) {
	info, err := f.root.Lstat(name)
	if err != nil {
		return 0, err
	}
	return kindOf(info.Mode()), nil
}

// An fsFolder is a directory in an fs.FS.
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

// pathFS dumps the root from a file system.
func (d *dumper) pathFS(fsys fs.FS) error {
	info, err := fs.Lstat(fsys, d.root)
	if err != nil {
		return d.pathError(err)
	}
	dir, name := &fsFolder{fsys, path.Dir(d.root)}, path.Base(d.root)
	switch kindOf(info.Mode()) {
	case Regular:
		f, err := dir.openFile(name)
		if err != nil {
			return d.pathError(err)
		}
		return d.file(f, "", 0)
	case Directory:
		return d.folder(&fsFolder{fsys, d.root}, "", 0)
	case Symlink:
		target, err := dir.readLink(name)
		return d.symlink(target, err, "", 0)
	}
	return d.pathError(ErrFileType)
}
