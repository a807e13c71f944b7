package nar

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"

	"pix/nixhash"
	"pix/wire"
)

var (
	// ErrFileType is why something cannot be dumped that is neither a file nor a
	// directory nor a symlink, such as a socket, a named pipe or a device.
	ErrFileType = errors.New("it is no regular file, directory or symlink, and an archive can hold nothing else")
	// ErrFileChanged is why a file cannot be dumped whose size or kind changed
	// meanwhile.
	ErrFileChanged = errors.New("it was changed while it was read")
)

// DumpOptions say what is dumped, and how. A nil pointer is the zero value.
type DumpOptions struct {
	// Filter is asked about everything below the path that is dumped, and what it
	// refuses is left out, a directory with all that lies in it. The path is relative
	// to what is dumped, with slashes; the kind is 0 for what no archive can hold. The
	// calls come one after the other, but from a goroutine other than the caller's.
	Filter func(path string, kind Kind) bool

	// CaseHack undoes what [RestoreOptions.CaseHack] did: a name ends in the archive
	// where "~nix~case~hack~" begins in it.
	CaseHack bool
}

// A FileWriter is a writer that can be given files instead of their bytes, so that these need not
// pass through the program: see sendfile(2).
type FileWriter interface {
	io.Writer

	// WriteFile writes the first n bytes of a file. If the file has fewer it writes those,
	// and returns how many they are without an error.
	WriteFile(f File, n int64) (written int64, err error)
}

// A File is an open regular file, such as an [*os.File].
type File interface {
	io.ReaderAt
	Fd() uintptr // the descriptor, which is not to be closed
}

// Dump writes the archive of path to dst, which is given large files as such if it is a
// [FileWriter]. Symlinks are not followed, also not one
// that path itself is. Of the permissions of a file only that of its owner to
// execute it is kept.
//
// Files are read ahead while dst is written to: the writes come from the caller's
// goroutine, and what was started has ended when Dump returns. It needs a few
// megabytes, and the names of the directories on the way to where it is.
//
// The error is an [*fs.PathError] that names the file at fault ([ErrFileType] and
// [ErrFileChanged] among the reasons), or that of dst, or the cause of the
// cancellation of ctx.
func Dump(ctx context.Context, dst io.Writer, path string, opts *DumpOptions) error {
	return pump(ctx, dst, func(p *pipeline) error { return newDumper(p, path, opts).path() })
}

// DumpFS writes the archive of what name is in fsys to dst, as [Dump] does. Symlinks
// are dumped as such if fsys is an [fs.ReadLinkFS].
func DumpFS(ctx context.Context, dst io.Writer, fsys fs.FS, name string, opts *DumpOptions) error {
	return pump(ctx, dst, func(p *pipeline) error { return newDumper(p, name, opts).pathFS(fsys) })
}

// HashPath returns the hash and the size in bytes of the archive of path, as [Dump]
// would write it.
func HashPath(ctx context.Context, path string, algo nixhash.Algorithm, opts *DumpOptions) (h nixhash.Hash, size uint64, err error) {
	hasher := NewHasher(algo)
	if err := Dump(ctx, hasher, path, opts); err != nil {
		return nixhash.Hash{}, 0, err
	}
	return hasher.Hash(), hasher.Size(), nil
}

// A dumper is the reading half of a dump.
type dumper struct {
	*pipeline
	opts DumpOptions
	root string // what is dumped, for messages
	rel  []byte // where we are below it
	list [MaxDepth]nameList
}

func newDumper(p *pipeline, root string, opts *DumpOptions) *dumper {
	d := &dumper{pipeline: p, root: root}
	if opts != nil {
		d.opts = *opts
	}
	return d
}

// path dumps the root.
func (d *dumper) path() error {
	// Lstat follows a symlink with a slash after it, and Nix does not.
	path := filepath.Clean(d.root)
	info, err := os.Lstat(path)
	if err != nil {
		return d.failed(err)
	}
	switch kindOf(info.Mode()) {
	case Regular:
		f, err := openSame(path, info)
		if err != nil {
			return d.failed(err)
		}
		return d.file(f, "", 0)
	case Directory:
		f, err := openRootFolder(os.OpenRoot(path))
		if err != nil {
			return d.failed(err)
		}
		return d.folder(f, "", 0)
	case Symlink:
		target, err := os.Readlink(path)
		return d.symlink(target, err, "", 0)
	}
	return d.failed(ErrFileType)
}

// openSame opens the file that info describes, and no other that has taken its place.
func openSame(path string, info fs.FileInfo) (openedFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return openedFile{}, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		f.Close()
		return openedFile{}, errors.Join(err, ErrFileChanged)
	}
	opened, err := openedFrom(f)
	opened.at = f
	return opened, err
}

