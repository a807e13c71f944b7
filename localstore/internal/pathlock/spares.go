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

// spares are lock files that are used for one path after another. To make a file for each
// lock, and delete it, is most of what a small object costs on ext4: there a deleted inode is not
// used again for minutes, and whoever makes a file looks at all of those first.
//
// A spare lies in a directory of its own, and is locked as long as it is there. To lock a path it
// gets the name PATH.lock as well, unless there is such a file, and loses it again. It is used again
// only if nobody else has it open, since whoever waits for one path must not get it when another
// is done; else it is marked as stale and deleted, as all lock files are in Nix.
//
// Who looked the name up just before it went, and opens the file just after nobody had it open, waits
// in vain until the next is done with it, or until it was not used for a moment: that is why
// no spare stays for long.
type spares struct {
	dir  string
	most int // files that are kept

	mu     sync.Mutex
	count  int         // of all there are
	free   []spare     // those that are not in use
	timer  *time.Timer // deletes what is not used; nil if there is nothing
	swept  bool        // what dead processes left is deleted
	broken bool        // nothing can be had here
}

// A spare is one that is not in use, and since when.
type spare struct {
	*flock.File
	since time.Time
}

const (
	maxSpares = 16
	spareTime = time.Second
)

// lock makes a file that is locked already and has that name. It is nil if there is such a file, or
// no spare can be had; then the file is to be opened.
func (s *spares) lock(name string) *flock.File {
	f := s.take()
	if f == nil {
		return nil
	}
	switch err := os.Link(f.Name(), name); {
	case err == nil:
		return f
	case errors.Is(err, fs.ErrExist):
		s.giveBack(f, true)
	case errors.Is(err, fs.ErrNotExist): // the store was removed, or the file by somebody who tidies up
		s.giveBack(f, false)
	default: // the store and its state are on two disks, or on one that has no links
		s.giveUp()
		s.giveBack(f, false)
	}
	return nil
}

// giveUp is for where this cannot work.
func (s *spares) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// take returns a spare, or nil if there is none and none can be made.
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
	f, err := s.make()
	if err != nil {
		s.broken = true
		return nil
	}
	s.count++
	return f
}

// make makes a spare.
func (s *spares) make() (*flock.File, error) {
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
			// Another process that sweeps may have come in between.
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

// sweep deletes what processes left that were killed.
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

// release is for a file that lock returned, when it has lost the name that it got; lost says
// that somebody else took it away.
func (s *spares) release(f *flock.File, lost bool) {
	alone, err := isAlone(f.File)
	if err != nil { // this file system cannot tell
		s.giveUp()
	}
	s.giveBack(f, alone && !lost)
}

// giveBack takes a spare back that is as good as new, or is not.
func (s *spares) giveBack(f *flock.File, good bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken || !good {
		s.drop(f)
		return
	}
	s.free = append(s.free, spare{f, time.Now()})
	if s.timer == nil {
		s.timer = time.AfterFunc(spareTime, s.tidy)
	}
}

// tidy deletes the spares that were not used for a while.
func (s *spares) tidy() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for len(s.free) > 0 && now.Sub(s.free[0].since) >= spareTime { // those that are used are at the end
		s.drop(s.free[0].File)
		s.free = s.free[1:]
	}
	if s.timer = nil; len(s.free) > 0 {
		s.timer = time.AfterFunc(spareTime, s.tidy)
	}
}

// close deletes all that are not in use, and those that are when they are given back.
func (s *spares) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, spare := range s.free {
		s.drop(spare.File)
	}
	s.free, s.broken = nil, true
	if s.timer != nil {
		s.timer.Stop()
	}
}

// drop deletes a spare, and tells who waits for it that it is stale. The spares must be locked.
func (s *spares) drop(f *flock.File) {
	s.count--
	os.Remove(f.Name())
	f.Retire()
}
