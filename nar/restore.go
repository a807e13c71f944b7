package nar

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
)

// restoreBuffer is the number of bytes of contents that are written at a time.
const restoreBuffer = 128 << 10

type restorePiece [restoreBuffer]byte

var restorePieces = sync.Pool{New: func() any { return new(restorePiece) }}

// RestoreOptions are the options of a restore. A nil pointer is the zero value.
type RestoreOptions struct {
	// Check is called when the whole archive was read, before the result becomes visible. If
	// it returns an error, Restore removes the result and returns the error. It can compare
	// the hash of the archive with the expected one.
	Check func() error

	// Tee, unless nil, receives the archive while it is read, and all of it before Check is
	// called. Restore calls it from one goroutine at a time, but possibly from another one
	// than the caller's, and possibly after the bytes were written to a file. Unlike an
	// io.TeeReader around src, it receives no bytes that follow the archive.
	Tee io.Writer

	// MaxSize is the maximum size of the archive in bytes; 0 means no limit. Restore returns
	// [ErrTooLong] as soon as the archive is known to be longer: for a file, before reading
	// its contents.
	MaxSize uint64

	// Progress is called after each entry, and several times during large files.
	Progress func(RestoreProgress)

	// CaseHack is for file systems that ignore case, such as the default one of macOS. If a
	// name differs from an earlier one in its directory only by the case of A-Z, Restore
	// appends "~nix~case~hack~" and a number to it.
	CaseHack bool

	// InPlace creates the result directly under its final name, where others can see it
	// before it is complete. The caller must prevent that by other means.
	InPlace bool

	// Canonical sets the metadata that Nix gives to store objects: mode 0555 for directories
	// and executables, 0444 for other files, and a modification time of one second after
	// 1970.
	Canonical bool
}

// ErrTooLong is the error for an archive that is longer than [RestoreOptions.MaxSize].
var ErrTooLong = errors.New("the archive is longer than the limit")

// RestoreProgress is the progress of a restore.
type RestoreProgress struct {
	Entries uint64 // files, directories and symlinks that were started
	Bytes   uint64 // bytes of contents that were written
}

// Restore reads the next archive in src and creates its file, directory or symlink as name
// in root. If src is a [*wire.Reader], it is positioned directly after the archive when
// Restore returns.
//
// Restore builds the result under a temporary name in the same directory, which begins with
// ".nar-", and renames it at the end. So nothing is visible under name before the whole
// archive was read, unless InPlace is set. After an error it removes the result. It never
// touches anything outside of root, and follows no symlinks in the archive.
//
// If name exists already, the error is [fs.ErrExist]. If two processes create a directory of
// the same name at the same moment, one of them may replace the other's, if that is still
// empty. This cannot happen with files and symlinks.
//
// Directories and executables have mode 0755 and other files 0644, unless Canonical is set.
// As in Nix, the umask has no effect. During the restore only the owner has access: if others
// could write to an incomplete directory, they could add files to it. Restore does not sync
// the result to disk.
//
// The error is an [*Error] if the archive is not valid, an [*fs.PathError] with a path below
// the name of root if the file system fails, or the cause of the cancellation of ctx. Restore
// checks ctx between entries and between pieces of large files; it does not interrupt a Read
// of src.
func Restore(ctx context.Context, root *os.Root, name string, src io.Reader, opts *RestoreOptions) (err error) {
	dir, base := path.Split(filepath.ToSlash(name))
	if !filepath.IsLocal(name) || checkName(base) != "" {
		return &fs.PathError{Op: "restore", Path: name, Err: errors.New("the name does not lie within the directory")}
	}
	in, release := borrowReader(src)
	defer release()
	r := &restorer{ctx: ctx, src: in, name: filepath.Join(root.Name(), name)}
	if opts != nil {
		r.opts = *opts
	}
	if r.opts.Tee != nil {
		r.async = newAsyncWriter(r.opts.Tee)
		defer r.async.wait()
		r.tee = NewWriter(r.async)
	}
	parent, err := root.OpenRoot(path.Join(".", dir))
	if err != nil {
		return r.pathError(err)
	}
	defer parent.Close()
	if err := r.checkNotExist(parent, base); err != nil {
		return err
	}
	building, complete := ".nar-"+rand.Text(), false
	if r.opts.InPlace {
		building = base
	}
	defer func() { // also if a callback panics
		if complete {
			return
		}
		if cleaning := r.remove(parent, building); cleaning != nil {
			err = errors.Join(err, r.pathError(cleaning))
		}
	}()
	if err := r.build(parent, building); err != nil {
		return err
	}
	if r.opts.Check != nil {
		if err := r.opts.Check(); err != nil {
			return err
		}
	}
	if r.opts.InPlace {
		complete = true
		return nil
	}
	return r.publish(parent, building, base)
}

