package temproots

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"pix/internal/flock"
	"pix/store"
)

// A Collector is one garbage collection, as other processes see it. It holds the lock on gc.lock, and receives roots
// from other processes through the socket.
type Collector struct {
	state  State
	lock   *flock.File
	server *server
	owned  []*os.File // files of processes of Nix 2.3 and 2.4, which Roots has locked
	report func(line string)
}

// MakeSocket creates the socket of collectors, on which no process listens yet, if it does not exist. A collector
// creates it too, but may then find no free inode on a full file system.
func (s State) MakeSocket() error {
	if _, err := os.Lstat(s.socket()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return makeDeadSocket(s.socket(), false)
}

// NewCollector waits until no other collector runs, and starts a collection. It calls report with lines for the user.
func NewCollector(ctx context.Context, s State, report func(line string)) (*Collector, error) {
	// The socket must exist from the moment when the lock is taken: see serve.
	if err := s.MakeSocket(); err != nil {
		return nil, err
	}
	lock, err := s.lockGC(ctx, flock.Exclusive, func() { report("waiting for the big garbage collector lock...") })
	if err != nil {
		return nil, fmt.Errorf("waiting for another garbage collection to end: %w", err)
	}
	server, err := serve(s)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Collector{state: s, lock: lock, server: server, report: report}, nil
}

// Roots returns the temporary roots of all running processes, valid or not, and removes the files of processes that
// have ended. A file that cannot be read or parsed may name any path, so Roots returns an error.
//
// Roots that are added later arrive through Choose.
func (c *Collector) Roots(ctx context.Context) ([]store.Root, error) {
	f := &finder{state: c.state, probes: staleProbes, tidy: true, collecting: true, report: c.report}
	err := f.find(ctx)
	c.owned = append(c.owned, f.owned...)
	return f.roots, err
}

// Choose calls f with the hash parts of the roots that have arrived since the last call, and marks the paths with the
// hash parts that f returns as being deleted. No root arrives while f runs.
func (c *Collector) Choose(f func(arrived []string) []string) { c.server.choose(f) }

// Done ends the deletion of paths with these hash parts. If f returned a hash part several times to Choose, for an
// object and its lock file, the caller passes it to Done as many times.
func (c *Collector) Done(hashParts ...string) { c.server.done(hashParts) }

// Check returns an error if gc.lock has lost its name. In that case the store was deleted, and other processes no
// longer see that this one collects, so the collector must not delete anything more.
func (c *Collector) Check() error {
	linked, err := c.lock.IsLinked()
	if err == nil && !linked {
		err = &fs.PathError{Op: "collect garbage", Path: c.lock.Name(), Err: errors.New("the lock was deleted; was the store removed?")}
	}
	return err
}

// Close ends the collection. Clients that were answered get a second to write their roots into their files, where the
// next collector reads them. Nix writes a root after the answer. The root would be lost if this collection ended and
// the next one started in between.
func (c *Collector) Close(ctx context.Context) error {
	err := c.server.stopListening(c.Check() == nil)
	c.server.drain()
	c.awaitWritten(ctx)
	err = errors.Join(err, c.server.close(), c.lock.Close())
	// From here on a process of Nix 2.3 can add roots.
	for _, f := range c.owned {
		err = errors.Join(err, f.Close())
	}
	return err
}

// awaitWritten waits, for at most a second, until the roots that were answered to connected clients are in the files of
// these clients. The server must drain first, so that it answers no other root.
func (c *Collector) awaitWritten(ctx context.Context) {
	const limit, pause = time.Second, 2 * time.Millisecond
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if !c.server.unwritten(nil) {
			return
		}
		f := &finder{state: c.state, probes: 1}
		if f.find(ctx) != nil {
			return
		}
		written := make(map[string]bool, len(f.roots))
		for _, r := range f.roots {
			written[r.Path.HashPart()] = true
		}
		if !c.server.unwritten(written) || flock.Sleep(ctx, pause) != nil {
			return
		}
	}
}
