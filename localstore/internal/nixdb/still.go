package nixdb

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/filetime"
	"pix/localstore/internal/flock"
	"pix/localstore/internal/regular"
)

// A stillFile is a database that no process writes to, and that is read without locks and without files
// beside it. So it can be read where nothing can be written, and reading it leaves no trace.
//
// SQLite does not notice when another process changes such a database. A writer first puts something into
// the log or journal beside it, and later changes the database. So every read looks for a log before it
// begins, and compares the times of the database after it has ended.
type stillFile struct {
	name string
	stat unix.Stat_t
}

// errChanged says that another process changed a database during a read without locks.
var errChanged = errors.New("another process changed the database while it was read; try again")

// newStillFile waits until a change of the database would also change its times, and returns its state. The
// error is errChanged if a process writes to it.
func newStillFile(ctx context.Context, name string) (*stillFile, error) {
	f := &stillFile{name: name}
	if err := unix.Stat(name, &f.stat); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	for now := time.Now(); !filetime.IsSettled(f.stat.Mtim, now); now = time.Now() {
		if now.Before(time.Unix(f.stat.Mtim.Unix())) { // it never will be
			return nil, errChanged
		}
		if err := flock.Sleep(ctx, filetime.Settled/2); err != nil {
			return nil, err
		}
	}
	if !f.isStill() {
		return nil, errChanged
	}
	return f, nil
}

// isStill reports whether a read may begin.
func (f *stillFile) isStill() bool {
	return isEmptyFile(f.name+"-wal") && isEmptyFile(f.name+"-journal") && f.isSame()
}

// isSame reports whether the database has not changed. Everything that was read since isStill is then of one moment.
func (f *stillFile) isSame() bool {
	var now unix.Stat_t
	return unix.Stat(f.name, &now) == nil && now.Dev == f.stat.Dev && now.Ino == f.stat.Ino && now.Size == f.stat.Size &&
		now.Mtim == f.stat.Mtim && now.Ctim == f.stat.Ctim
}

// isEmptyFile reports whether a file is empty or does not exist.
func isEmptyFile(name string) bool {
	info, err := os.Lstat(name)
	return errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0
}

// hasWAL reports whether a database is in WAL mode. It is not known if this process has the database open:
// see [walIndex].
//
// Source: https://www.sqlite.org/fileformat2.html, "File format version numbers".
func hasWAL(database string) (wal, known bool) {
	openDBs.Lock()
	defer openDBs.Unlock()
	if openDBs.at[placeOf(database)] != nil {
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
