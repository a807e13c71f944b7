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
	// ErrFileType is the reason why a file that is neither a regular file nor a directory
	// nor a symlink, such as a socket, a named pipe or a device, cannot be dumped.
	ErrFileType = errors.New("it is not a regular file, directory or symlink, and an archive cannot contain anything else")
	// ErrFileChanged is the reason why a file whose size or kind changed during the dump
	// cannot be dumped.
	ErrFileChanged = errors.New("it changed while it was being read")
	// ErrOffset is the error of [DumpFrom] for an offset after the end of the archive, or a negative one.
	ErrOffset = errors.New("the offset is not in the archive")
)

// DumpOptions are the options of a dump. A nil pointer is the zero value.
type DumpOptions struct {
	// Filter reports whether to include a file. It is called for everything below the
	// dumped path; a directory that it excludes is excluded with its contents. path is
	// relative to the dumped path and separated by slashes. kind is 0 for files that no
	// archive can contain. Dump makes one call at a time, but not on the caller's goroutine.
	Filter func(path string, kind Kind) bool

	// CaseHack reverses [RestoreOptions.CaseHack]: it removes "~nix~case~hack~" and the
	// text after it from names.
	CaseHack bool
}

// A FileWriter is a writer that can also write open files, so that their bytes need not be
// copied through user space; see sendfile(2).
type FileWriter interface {
	io.Writer

	// WriteFile writes the first n bytes of f and returns how many it wrote. If the file is
	// shorter, it writes the whole file and returns no error.
	WriteFile(f File, n int64) (written int64, err error)
}

// A File is an open regular file, such as an [*os.File].
type File interface {
	io.ReaderAt
	Fd() uintptr // the descriptor, which the caller must not close
}

// Dump writes the archive of path to dst. It does not follow symlinks, not even if path
// itself is one. The only permission it keeps is the execute bit of a file's owner. If dst
// is a [FileWriter], it receives large files as open files.
//
// Dump reads files ahead while it writes to dst, unless path is a small file. All writes come from the caller's
// goroutine, and all other goroutines have ended when Dump returns. It needs a few
// megabytes of memory, and the names in the directories from path to the current file.
//
// The error is an [*fs.PathError] with the path of the file ([ErrFileType] and
// [ErrFileChanged] are among the reasons), the error of dst, or the cause of the
// cancellation of ctx.
func Dump(ctx context.Context, dst io.Writer, path string, opts *DumpOptions) error {
	if f, ok := openSmall(path); ok {
		return newDumper(&pipeline{ctx: ctx}, path, opts).smallFile(dst, f)
	}
	return runPipeline(ctx, dst, func(p *pipeline) error { return newDumper(p, path, opts).path() })
}

// DumpFS writes the archive of name in fsys to dst, as [Dump] does. It dumps symlinks as
// symlinks if fsys is an [fs.ReadLinkFS].
func DumpFS(ctx context.Context, dst io.Writer, fsys fs.FS, name string, opts *DumpOptions) error {
	return runPipeline(ctx, dst, func(p *pipeline) error { return newDumper(p, name, opts).pathFS(fsys) })
}

// DumpFrom writes the archive that [Dump] would write from an offset in bytes on. It does not read the
// contents of files before the offset. If the offset is not in the archive, nothing is written and
// the error is [ErrOffset].
func DumpFrom(ctx context.Context, dst io.Writer, path string, offset int64, opts *DumpOptions) error {
	if offset < 0 {
		return ErrOffset
	}
	return runPipeline(ctx, dst, func(p *pipeline) error {
		d := newDumper(p, path, opts)
		d.skip = uint64(offset)
		if err := d.path(); err != nil {
			return err
		}
		if d.skip > 0 {
			return ErrOffset
		}
		return nil
	})
}

// HashPath returns the hash and the size in bytes of the archive that [Dump] would write.
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
	opts    DumpOptions
	root    string       // the dumped path, for error messages
	rel     []byte       // path of the current file, relative to root
	lists   []*nameList  // of the open directories, by depth; used again for the next ones
	listing *dumpListing // if not nil, the nodes go here and the contents are not read
	skip    uint64       // number of bytes before the offset of [DumpFrom] that are still to be dropped
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
	// Unlike Nix, Lstat follows a symlink if a slash follows its name.
	path := filepath.Clean(d.root)
	info, err := os.Lstat(path)
	if err != nil {
		return d.pathError(err)
	}
	switch kindOf(info.Mode()) {
	case Regular:
		f, err := openSame(path, info)
		if err != nil {
			return d.pathError(err)
		}
		return d.file(f, "", 0)
	case Directory:
		f, err := openRootFolder(os.OpenRoot(path))
		if err != nil {
			return d.pathError(err)
		}
		return d.folder(f, "", 0)
	case Symlink:
		target, err := os.Readlink(path)
		return d.symlink(target, err, "", 0)
	}
	return d.pathError(ErrFileType)
}

