package uploads

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// A Spool keeps uploaded archives. Its methods may be called by any number of goroutines.
//
// Each uploader has archives of its own. So one can neither fill the quota of another, nor find out what another has
// uploaded, nor register a path for contents that it never had. An uploader may have many clients, which share
// its archives, but have separate quotas.
type Spool struct {
	opts     Options
	dir      string
	unlock   func() error
	isTemp   bool // the directory is deleted with the spool
	decoders chan struct{}

	mu       sync.Mutex
	closed   bool
	archives map[key]*Archive
	used     map[Sender]usage // of single clients
	total    map[string]usage // of uploaders with all their clients
	expiry   *time.Timer      // runs while there are archives
}

// A key identifies an archive.
type key struct {
	uploader string
	name     Name
}

// A Sender is a client of an uploader. Client is for example a network address, or "" if the uploader has only one
// client. A client may send the parts of a push from different addresses, so archives belong to the uploader, and only
// the quota to the client.
type Sender struct{ Uploader, Client string }

// A usage is what a client, or an uploader, has in the spool, including uploads that have not ended.
type usage struct {
	bytes int64
	files int
}

// filePattern is the pattern of the names of files.
const filePattern = "upload-*"

// ErrClosed is the error of calls after Close.
var ErrClosed = errors.New("the spool of uploads is closed")

// Open opens a spool, and deletes files that a killed process has left in its directory. It deletes nothing else.
func Open(opts *Options) (*Spool, error) {
	s := &Spool{archives: make(map[key]*Archive), used: make(map[Sender]usage), total: make(map[string]usage), unlock: func() error { return nil }}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.setDefaults()
	s.decoders = make(chan struct{}, s.opts.Decoders)
	s.dir = s.opts.Dir
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "pix-uploads-*")
		s.dir, s.isTemp = dir, true
		return s, err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if s.unlock, err = lock(filepath.Join(s.dir, "lock")); err != nil {
		return nil, err
	}
	if err := s.deleteLeftovers(); err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	return s, nil
}

// deleteLeftovers deletes the files in the directory.
func (s *Spool) deleteLeftovers() error {
	entries, err := os.ReadDir(s.dir)
	for _, e := range entries {
		if isUpload, _ := filepath.Match(filePattern, e.Name()); !isUpload || !e.Type().IsRegular() {
			continue
		}
		if gone := os.Remove(filepath.Join(s.dir, e.Name())); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
			return gone
		}
	}
	return err
}

// Close deletes all archives. The caller must have ended its other calls.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.expiry != nil {
		s.expiry.Stop()
	}
	for k := range s.archives {
		s.drop(k)
	}
	err := s.unlock()
	if s.isTemp {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// reserve adds bytes and files to what a client has, or returns an error that matches [ErrFull].
func (s *Spool) reserve(by Sender, bytes int64, files int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := s.used[by].check(bytes, files, s.opts.Quota, s.opts.Files); err != nil {
		return err
	}
	const all = clientsQuota
	if err := s.total[by.Uploader].check(bytes, files, all*s.opts.Quota, all*s.opts.Files); err != nil {
		return err
	}
	s.change(by, bytes, files)
	return nil
}

// clientsQuota is the number of quotas that all clients of an uploader have together. One client that fills its quota
// does not keep others from uploading, and the disk space is bounded.
const clientsQuota = 4

// check returns an error that matches [ErrFull] if a usage would exceed its limits.
func (u usage) check(bytes int64, files int, maxBytes int64, maxFiles int) error {
	switch {
	case bytes > maxBytes-u.bytes:
		return refuse(ErrFull, "uploads that wait for their narinfos take %d of %d bytes", u.bytes, maxBytes)
	case files > maxFiles-u.files:
		return refuse(ErrFull, "%d uploads wait for their narinfos, the largest number", u.files)
	}
	return nil
}

// change adds to what a client has. The caller has locked the spool.
func (s *Spool) change(by Sender, bytes int64, files int) {
	addUsage(s.used, by, bytes, files)
	addUsage(s.total, by.Uploader, bytes, files)
}

// addUsage adds to a usage, and removes it when it is zero.
func addUsage[K comparable](m map[K]usage, k K, bytes int64, files int) {
	u := m[k]
	u.bytes += bytes
	u.files += files
	if u == (usage{}) {
		delete(m, k)
	} else {
		m[k] = u
	}
}

// add adds a verified archive. If the uploader already has it, add deletes the new file. The old archive then counts to the quota
// of the client that has sent it last, and only that client can prolong it.
func (s *Spool) add(a *Archive) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.remove(a)
		return
	}
	k := key{a.by.Uploader, a.Name}
	if old := s.archives[k]; old != nil {
		s.remove(a)
		s.change(old.by, -old.FileSize, -1)
		s.change(a.by, old.FileSize, 1)
		old.by = a.by
		a = old
	} else {
		s.archives[k] = a
	}
	a.promised++
	s.prolong(a)
}

// prolong moves the expiry of an archive into the future. The caller has locked the spool.
func (s *Spool) prolong(a *Archive) {
	a.expires = time.Now().Add(s.opts.Expiry)
	if s.expiry == nil {
		s.expiry = time.AfterFunc(s.opts.Expiry, s.expire)
	}
}

// expire deletes archives that no narinfo has needed in time.
func (s *Spool) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.expiry = nil
	now, next := time.Now(), time.Time{}
	for k, a := range s.archives {
		if !a.expires.After(now) {
			s.drop(k)
		} else if next.IsZero() || a.expires.Before(next) {
			next = a.expires
		}
	}
	if !next.IsZero() {
		s.expiry = time.AfterFunc(next.Sub(now), s.expire)
	}
}

// drop deletes an archive of the spool. The caller has locked the spool.
func (s *Spool) drop(k key) {
	a := s.archives[k]
	delete(s.archives, k)
	s.remove(a)
}

// remove deletes the file of an archive, and subtracts it from what its client has. The caller has locked the spool.
// A file that cannot be deleted remains until the next process opens the directory.
func (s *Spool) remove(a *Archive) {
	os.Remove(a.file)
	s.change(a.by, -a.FileSize, -1)
}

// lockedError returns the error of a directory that another process uses.
func lockedError(name string) error {
	return fmt.Errorf("another process keeps uploads in '%s'", filepath.Dir(name))
}
