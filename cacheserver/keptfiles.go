package cacheserver

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pix/internal/parallel"
	"pix/nixhash"
)

// keptFiles are files in a directory. Each has an archive in some form. A file is written under a temporary name, and
// renamed when it is complete, so a file under its final name is complete, also after a crash. Files that were not used for the
// longest time are deleted.
type keptFiles struct {
	dir       string
	max       int64                 // bytes
	temporary string                // prefix of the names of files that are not complete
	format    func(keptName) string // returns the final name of a file
	deleted   func(*keptFile)       // called with mu held after a file was deleted; may be nil
	writers   int                   // maximum number of files that are being written
	writing   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	files   map[nixhash.Hash]*keptFile    // by the hash of the archive
	size    int64                         // disk space of all files, and of the archives for which files are being written
	growing map[nixhash.Hash]*growingFile // files that are being written, or will be
}

// A keptFile is a complete file.
type keptFile struct {
	keptName
	used      time.Time
	verified  bool          // this process has written the file, or has compared it with its hash
	verifying *verification // nil if no request compares it
}

// A keptName identifies a complete file: by the hash of the archive, and the hash and the size of the file.
type keptName struct {
	archive, file nixhash.Hash
	size          int64
}

// etag returns the entity tag of the file.
func (n keptName) etag() string { return `"` + n.file.Nix32() + `"` }

// An openFile is an open complete file.
type openFile struct {
	*os.File
	name     keptName
	kept     *keptFile // as which it was opened; another one may have taken its place
	verified bool      // as in keptFile, when the file was opened
}

// load opens the directory, or creates it. It deletes files that were not completed, and calls add for all others.
func (k *keptFiles) load(add func(fs.DirEntry) error) error {
	if err := os.MkdirAll(k.dir, 0o700); err != nil {
		return err
	}
	k.files, k.growing = make(map[nixhash.Hash]*keptFile), make(map[nixhash.Hash]*growingFile)
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), k.temporary) {
			err = os.Remove(filepath.Join(k.dir, e.Name()))
		} else {
			err = add(e)
		}
		if err != nil {
			return err
		}
	}
	return k.makeRoom(0)
}

// path returns the path of a complete file.
func (k *keptFiles) path(n keptName) string { return filepath.Join(k.dir, k.format(n)) }

// largest returns the maximum size of an archive for which a file is written.
func (k *keptFiles) largest() uint64 { return largestFile(k.max, k.writers) }

// largestFile returns the maximum size of an archive for which a file is written into a directory with limit bytes. If all writers
// write such files, the directory still has space for one more.
func largestFile(limit int64, writers int) uint64 { return uint64(limit) / uint64(writers+1) }

// add adds a complete file. k.mu is held.
func (k *keptFiles) add(n keptName, used time.Time) {
	k.files[n.archive] = &keptFile{keptName: n, used: used}
	k.size += spaceOf(n.size)
}

// spaceOf returns the disk space of a file of this size in bytes. File systems allocate blocks.
func spaceOf(size int64) int64 {
	const block = 4096
	return (size + block - 1) / block * block
}

// lastUse returns the time at which a file was last used. A time in the future comes from a clock that was wrong, and would keep the
// file forever.
func lastUse(info fs.FileInfo) time.Time {
	if used, now := info.ModTime(), time.Now(); used.Before(now) {
		return used
	}
	return time.Time{}
}

// forget subtracts a file that was deleted. k.mu is held.
func (k *keptFiles) forget(f *keptFile) {
	delete(k.files, f.archive)
	k.size -= spaceOf(f.size)
	if k.deleted != nil {
		k.deleted(f)
	}
}

