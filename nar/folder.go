package nar

import (
	"io"
	"io/fs"
)

// A folder is a directory that is being dumped. Names are single ones, those that
// list returned.
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
	at         io.ReaderAt // the same contents, or nil
	size       uint64
	executable bool

	// shortMeansEnd says that a Read that fills less than it could has met the end.
	shortMeansEnd bool
}

// kindOf returns the kind of node that a file of that mode makes, 0 for none.
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

// openedFrom returns f as an openedFile, if it is a regular file.
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
