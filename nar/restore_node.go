package nar

import (
	"context"
	"io"
	"io/fs"
	"os"
)

// An openDirectory is a directory that is not complete yet.
type openDirectory struct {
	name string // in its parent
	root *os.Root
	self *os.File // the same directory; nil until it is needed
	hack caseHack
}

// The modes of files and directories during the restore. Other users have no access.
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
	// A directory inherits setgid from the one above, if that has it. Keep it.
	return self.Chmod(info.Mode()&fs.ModeSetgid | 0o755)
}

// fileMode returns the mode of a complete file.
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

// setTime sets the canonical time of a file in the directory.
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

// node creates one node in the innermost open directory.
func (r *restorer) node(e Entry) error {
	dir := &r.open[len(r.open)-1]
	if r.opts.CaseHack && e.Depth > 0 {
		hacked, err := dir.hack.name(e.Name)
		if err != nil {
			return r.pathError(err)
		}
		e.Name = hacked
	}
	switch e.Kind {
	case Directory:
		return r.directory(dir.root, e.Name)
	case Symlink:
		return r.pathErrorOrNil(r.symlink(dir, e))
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
		return r.pathError(err)
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return r.pathError(err)
	}
	r.open = append(r.open, openDirectory{name: name, root: sub})
	return nil
}

func (r *restorer) file(dir *openDirectory, e Entry) error {
	f, err := dir.root.OpenFile(e.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, privateFile)
	if err != nil {
		return r.pathError(err)
	}
	err = r.contents(f, e)
	if err == nil {
		err = r.pathErrorOrNil(f.Chmod(r.fileMode(e)))
	}
	if closing := f.Close(); err == nil && closing != nil {
		return r.pathError(closing)
	}
	if err == nil && r.opts.Canonical {
		err = r.pathErrorOrNil(dir.setTime(e.Name))
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
		atEnd := err == io.EOF || err == io.ErrUnexpectedEOF // end of the contents; a truncated archive is an [*Error]
		if err == nil || atEnd {
			err = context.Cause(r.ctx)
		}
		if err == nil && n > 0 {
			_, err = f.Write(piece[:n])
			err = r.pathErrorOrNil(err)
		}
		if err == nil {
			err = r.teePiece(piece, n, e)
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

// smallFile is the size in bytes up to which the tee receives a file's contents together with
// its header, in one buffer.
const smallFile = 32 << 10

// teePiece passes the first n bytes of piece to the tee, and takes ownership of piece.
func (r *restorer) teePiece(piece *restorePiece, n int, e Entry) error {
	if r.tee == nil || n == 0 {
		restorePieces.Put(piece)
		return nil
	}
	if e.Size <= smallFile {
		_, err := r.tee.Write(piece[:n])
		restorePieces.Put(piece)
		return err
	}
	r.tee.advance(n)
	return r.async.writePiece(piece, n)
}

func (r *restorer) report() {
	if r.opts.Progress != nil {
		r.opts.Progress(r.progress)
	}
}
