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

// restoreBuffer is how many bytes of contents are written at a time.
const restoreBuffer = 128 << 10

type restorePiece [restoreBuffer]byte

var restorePieces = sync.Pool{New: func() any { return new(restorePiece) }}

// RestoreOptions say how an archive is restored. A nil pointer is the zero value.
type RestoreOptions struct {
	// Check is called when the whole archive was read and nothing of it is to be seen
	// yet. If it returns an error, so does Restore, and nothing is left. It is the
	// place to compare the hash of what was read with the one that was promised.
	Check func() error

	// Tee is written the archive while it is read, and all of it before Check is called;
	// nil if nobody wants it. It may be called on another goroutine, a little later than
	// what it is given is in its place, but never by two at once. Unlike an io.TeeReader
	// around src it gets nothing of what follows the archive.
	Tee io.Writer

	// MaxSize is how many bytes the archive may have; 0 is any number. One that is longer is
	// [ErrTooLong] as soon as that is known: of a file before its contents are read.
	MaxSize uint64

	// Progress is called after each entry, and in between for large files.
	Progress func(RestoreProgress)

	// CaseHack is for file systems that ignore case, such as those of macOS: a name
	// that differs from an earlier one in the same directory by the case of A-Z alone
	// gets "~nix~case~hack~" and a number after it.
	CaseHack bool

	// InPlace builds under the name itself, where others can see what is not complete. It
	// is for those who keep others away from the name by other means.
	InPlace bool

	// Canonical gives everything the metadata that Nix gives to store objects: mode 0555 for
	// directories and executables and 0444 for other files, and a modification time of one
	// second after 1970.
	Canonical bool
}

// ErrTooLong is why an archive is not restored that has more bytes than it may.
var ErrTooLong = errors.New("the archive is longer than it may be")

// RestoreProgress says how much has been restored.
type RestoreProgress struct {
	Entries uint64 // files, directories and symlinks that were begun
	Bytes   uint64 // of contents
}

// Restore makes the file, directory or symlink of the archive that comes next in
// src, under that name in root. If src is a wire.Reader, it stands right behind the
// archive afterwards.
//
// Nothing is to be seen under the name before the archive was read to its end, unless it is
// restored in place: it is built beside it, under a name that begins with ".nar-", and renamed.
// After an error nothing is left of it. Whatever the archive says, nothing outside of root is
// touched, and no symlink is followed to get at a place.
//
// If there is something of that name already, the error is [fs.ErrExist]. (Of two
// that create the same directory at the same moment, one may find its own empty
// directory replaced; files and symlinks are safe even then.)
//
// Directories and executables get mode 0755 and other files 0644, unless they are to be
// canonical. As in Nix, the umask does not matter. While it is restored, everything is
// accessible to its owner alone: if a directory were writable for others before it is complete,
// they could add files that are not in the archive. Making the result durable is the caller's work.
//
// The error is an [*Error] if the archive is at fault, an [*fs.PathError], whose path begins with the name of
// root, if the file system is, or the cause of the cancellation of ctx. That is looked at between
// entries and between pieces of large files; a Read of src is not interrupted.
func Restore(ctx context.Context, root *os.Root, name string, src io.Reader, opts *RestoreOptions) (err error) {
	dir, base := path.Split(filepath.ToSlash(name))
	if !filepath.IsLocal(name) || badName(base) != "" {
		return &fs.PathError{Op: "restore", Path: name, Err: errors.New("it is no name of something within the directory")}
	}
	r := &restorer{ctx: ctx, src: NewReader(src), name: filepath.Join(root.Name(), name)}
	if opts != nil {
		r.opts = *opts
	}
	if r.opts.Tee != nil {
		r.aside = newAside(r.opts.Tee)
		defer r.aside.end()
		r.tee = NewWriter(r.aside)
	}
	parent, err := root.OpenRoot(path.Join(".", dir))
	if err != nil {
		return r.failed(err)
	}
	defer parent.Close()
	if err := r.mustNotExist(parent, base); err != nil {
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
			err = errors.Join(err, r.failed(cleaning))
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

// remove removes what was built, in which directories may be read-only.
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

// A restorer is at work on one archive.
type restorer struct {
	ctx  context.Context
	opts RestoreOptions
	src  *Reader
	tee  *Writer // to aside; nil if nobody wants the archive
	name string  // for messages

	aside    *aside
	kind     Kind // of the root of the archive
	open     []openDirectory
	progress RestoreProgress
}

// An openDirectory is one in which things are being made.
type openDirectory struct {
	name string // in the directory that it lies in
	root *os.Root
	self *os.File // the same; nil if nobody needed it
	hack caseHack
}

// build makes everything, with the root of the archive as name in parent.
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
		if err := r.aside.end(); err != nil {
			return err
		}
	}
	return context.Cause(r.ctx)
}

// checkSize returns an error if the archive is too long already, or with what the entry holds.
func (r *restorer) checkSize(e Entry) error {
	size := uint64(r.src.Offset())
	if most := r.opts.MaxSize; most > 0 && (size > most || e.Size > most-size) {
		return ErrTooLong
	}
	return nil
}

