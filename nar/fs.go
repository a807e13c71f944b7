package nar

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// An FS is a file system with random access to the files in an archive. Reading a file
// reads only its part of the archive. FS implements [fs.FS], [fs.ReadDirFS],
// [fs.ReadFileFS], [fs.StatFS] and [fs.ReadLinkFS], and may be used by several goroutines
// at the same time.
//
// Symlinks are followed within the archive. Following one that is absolute or leads out of
// the archive is an error. Modification times are zero, because an archive has none. Paths
// must be UTF-8, as io/fs requires; use [Listing.Lookup] and [FS.Contents] for other names.
// Opened files implement [io.ReaderAt] and [io.Seeker].
type FS struct {
	src  io.ReaderAt
	root *Listing
}

// NewFS returns the file system of the archive in src with the listing root. If root does
// not come from [Index] but from the ".ls" file of a binary cache, the offsets are only as
// reliable as that file.
func NewFS(src io.ReaderAt, root *Listing) *FS { return &FS{src, root} }

// Root returns the listing of the archive.
func (f *FS) Root() *Listing { return f.root }

// Contents returns a reader of the contents of file, which must belong to the listing. If
// the archive ends before the contents do, reading returns io.ErrUnexpectedEOF.
func (f *FS) Contents(file *Listing) *io.SectionReader {
	return io.NewSectionReader(fullReader{f.src}, file.Offset, int64(file.Size))
}

// Open implements fs.FS.
func (f *FS) Open(name string) (fs.File, error) {
	l, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info := fileInfo{path.Base(name), l}
	if l.Kind == Directory {
		return &openDir{info: info}, nil
	}
	if l.Offset == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("the listing does not contain the offset of its contents")}
	}
	return &openFile{f.Contents(l), info}, nil
}

// Stat implements fs.StatFS.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat implements fs.ReadLinkFS.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	l, err := f.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), l}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (f *FS) ReadLink(name string) (string, error) {
	l, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if l.Kind != Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return l.Target, nil
}

// ReadDir implements fs.ReadDirFS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	l, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if l.Kind != Directory {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNotDirectory}
	}
	return dirEntries(l.Entries), nil
}

// ReadFile implements fs.ReadFileFS.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	// Do not allocate the size in the listing, which may be wrong: grow with the bytes read.
	return io.ReadAll(file)
}

var (
	errDirectory    = errors.New("it is a directory")
	errNotDirectory = errors.New("it is not a directory")
	errLeadsOut     = errors.New("a symlink leads out of the archive")
	errLoop         = errors.New("too many symlinks")
)

// maxFollowed is the number of symlinks that may be followed for one path, as in Linux.
const maxFollowed = 40

// find returns the node at the path name. It follows symlinks in all components except the
// last, and also there if follow is set.
func (f *FS) find(op, name string, follow bool) (*Listing, error) {
	fail := func(err error) (*Listing, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	l, err := f.walk(name, follow)
	if err != nil {
		return fail(err)
	}
	return l, nil
}

// walk resolves the path name from the root.
func (f *FS) walk(name string, follow bool) (*Listing, error) {
	nodes := []*Listing{f.root} // from the root to the current node
	rest := name
	for followed := 0; rest != ""; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		here := nodes[len(nodes)-1]
		if here.Kind != Directory && first != "." && first != "" {
			return nil, fs.ErrNotExist
		}
		if first == ".." {
			if len(nodes) == 1 {
				return nil, errLeadsOut
			}
			nodes = nodes[:len(nodes)-1]
			continue
		}
		next := here.Lookup(first)
		if next == nil {
			return nil, fs.ErrNotExist
		}
		if next.Kind != Symlink || rest == "" && !follow {
			if next != here {
				nodes = append(nodes, next)
			}
			continue
		}
		if followed++; followed > maxFollowed {
			return nil, errLoop
		}
		if path.IsAbs(next.Target) {
			return nil, errLeadsOut
		}
		rest = next.Target + "/" + rest
	}
	return nodes[len(nodes)-1], nil
}

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

// A fileInfo describes a node as an fs.FileInfo.
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

// A fullReader converts a short read into io.ErrUnexpectedEOF.
type fullReader struct{ src io.ReaderAt }

func (r fullReader) ReadAt(p []byte, offset int64) (int, error) {
	n, err := r.src.ReadAt(p, offset)
	if err == io.EOF && n < len(p) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