// makeRoom deletes files that were not used for the longest time, until size more bytes fit. k.mu is held.
func (k *keptFiles) makeRoom(size int64) error {
	size = spaceOf(size)
	if k.size+size <= k.max {
		return nil
	}
	files := make([]*keptFile, 0, len(k.files))
	for _, f := range k.files {
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b *keptFile) int {
		return cmp.Or(a.used.Compare(b.used), a.archive.Compare(b.archive))
	})
	for _, f := range files {
		if k.size+size <= k.max-k.max/10 { // so that the next file needs no deletions
			break
		}
		if err := os.Remove(k.path(f.keptName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		k.forget(f)
	}
	return nil
}

// find opens the file of an archive, or the file that is being written, or returns neither. The caller must close the result.
func (k *keptFiles) find(archive nixhash.Hash) (*openFile, *growingFile, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.findLocked(archive)
}

// findLocked is find with k.mu held.
func (k *keptFiles) findLocked(archive nixhash.Hash) (*openFile, *growingFile, error) {
	if k.closed {
		return nil, nil, errClosed
	}
	if g := k.growing[archive]; g != nil {
		g.open()
		return nil, g, nil
	}
	known := k.files[archive]
	if known == nil {
		return nil, nil, nil
	}
	f, err := os.Open(k.path(known.keptName))
	if errors.Is(err, fs.ErrNotExist) { // an administrator has deleted it
		k.forget(known)
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	const often = time.Minute
	if now := time.Now(); now.Sub(known.used) > often {
		known.used = now
		os.Chtimes(f.Name(), now, now) // the order after a restart; without it only other files are deleted
	}
	return &openFile{f, known.keptName, known, known.verified}, nil, nil
}

// createTemp creates a file under a temporary name, with disk space for size bytes. cancel ends the function that will write it. The
// error is errDiskFull if there is no space: the caller sends the archive without a file. If the disk were full in the middle, the
// clients would have to begin again.
func (k *keptFiles) createTemp(size int64, cancel context.CancelFunc) (*growingFile, error) {
	f, err := os.CreateTemp(k.dir, k.temporary)
	if errors.Is(err, fs.ErrNotExist) && os.Mkdir(k.dir, 0o700) == nil { // systems delete old temporary directories
		f, err = os.CreateTemp(k.dir, k.temporary)
	}
	if isDiskFull(err) {
		return nil, errDiskFull
	}
	if err != nil {
		return nil, err
	}
	g := newGrowingFile(f, cancel)
	if isDiskFull(allocate(f, size)) { // other errors mean that the file system cannot allocate
		g.discard()
		return nil, errDiskFull
	}
	return g, nil
}

// errDiskFull is the error of a file for which the disk has no space.
var errDiskFull = errors.New("there is no space on the disk of the server")

// isDiskFull reports whether an error says that a disk, or a quota of it, is full.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// start calls write on another goroutine, and then makes the file visible. The caller has acquired one of the places, which start
// releases afterwards, and has made room for size bytes, the size of the archive. k.mu is held.
func (k *keptFiles) start(archive nixhash.Hash, size int64, g *growingFile, places *places, write func() (keptName, error)) {
	k.growing[archive] = g
	k.size += spaceOf(size)
	k.writing.Go(func() {
		defer g.close()
		defer places.release()
		defer g.cancel()
		var name keptName
		err := new(parallel.Guard).Call(func() (err error) { // a panic of a store ends the requests, and not the program
			name, err = write()
			return err
		})
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.growing, archive)
		k.size -= spaceOf(size)
		g.end(k.publish(g.file.Name(), name, err))
	})
}

// publish gives a file its final name, or deletes it if writing it has failed. k.mu is held.
func (k *keptFiles) publish(temporary string, name keptName, err error) error {
	if err == nil {
		err = os.Rename(temporary, k.path(name))
	}
	if err != nil {
		os.Remove(temporary)
		return err
	}
	k.add(name, time.Now())
	k.files[name.archive].verified = true
	return nil
}

// errClosed is the error of requests after [Handler.Close] or [Upstream.Close].
var errClosed = errors.New("the handler was closed")

// close ends the writers, and waits for them.
func (k *keptFiles) close() {
	k.mu.Lock()
	k.closed = true
	for _, g := range k.growing {
		g.cancel()
	}
	k.mu.Unlock()
	k.writing.Wait()
}
