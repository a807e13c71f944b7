package pathlock

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pix/internal/flock"
	"pix/internal/modes"
)

// spares are locked files that are used as lock files of different paths, one after the other. This is faster than
// creating a file for each lock: see "Reused files" in the documentation of the package.
//
// A spare has a name in its own directory, and this process holds its lock until the spare is deleted. To lock a path,
// link(2) gives the file the second name PATH.lock, unless that name exists. To release the path, the process removes
// the second name.
//
// Another process may have opened the file as PATH.lock and wait for its lock. It must not get the lock when a later
// path is released. So a spare is reused only if no other process has opened it. Otherwise it gets the stale mark and
// is deleted, as Nix does with every lock file.
//
// One race remains. Another process may look up the name before it is removed, and open the file after the check that
// no process has opened it. It then waits in vain until the spare is deleted. So an unused spare is deleted after a
// second, and a used one is checked again each time.
type spares struct {
	dir  string
	most int // the largest number of files

	mu     sync.Mutex
	count  int         // existing files
	free   []spare     // files that are not used as lock files
	timer  *time.Timer // deletes old free spares; nil if there are none
	swept  bool        // the files of killed processes were deleted
	broken bool        // the file system does not support this
}

// A spare is a free file, and the time since which it is free.
type spare struct {
	*flock.File
	since time.Time
}

// MaxSpares is the number of locks that a process can hold at the same time without creating files for them.
const MaxSpares = 64

// spareTime is how long an unused spare is kept.
const spareTime = time.Second

// lock returns a locked file that has this name. It returns nil if the name exists, or if there is no free spare.
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
	case errors.Is(err, fs.ErrNotExist): // the store or the spare was deleted
		s.put(f, false)
	default: // the store and the spares are on different file systems, or on one without hard links
		s.disable()
		s.put(f, false)
	}
	return nil
}

// disable disables spares.
func (s *spares) disable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// take returns a free spare or a new one. It returns nil if there are too many already.
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

// create creates and locks a new spare.
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
			// Another process may have swept the directory before this one locked the file.
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

// sweep deletes the spares of killed processes, which no process has locked.
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

// release takes back a file from lock, after its second name was removed. lost says that another process has removed
// the name.
func (s *spares) release(f *flock.File, lost bool) {
	alone, err := isAlone(f.File)
	if err != nil { // the file system does not support leases
		s.disable()
	}
	s.put(f, alone && !lost)
}

// put keeps a usable file for the next lock, and deletes any other.
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

// close deletes all free spares. Spares in use are deleted when they are released.
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
