package pathlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pix/internal/modes"
	"pix/localstore/internal/flock"
)

// spares are locked files that become the lock file of one path after another. That saves making a file for each
// lock: see "Reused files" in the documentation of the package.
//
// A spare has a name in a directory of its own, and this process holds its lock until it is deleted. To lock a path,
// link(2) gives it the second name PATH.lock, unless there is such a file. To release the path, that name
// is removed.
//
// Another process may have opened the file as PATH.lock, and wait for its lock. It must not get the lock when a later
// path is released. So a spare is used again only if no other process has it open; otherwise it gets the stale
// mark and is deleted, as Nix does with every lock file.
//
// One race remains: a process looks up the name before it is removed, and opens the file after the check that no
// process has it open. That process waits in vain until the spare is deleted. So a spare that is not used is deleted
// after a second, and one that is used is checked again each time.
type spares struct {
	dir  string
	most int // files that are kept

	mu     sync.Mutex
	count  int         // files that exist
	free   []spare     // those that are no lock file now
	timer  *time.Timer // deletes old free spares; nil if there are none
	swept  bool        // the files of dead processes were deleted
	broken bool        // the file system does not support this
}

// A spare is a file that is no lock file since a moment.
type spare struct {
	*flock.File
	since time.Time
}

const (
	maxSpares = 16
	spareTime = time.Second
)

// lock returns a locked file that has that name. It returns nil if there is a file of that name already, or if there
// is no spare.
func (s *spares) lock(name string) *flock.File {
	f := s.take()
	if f == nil {
		return nil
	}
	switch err := os.Link(f.Name(), name); {
	case err == nil:
		return f
	case errors.Is(err, fs.ErrExist):
		s.put(f, true)
	case errors.Is(err, fs.ErrNotExist): // the store was removed, or the spare was
		s.put(f, false)
	default: // the store and its state are on two file systems, or on one without hard links
		s.giveUp()
		s.put(f, false)
	}
	return nil
}

// giveUp ends the use of spares.
func (s *spares) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// take returns a spare, or nil if there are too many already.
func (s *spares) take() *flock.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		f := s.free[n-1].File
		s.free = s.free[:n-1]
		return f
	}
	if s.broken || s.count >= s.most || !canBeAlone {
		return nil
	}
	f, err := s.create()
	if err != nil {
		s.broken = true
		return nil
	}
	s.count++
	return f
}

// create makes a new spare and locks it.
func (s *spares) create() (*flock.File, error) {
	if err := modes.MkdirAll(s.dir); err != nil {
		return nil, err
	}
	if !s.swept {
		s.sweep()
		s.swept = true
	}
	for {
		file, err := os.CreateTemp(s.dir, "")
		if err != nil {
			return nil, err
		}
		f, err := flock.New(file)
		if err != nil {
			return nil, err
		}
		locked, err := flock.Try(f.File, flock.Exclusive)
		if locked {
			// Another process may have swept the directory before the file was locked.
			locked, err = f.IsLinked()
		}
		if locked {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// sweep deletes the spares of processes that were killed: nothing holds their locks.
func (s *spares) sweep() {
	names, _ := os.ReadDir(s.dir)
	for _, name := range names {
		f, err := os.OpenFile(filepath.Join(s.dir, name.Name()), os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if locked, _ := flock.Try(f, flock.Exclusive); locked {
			os.Remove(f.Name())
		}
		f.Close()
	}
}

// release takes back a file that lock has returned, after its second name was removed. lost reports that another
// process has removed it.
func (s *spares) release(f *flock.File, lost bool) {
	alone, err := isAlone(f.File)
	if err != nil { // the file system has no leases
		s.giveUp()
	}
	s.put(f, alone && !lost)
}

// put keeps a file for the next lock if it can be used again, and deletes it otherwise.
func (s *spares) put(f *flock.File, usable bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken || !usable {
		s.delete(f)
		return
	}
	s.free = append(s.free, spare{f, time.Now()})
	if s.timer == nil {
		s.timer = time.AfterFunc(spareTime, s.expire)
	}
}

// expire deletes the spares that were not used for a second.
func (s *spares) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.free) > 0 && now.Sub(s.free[0].since) >= spareTime { // take uses the last ones first
		s.delete(s.free[0].File)
		s.free = s.free[1:]
	}
	if s.timer = nil; len(s.free) > 0 {
		s.timer = time.AfterFunc(spareTime, s.expire)
	}
}

// close deletes all free spares. The others are deleted when they are released.
func (s *spares) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, spare := range s.free {
		s.delete(spare.File)
	}
	s.free, s.broken = nil, true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// delete deletes a spare and marks it as stale. The caller holds s.mu.
func (s *spares) delete(f *flock.File) {
	s.count--
	os.Remove(f.Name())
	f.Retire()
}
