package nar

import (
	"io"
	"io/fs"
	"time"
)

// An openFile is an open file of an [FS].
type openFile struct {
	*io.SectionReader
	info fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

// An openDir is an open directory of an [FS].
type openDir struct {
	info fileInfo
	next int // index of the entry that ReadDir returns next
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errDirectory}
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	left := d.info.listing.Entries[d.next:]
	if n > 0 {
		if len(left) == 0 {
			return nil, io.EOF
		}
		left = left[:min(n, len(left))]
	}
	d.next += len(left)
	return dirEntries(left), nil
}

func dirEntries(list []Listing) []fs.DirEntry {
	entries := make([]fs.DirEntry, len(list))
	for i := range list {
		entries[i] = fs.FileInfoToDirEntry(fileInfo{list[i].Name, &list[i]})
	}
	return entries
}

// A fileInfo describes a node as io/fs has it.
type fileInfo struct {
	name    string
	listing *Listing
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return int64(i.listing.Size) }
func (i fileInfo) IsDir() bool        { return i.listing.Kind == Directory }
func (i fileInfo) ModTime() time.Time { return time.Time{} }

// Sys returns the [*Listing] of the node.
func (i fileInfo) Sys() any { return i.listing }

// Mode returns the mode that the node has in a Nix store.
func (i fileInfo) Mode() fs.FileMode {
	switch {
	case i.listing.Kind == Directory:
		return fs.ModeDir | 0o555
	case i.listing.Kind == Symlink:
		return fs.ModeSymlink | 0o777
	case i.listing.Executable:
		return 0o555
	}
	return 0o444
}

// A wholeReader reads an archive of which every part that is asked for must exist.
type wholeReader struct{ src io.ReaderAt }

func (r wholeReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.src.ReadAt(p, offset)
	if err == io.EOF && n < len(p) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
