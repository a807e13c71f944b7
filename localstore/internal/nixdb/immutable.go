package nixdb

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pix/internal/flock"
	"pix/localstore/internal/filetime"
	"pix/localstore/internal/regular"
)

// A immutableFile is a database to which no process writes. It is read without locks and without files beside it, so it
// can be on a read-only disk, and reading it changes no file.
//
// SQLite does not detect that another process changes such a database. A writer first writes to the log or journal
// beside the database, and later to the database. So every read checks for a log before it begins, and compares the
// times of the database after it has ended.
type immutableFile struct {
	name string
	stat unix.Stat_t
}

// errChanged reports that another process changed a database during a read without locks.
var errChanged = errors.New("another process changed the database while it was read; try again")

// newImmutableFile waits until a change of the database would also change its times, and returns its state. It returns
// errChanged if a process writes to the database.
func newImmutableFile(ctx context.Context, name string) (*immutableFile, error) {
	f := &immutableFile{name: name}
	if err := unix.Stat(name, &f.stat); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	for now := time.Now(); !filetime.IsSettled(f.stat.Mtim, now); now = time.Now() {
		if now.Before(time.Unix(f.stat.Mtim.Unix())) { // the time is in the future, so this would not end
			return nil, errChanged
		}
		if err := flock.Sleep(ctx, filetime.Settled/2); err != nil {
			return nil, err
		}
	}
	if !f.canRead() {
		return nil, errChanged
	}
	return f, nil
}

// canRead reports whether a read may begin.
func (f *immutableFile) canRead() bool {
	return isEmptyFile(f.name+"-wal") && isEmptyFile(f.name+"-journal") && f.isUnchanged()
}

// isUnchanged reports whether the database has not changed. If so, all reads since canRead have seen the same state.
func (f *immutableFile) isUnchanged() bool {
	var now unix.Stat_t
	return unix.Stat(f.name, &now) == nil && now.Dev == f.stat.Dev && now.Ino == f.stat.Ino && now.Size == f.stat.Size &&
		now.Mtim == f.stat.Mtim && now.Ctim == f.stat.Ctim
}

// isEmptyFile reports whether a file is empty or does not exist.
func isEmptyFile(name string) bool {
	info, err := os.Lstat(name)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}

// hasWAL reports whether a database is in WAL mode. If this process has the database open, hasWAL must not read the
// file, and reports that the mode is not known: see [walIndex].
//
// Source: https://www.sqlite.org/fileformat2.html, "File format version numbers".
func hasWAL(database string) (wal, known bool) {
	openDBs.Lock()
	defer openDBs.Unlock()
	if openDBs.byID[idOf(database)] != nil {
		return false, false
	}
	f, err := regular.Open(database, os.O_RDONLY)
	if err != nil {
		return false, false
	}
	defer f.Close()
	header := make([]byte, 20)
	if _, err := io.ReadFull(f, header); err != nil {
		return false, false
	}
	return header[19] == 2, true
}