// openSame opens the file that info describes. It fails if another file has replaced it.
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
	opened.readerAt = f
	return opened, err
}

// folder dumps a directory and closes it.
func (d *dumper) folder(f folder, name string, depth int) error {
	defer f.close()
	if depth == len(d.lists) {
		d.lists = append(d.lists, new(nameList))
	}
	l := d.lists[depth]
	l.reset()
	err := f.list(l)
	if err == nil {
		if d.opts.CaseHack {
			l.undoCaseHack()
		}
		err = l.sort()
	}
	if err != nil {
		return d.pathError(err)
	}
	if err := d.begin(Entry{Kind: Directory, Depth: depth, Name: name}); err != nil {
		return err
	}
	for _, pos := range l.positions {
		if err := d.item(f, l, pos, depth+1); err != nil {
			return err
		}
	}
	return d.end(depth)
}

// item dumps one item of a directory.
func (d *dumper) item(f folder, l *nameList, at namePos, depth int) error {
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
		return d.pathError(fmt.Errorf("it lies more than %d directories deep", MaxDepth-1))
	}
	fileName, name := l.fileName(at), string(l.name(at))
	switch l.kind(at) {
	case Regular:
		file, err := f.openFile(fileName)
		if err != nil {
			return d.pathError(err)
		}
		return d.file(file, name, depth)
	case Directory:
		sub, err := f.openFolder(fileName)
		if err != nil {
			return d.pathError(err)
		}
		return d.folder(sub, name, depth)
	case Symlink:
		target, err := f.readLink(fileName)
		return d.symlink(target, err, name, depth)
	}
	return d.pathError(ErrFileType)
}

func (d *dumper) symlink(target string, err error, name string, depth int) error {
	if err != nil {
		return d.pathError(err)
	}
	e := Entry{Kind: Symlink, Depth: depth, Name: name, Target: target}
	if reason := checkNode(&e); reason != "" {
		return d.pathError(errors.New(reason))
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
	if d.listing != nil {
		d.listing.skip(f.size)
		return d.end(depth)
	}
	if err := d.contents(f); err != nil {
		return err
	}
	if err := d.write(wire.WordSize, func(dst []byte) []byte { return wire.AppendPadding(dst, f.size) }); err != nil {
		return err
	}
	return d.end(depth)
}

// contents copies the contents of f. It fails unless their length is exactly the size of
// the file when it was opened.
func (d *dumper) contents(f openedFile) error {
	if d.skip > 0 {
		return d.contentsFrom(f)
	}
	left, src := f.size, io.Reader(f)
	if f.readerAt != nil && f.size >= largeFile {
		n, err := d.large(f)
		if err != nil {
			return err
		}
		left, src = f.size-n, io.NewSectionReader(f.readerAt, int64(n), math.MaxInt64)
	}
	for atEnd := false; !atEnd; {
		if err := d.reserve(1); err != nil {
			return err
		}
		// Leave space for one byte more than expected, so that the last read also finds the end.
		space := d.chunk[d.used:]
		if uint64(len(space)) > left {
			space = space[:left+1]
		}
		n, err := src.Read(space)
		if err != nil && err != io.EOF {
			return d.pathError(err)
		}
		if uint64(n) > left || err == io.EOF && uint64(n) < left {
			return d.pathError(ErrFileChanged)
		}
		d.used += n
		left -= uint64(n)
		atEnd = left == 0 && (err == io.EOF || f.shortReadIsEOF && n < len(space))
	}
	return nil
}

// largeFile is the size in bytes from which a file is read in whole chunks, by either half.
const largeFile = 4 * chunkSize

// large copies the whole chunks of a large file, or all of it if the writer takes whole
// files, and returns the number of bytes.
func (d *dumper) large(f openedFile) (n uint64, err error) {
	var reads sync.WaitGroup
	defer reads.Wait() // the caller closes the file
	if _, ok := f.readerAt.(File); ok && d.files {
		return f.size, d.pipeline.file(&deferredRead{src: f.readerAt, size: int64(f.size), pathError: d.pathError, done: &reads})
	}
	for ; f.size-n >= chunkSize; n += chunkSize {
		if err := d.fill(&deferredRead{src: f.readerAt, offset: int64(n), pathError: d.pathError, done: &reads}); err != nil {
			return n, err
		}
	}
	return n, nil
}

func (d *dumper) begin(e Entry) error {
	if d.listing != nil {
		d.listing.begin(&e)
		return nil
	}
	return d.write(maxEntryBytes, func(dst []byte) []byte { return appendNode(dst, &e) })
}

func (d *dumper) end(depth int) error {
	if d.listing != nil {
		d.listing.end(depth)
		return nil
	}
	return d.write(2*len(endBytes), func(dst []byte) []byte { return appendEnd(dst, depth) })
}

// pathError returns err with the path of the current file.
func (d *dumper) pathError(err error) error {
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