// remove removes an incomplete result. Its directories may be read-only.
func (r *restorer) remove(parent *os.Root, name string) error {
	err := parent.RemoveAll(name)
	if !r.opts.Canonical || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	fs.WalkDir(parent.FS(), name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			parent.Chmod(path, 0o700)
		}
		return nil
	})
	return parent.RemoveAll(name)
}

// A restorer restores one archive.
type restorer struct {
	ctx  context.Context
	opts RestoreOptions
	src  *Reader
	tee  *Writer // writes to async; nil without Tee
	name string  // for error messages

	async    *asyncWriter
	kind     Kind // of the root of the archive
	open     []openDirectory
	progress RestoreProgress
}

// build restores the archive as name in parent.
func (r *restorer) build(parent *os.Root, name string) error {
	r.open = []openDirectory{{root: parent}}
	defer r.closeAll()
	for e, err := range r.src.All() {
		if err == nil {
			err = context.Cause(r.ctx)
		}
		if err == nil {
			err = r.checkSize(e)
		}
		if err == nil && r.tee != nil {
			err = r.tee.WriteEntry(e)
		}
		if err != nil {
			return err
		}
		if e.Depth == 0 {
			e.Name, r.kind = name, e.Kind
		}
		if err := r.closeBelow(e.Depth); err != nil {
			return err
		}
		if err := r.node(e); err != nil {
			return err
		}
		r.progress.Entries++
		r.report()
	}
	if err := r.closeBelow(0); err != nil {
		return err
	}
	if r.tee != nil {
		if err := r.tee.Close(); err != nil {
			return err
		}
		if err := r.async.wait(); err != nil {
			return err
		}
	}
	return context.Cause(r.ctx)
}

// checkSize returns [ErrTooLong] if the archive is too long including the contents of e.
func (r *restorer) checkSize(e Entry) error {
	size := uint64(r.src.Offset())
	if most := r.opts.MaxSize; most > 0 && (size > most || e.Size > most-size) {
		return ErrTooLong
	}
	return nil
}

// closeBelow completes and closes the directories that cannot contain a node of that depth.
func (r *restorer) closeBelow(depth int) error {
	for len(r.open) > depth+1 {
		last := len(r.open) - 1
		if err := r.finishDirectory(&r.open[last], &r.open[last-1]); err != nil {
			return r.pathError(err)
		}
		r.open[last].close()
		r.open = r.open[:last]
	}
	return nil
}

// closeAll closes the directories that are still open after an error.
func (r *restorer) closeAll() {
	for i := range r.open {
		if i > 0 {
			r.open[i].root.Close()
		}
		if r.open[i].self != nil {
			r.open[i].self.Close()
		}
	}
}

// publish renames the complete result to its final name.
func (r *restorer) publish(parent *os.Root, temporary, base string) error {
	if r.kind != Directory {
		// Unlike renaming, linking cannot replace an existing file.
		err := parent.Link(temporary, base)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return r.pathErrorOrNil(err)
		}
		// Some file systems do not support hard links.
	}
	if err := r.checkNotExist(parent, base); err != nil {
		return err
	}
	return r.pathErrorOrNil(parent.Rename(temporary, base))
}

func (r *restorer) checkNotExist(parent *os.Root, base string) error {
	_, err := parent.Lstat(base)
	if err == nil {
		err = fs.ErrExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return r.pathError(err)
}

func (r *restorer) pathErrorOrNil(err error) error {
	if err == nil {
		return nil
	}
	return r.pathError(err)
}

// pathError returns err with the path of the current entry in the file system.
func (r *restorer) pathError(err error) error {
	var inPath *fs.PathError
	var inLink *os.LinkError
	if errors.As(err, &inPath) {
		err = inPath.Err
	} else if errors.As(err, &inLink) {
		err = inLink.Err
	}
	return &fs.PathError{Op: "restore", Path: filepath.Join(r.name, filepath.FromSlash(r.src.Path())), Err: err}
}