// folder dumps a directory and closes it.
func (d *dumper) folder(f folder, name string, depth int) error {
	defer f.close()
	l := &d.list[depth]
	l.reset()
	err := f.list(l)
	if err == nil {
		if d.opts.CaseHack {
			l.undoCaseHack()
		}
		err = l.sort()
	}
	if err != nil {
		return d.failed(err)
	}
	if err := d.begin(Entry{Kind: Directory, Depth: depth, Name: name}); err != nil {
		return err
	}
	for _, place := range l.places {
		if err := d.item(f, l, place, depth+1); err != nil {
			return err
		}
	}
	return d.end(depth)
}

// item dumps one of the things in a directory.
func (d *dumper) item(f folder, l *nameList, at namePlace, depth int) error {
	if d.ctx.Err() != nil {
		return context.Cause(d.ctx)
	}
	above := len(d.rel)
	defer func() { d.rel = d.rel[:above] }()
	if above > 0 {
		d.rel = append(d.rel, '/')
	}
	d.rel = append(d.rel, l.name(at)...)

	if d.opts.Filter != nil && !d.opts.Filter(string(d.rel), l.kind(at)) {
		return nil
	}
	if depth >= MaxDepth {
		return d.failed(fmt.Errorf("it lies more than %d directories deep", MaxDepth-1))
	}
	fileName, name := l.fileName(at), string(l.name(at))
	switch l.kind(at) {
	case Regular:
		file, err := f.openFile(fileName)
		if err != nil {
			return d.failed(err)
		}
		return d.file(file, name, depth)
	case Directory:
		sub, err := f.openFolder(fileName)
		if err != nil {
			return d.failed(err)
		}
		return d.folder(sub, name, depth)
	case Symlink:
		target, err := f.readLink(fileName)
		return d.symlink(target, err, name, depth)
	}
	return d.failed(ErrFileType)
}

func (d *dumper) symlink(target string, err error, name string, depth int) error {
	if err != nil {
		return d.failed(err)
	}
	e := Entry{Kind: Symlink, Depth: depth, Name: name, Target: target}
	if reason := checkNode(&e); reason != "" {
		return d.failed(errors.New(reason))
	}
	if err := d.begin(e); err != nil {
		return err
	}
	return d.end(depth)
}

// file dumps a file and closes it.
func (d *dumper) file(f openedFile, name string, depth int) error {
	defer f.Close()
	e := Entry{Kind: Regular, Depth: depth, Name: name, Executable: f.executable, Size: f.size}
	if err := d.begin(e); err != nil {
		return err
	}
	if err := d.contents(f); err != nil {
		return err
	}
	if err := d.append(wire.WordSize, func(dst []byte) []byte { return wire.AppendPadding(dst, f.size) }); err != nil {
		return err
	}
	return d.end(depth)
}

// contents copies as many bytes as the file's size says, and sees to it that there
// are no more.
func (d *dumper) contents(f openedFile) error {
	left, src := f.size, io.Reader(f)
	if f.at != nil && f.size >= largeFile {
		n, err := d.large(f)
		if err != nil {
			return err
		}
		left, src = f.size-n, io.NewSectionReader(f.at, int64(n), math.MaxInt64)
	}
	for atEnd := false; !atEnd; {
		if err := d.room(1); err != nil {
			return err
		}
		// One byte more than there should be, so that the last read also finds the end.
		space := d.chunk[d.used:]
		if uint64(len(space)) > left {
			space = space[:left+1]
		}
		n, err := src.Read(space)
		if err != nil && err != io.EOF {
			return d.failed(err)
		}
		if uint64(n) > left || err == io.EOF && uint64(n) < left {
			return d.failed(ErrFileChanged)
		}
		d.used += n
		left -= uint64(n)
		atEnd = left == 0 && (err == io.EOF || f.shortMeansEnd && n < len(space))
	}
	return nil
}

// largeFile is the size in bytes from which both halves may read a file.
const largeFile = 4 * chunkSize

// large copies a large file, or so much of it as makes whole chunks, and returns how
// many bytes that is.
func (d *dumper) large(f openedFile) (n uint64, err error) {
	var late sync.WaitGroup
	defer late.Wait() // the file is going to be closed
	if _, ok := f.at.(File); ok && d.files {
		return f.size, d.pipeline.file(&lateRead{src: f.at, size: int64(f.size), failed: d.failed, done: &late})
	}
	for ; f.size-n >= chunkSize; n += chunkSize {
		if err := d.fill(&lateRead{src: f.at, offset: int64(n), failed: d.failed, done: &late}); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (d *dumper) begin(e Entry) error {
	return d.append(maxEntryBytes, func(dst []byte) []byte { return appendNode(dst, &e) })
}

func (d *dumper) end(depth int) error {
	return d.append(2*len(endBytes), func(dst []byte) []byte { return appendEnd(dst, depth) })
}

// failed says which file an error is about.
func (d *dumper) failed(err error) error {
	var inner *fs.PathError
	if errors.As(err, &inner) {
		err = inner.Err
	}
	path := d.root
	if len(d.rel) > 0 {
		path = filepath.Join(path, filepath.FromSlash(string(d.rel)))
	}
	return &fs.PathError{Op: "dump", Path: path, Err: err}
}
