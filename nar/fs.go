package nar

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// An FS is an archive as a file system, with random access: opening a file reads
// nothing but the part of the archive that is asked for. It implements [fs.FS],
// [fs.ReadDirFS], [fs.ReadFileFS], [fs.StatFS] and [fs.ReadLinkFS], and may be used
// by several goroutines at once.
//
// Symlinks are followed within the archive. One that is absolute or leads out of it
// is an error where it must be followed. Modification times are zero, since an
// archive has none. Paths must be UTF-8, as io/fs has it; for names that are not, use
// [Listing.Lookup] and [FS.Contents]. Opened files implement [io.ReaderAt] and
// [io.Seeker].
type FS struct {
	src  io.ReaderAt
	root *Listing
}

// NewFS returns the file system of the archive that src holds, of which root is the
// listing: from [Index], or from the ".ls" file of a binary cache, in which case
// offsets are only as good as that file.
func NewFS(src io.ReaderAt, root *Listing) *FS { return &FS{src, root} }

// Root returns the listing of the archive.
func (f *FS) Root() *Listing { return f.root }

// Contents returns the contents of a file of the listing. An archive that ends before
// they do is io.ErrUnexpectedEOF.
func (f *FS) Contents(file *Listing) *io.SectionReader {
	return io.NewSectionReader(wholeReader{f.src}, file.Offset, int64(file.Size))
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
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("the listing does not say where its contents are")}
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
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errNoDirectory}
	}
	return dirEntries(l.Entries), nil
}

// ReadFile implements fs.ReadFileFS.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	// What is really there sizes the memory, not what a listing says.
	return io.ReadAll(file)
}

var (
	errDirectory   = errors.New("it is a directory")
	errNoDirectory = errors.New("it is not a directory")
	errLeadsOut    = errors.New("a symlink leads out of the archive")
	errLoop        = errors.New("too many symlinks")
)

// maxFollowed is how many symlinks may be followed for one path, as in Linux.
const maxFollowed = 40

// find returns what is at the path name. The last component is followed if it is a
// symlink, if asked for; those before it always are.
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

// walk goes from the root to where the path leads.
func (f *FS) walk(name string, follow bool) (*Listing, error) {
	way := []*Listing{f.root} // from the root to where we are
	rest := name
	for followed := 0; rest != ""; {
		var first string
		first, rest, _ = strings.Cut(rest, "/")
		here := way[len(way)-1]
		if here.Kind != Directory && first != "." && first != "" {
			return nil, fs.ErrNotExist
		}
		if first == ".." {
			if len(way) == 1 {
				return nil, errLeadsOut
			}
			way = way[:len(way)-1]
			continue
		}
		next := here.Lookup(first)
		if next == nil {
			return nil, fs.ErrNotExist
		}
		if next.Kind != Symlink || rest == "" && !follow {
			if next != here {
				way = append(way, next)
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
	return way[len(way)-1], nil
}