// closeBelow closes the directories in which nothing of that depth lies. They are complete.
func (r *restorer) closeBelow(depth int) error {
	for len(r.open) > depth+1 {
		last := len(r.open) - 1
		if err := r.finishDirectory(&r.open[last], &r.open[last-1]); err != nil {
			return r.failed(err)
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

// The modes of files and directories during the restore: other users have no access.
const (
	privateDirectory fs.FileMode = 0o700
	privateFile      fs.FileMode = 0o600
)

// finishDirectory sets the mode of a complete directory, and its time if Canonical is set.
func (r *restorer) finishDirectory(d, parent *openDirectory) error {
	self, err := d.file()
	if err != nil {
		return err
	}
	if r.opts.Canonical {
		if err := self.Chmod(0o555); err != nil {
			return err
		}
		return parent.setTime(d.name)
	}
	info, err := self.Stat()
	if err != nil {
		return err
	}
	// In a directory that hands its group down, those below it do, too.
	return self.Chmod(info.Mode()&fs.ModeSetgid | 0o755)
}

// fileMode returns the mode of a file that is complete.
func (r *restorer) fileMode(e Entry) fs.FileMode {
	switch {
	case r.opts.Canonical && e.Executable:
		return 0o555
	case r.opts.Canonical:
		return 0o444
	case e.Executable:
		return 0o755
	}
	return 0o644
}

func (d *openDirectory) close() {
	if d.self != nil {
		d.self.Close()
	}
	d.root.Close()
}

// setTime gives what lies in the directory the time of everything in a store.
func (d *openDirectory) setTime(name string) error {
	self, err := d.file()
	if err != nil {
		return err
	}
	return setCanonicalTime(self, name)
}

// file returns the directory itself.
func (d *openDirectory) file() (f *os.File, err error) {
	if d.self == nil {
		d.self, err = d.root.Open(".")
	}
	return d.self, err
}

// node makes one node in the innermost open directory.
func (r *restorer) node(e Entry) error {
	dir := &r.open[len(r.open)-1]
	if r.opts.CaseHack && e.Depth > 0 {
		hacked, err := dir.hack.name(e.Name)
		if err != nil {
			return r.failed(err)
		}
		e.Name = hacked
	}
	switch e.Kind {
	case Directory:
		return r.directory(dir.root, e.Name)
	case Symlink:
		return r.failedOrNil(r.symlink(dir, e))
	}
	return r.file(dir, e)
}

func (r *restorer) symlink(dir *openDirectory, e Entry) error {
	if err := dir.root.Symlink(e.Target, e.Name); err != nil || !r.opts.Canonical {
		return err
	}
	return dir.setTime(e.Name)
}

func (r *restorer) directory(dir *os.Root, name string) error {
	if err := dir.Mkdir(name, privateDirectory); err != nil {
		return r.failed(err)
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return r.failed(err)
	}
	r.open = append(r.open, openDirectory{name: name, root: sub})
	return nil
}

func (r *restorer) file(dir *openDirectory, e Entry) error {
	f, err := dir.root.OpenFile(e.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateFile)
	if err != nil {
		return r.failed(err)
	}
	err = r.contents(f, e)
	if err == nil {
		err = r.failedOrNil(f.Chmod(r.fileMode(e)))
	}
	if closing := f.Close(); err == nil && closing != nil {
		return r.failed(closing)
	}
	if err == nil && r.opts.Canonical {
		err = r.failedOrNil(dir.setTime(e.Name))
	}
	return err
}

func (r *restorer) contents(f *os.File, e Entry) error {
	if r.tee != nil && e.Size > smallFile {
		if err := r.tee.flush(0); err != nil {
			return err
		}
	}
	for {
		piece := restorePieces.Get().(*restorePiece)
		n, err := io.ReadFull(r.src, piece[:])
		atEnd := err == io.EOF || err == io.ErrUnexpectedEOF // of the contents; that of the stream is an [*Error]
		if err == nil || atEnd {
			err = context.Cause(r.ctx)
		}
		if err == nil && n > 0 {
			_, err = f.Write(piece[:n])
			err = r.failedOrNil(err)
		}
		if err == nil {
			err = r.passOn(piece, n, e)
		} else {
			restorePieces.Put(piece)
		}
		if err != nil {
			return err
		}
		r.progress.Bytes += uint64(n)
		if atEnd {
			return nil
		}
		r.report()
	}
}

// smallFile is the size in bytes up to which a file's contents are put together with what
// stands around them, for the tee.
const smallFile = 32 << 10

// passOn lets the tee have a piece of a file's contents, which is the caller's no longer.
func (r *restorer) passOn(piece *restorePiece, n int, e Entry) error {
	if r.tee == nil || n == 0 {
		restorePieces.Put(piece)
		return nil
	}
	if e.Size <= smallFile {
		_, err := r.tee.Write(piece[:n])
		restorePieces.Put(piece)
		return err
	}
	r.tee.passed(n)
	return r.aside.give(piece, n)
}

func (r *restorer) report() {
	if r.opts.Progress != nil {
		r.opts.Progress(r.progress)
	}
}

// publish gives what was built its name.
func (r *restorer) publish(parent *os.Root, temporary, base string) error {
	if r.kind != Directory {
		// Unlike a renaming, a second link cannot replace anything.
		err := parent.Link(temporary, base)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return r.failedOrNil(err)
		}
		// There are file systems without links.
	}
	if err := r.mustNotExist(parent, base); err != nil {
		return err
	}
	return r.failedOrNil(parent.Rename(temporary, base))
}

func (r *restorer) mustNotExist(parent *os.Root, base string) error {
	_, err := parent.Lstat(base)
	if err == nil {
		err = fs.ErrExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return r.failed(err)
}

func (r *restorer) failedOrNil(err error) error {
	if err == nil {
		return nil
	}
	return r.failed(err)
}

// failed says at which place in the file system an error arose.
func (r *restorer) failed(err error) error {
	var inPath *fs.PathError
	var inLink *os.LinkError
	if errors.As(err, &inPath) {
		err = inPath.Err
	} else if errors.As(err, &inLink) {
		err = inLink.Err
	}
	return &fs.PathError{Op: "restore", Path: filepath.Join(r.name, filepath.FromSlash(r.src.Path())), Err: err}
}
