package localstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"pix/localstore/internal/flock"
	"pix/storepath"
)

// tempRoots are what one user of a store keeps from being collected: a Store, or a session of
// one. They may be used by any number of goroutines, and end with close.
//
// A root is written into the process's file in temproots, which every collector reads when it
// begins. If one has begun already, which shows in its lock on gc.lock, it is told through its
// socket, and the answer waited for.
type tempRoots struct {
	process *processRoots

	mu       chan struct{}           // holds one value while somebody adds; a mutex that a context can leave
	paths    map[storepath.Path]bool // what is safe
	isClosed bool
}

// openTempRoots returns roots for a new user of the store. Nothing is written before the first.
func openTempRoots(l layout) *tempRoots {
	return &tempRoots{
		process: joinProcessRoots(l),
		mu:      make(chan struct{}, 1),
		paths:   make(map[storepath.Path]bool),
	}
}

// add makes roots of paths. When it has returned, no collector deletes one that is valid: each
// is either safe, or was deleted before. So whoever adds an object makes it a root first, and
// asks whether it is valid then.
func (r *tempRoots) add(ctx context.Context, paths ...storepath.Path) error {
	select {
	case r.mu <- struct{}{}:
		defer func() { <-r.mu }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if r.isClosed {
		return fmt.Errorf("adding a temporary root: %w", fs.ErrClosed)
	}
	fresh := make([]storepath.Path, 0, len(paths))
	seen := make(map[storepath.Path]bool, len(paths))
	for _, p := range paths {
		if !r.paths[p] && !seen[p] {
			seen[p] = true
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	// Nix writes into its file last. Written first, a root is also seen by a collector that
	// begins when the one that was told has ended.
	if err := r.process.record(fresh); err != nil {
		return err
	}
	if err := r.protect(ctx, fresh); err != nil {
		return errors.Join(err, r.process.release(seen))
	}
	for _, p := range fresh {
		r.paths[p] = true
	}
	return nil
}

// protect waits until no running collector can be ignorant of paths, which are in the file.
func (r *tempRoots) protect(ctx context.Context, paths []storepath.Path) error {
	for {
		collecting, err := r.process.isCollecting()
		if err != nil || !collecting {
			return err
		}
		conn, err := r.process.borrow(ctx)
		if err != nil {
			return err
		}
		if conn != nil {
			ended, err := conn.send(ctx, paths)
			if err == nil && !ended {
				r.process.giveBack(conn)
				return nil
			}
			conn.close()
			if err != nil {
				return err
			}
			continue
		}
		// The collector has not opened its socket yet, or ends just now.
		if err := flock.Sleep(ctx, collectorPause); err != nil {
			return err
		}
	}
}

// close gives all roots up.
func (r *tempRoots) close() error {
	r.mu <- struct{}{}
	defer func() { <-r.mu }()
	if r.isClosed {
		return nil
	}
	r.isClosed = true
	return errors.Join(r.process.release(r.paths), r.process.leave())
}

// processRoots are the temporary roots of this process in one store: there is one file for
// each process, so all that are open on a store share it.
type processRoots struct {
	layout layout

	mu     sync.Mutex
	users  int                    // guarded by allProcessRoots
	count  map[storepath.Path]int // how many users each root has
	file   *flock.File            // in temproots, locked; nil before the first root
	size   int64                  // of the file
	gcLock *flock.File            // to see whether a collector holds it; nil before the first root
	toGC   []*collectorConn       // to the collector that runs, or ran last, and not in use
	excess int                    // how many roots the file has that nobody has any more
}

// allProcessRoots are those in use, by the state directory. It is global because process ids
// are.
var allProcessRoots = struct {
	sync.Mutex
	of map[string]*processRoots
}{of: make(map[string]*processRoots)}

// joinProcessRoots returns the roots of this process in a store, for one more user.
func joinProcessRoots(l layout) *processRoots {
	allProcessRoots.Lock()
	defer allProcessRoots.Unlock()
	key := l.stateDir
	if real, err := filepath.EvalSymlinks(key); err == nil {
		key = real
	}
	l.stateDir = key
	p := allProcessRoots.of[key]
	if p == nil {
		p = &processRoots{layout: l, count: make(map[storepath.Path]int)}
		allProcessRoots.of[key] = p
	}
	p.users++
	return p
}

// leave is for a user that needs the roots no longer. The last one removes the file.
func (p *processRoots) leave() error {
	allProcessRoots.Lock()
	defer allProcessRoots.Unlock()
	if p.users--; p.users > 0 {
		return nil
	}
	delete(allProcessRoots.of, p.layout.stateDir)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closeFiles()
}

func (p *processRoots) closeFiles() error {
	var errs []error
	if p.file != nil {
		if linked, err := p.file.IsLinked(); err != nil || linked {
			// It is removed while it is locked: afterwards it could be another's.
			errs = append(errs, err, ignoreMissing(os.Remove(p.file.Name())))
		}
		errs = append(errs, p.file.Close())
	}
	if p.gcLock != nil {
		errs = append(errs, p.gcLock.Close())
	}
	p.file, p.gcLock, p.size = nil, nil, 0
	p.hangUp()
	return errors.Join(errs...)
}

// borrow returns a connection to the collector, or nil if there is none that listens.
//
// Connections are kept for the next who needs one, until the collector ends: the collectors of Nix
// 2.4 to 2.34 may crash when a client hangs up very soon after it came.
func (p *processRoots) borrow(ctx context.Context) (*collectorConn, error) {
	p.mu.Lock()
	if n := len(p.toGC); n > 0 {
		defer p.mu.Unlock()
		conn := p.toGC[n-1]
		p.toGC = p.toGC[:n-1]
		return conn, nil
	}
	p.mu.Unlock()
	return dialCollector(ctx, p.layout.gcSocket())
}

// giveBack is for who needs a borrowed connection no longer.
func (p *processRoots) giveBack(conn *collectorConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.toGC = append(p.toGC, conn)
}

// hangUp closes the connections to a collector that has ended.
func (p *processRoots) hangUp() {
	for _, conn := range p.toGC {
		conn.close()
	}
	p.toGC = nil
}

// record writes roots into the file.
func (p *processRoots) record(paths []storepath.Path) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil { // whether it is still there is looked at afterwards
		if err := p.open(); err != nil {
			return err
		}
	}
	if p.isExcessive() {
		if err := p.rewrite(); err != nil {
			return err
		}
	}
	var text []byte
	for _, path := range paths {
		if p.count[path] == 0 {
			text = append(append(text, path...), 0)
		}
	}
	if err := p.append(text); err != nil {
		return err
	}
	for _, path := range paths {
		p.count[path]++
	}
	return nil
}

// append writes text at the end of the file. What was written of it by half is overwritten later.
func (p *processRoots) append(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	n, err := p.file.WriteAt(text, p.size)
	if err != nil {
		return errors.Join(err, p.file.Truncate(p.size))
	}
	p.size += int64(n)
	return nil
}

// release takes one user away from each root.
func (p *processRoots) release(paths map[storepath.Path]bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path := range paths {
		if p.count[path]--; p.count[path] <= 0 {
			delete(p.count, path)
			p.excess++
		}
	}
	if p.file == nil || !p.isExcessive() {
		return nil
	}
	return p.rewrite()
}

// isExcessive reports whether the file is worth to be written anew. With many roots in it that is
// so only when there are many to be left out: else whoever comes and goes would have all of
// them written again and again.
func (p *processRoots) isExcessive() bool {
	const few, part = 5000, 8
	return p.excess > 0 && (len(p.count) < few || p.excess > len(p.count)/part)
}

// tidy leaves all out of the file that nobody has any more.
func (p *processRoots) tidy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil || p.excess == 0 {
		return nil
	}
	return p.rewrite()
}

// rewrite writes the file anew, without what nobody has any more. A collector must not read it
// by half, so nothing happens while one runs: it is done later.
func (p *processRoots) rewrite() error {
	free, err := flock.Try(p.gcLock.File, flock.Shared)
	if err != nil || !free {
		return err
	}
	err = p.writeAll()
	return errors.Join(err, flock.Unlock(p.gcLock.File))
}

func (p *processRoots) writeAll() error {
	var text []byte
	for path := range p.count {
		text = append(append(text, path...), 0)
	}
	// What is in the file stays there until the new is: on a full disk there might be no room for it
	// a moment later, and roots would be lost.
	if len(text) > 0 {
		if _, err := p.file.WriteAt(text, 0); err != nil {
			return err
		}
	}
	if err := p.file.Truncate(int64(len(text))); err != nil {
		return err
	}
	p.size = int64(len(text))
	p.excess = 0
	return nil
}

// isCollecting reports whether a collector runs that may have begun before the last record. If
// that went into a file that is no longer there, it is in the new one afterwards.
func (p *processRoots) isCollecting() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(); err != nil {
		return false, err
	}
	free, err := flock.Try(p.gcLock.File, flock.Shared)
	if err != nil || !free {
		return !free, err
	}
	p.hangUp()
	return false, flock.Unlock(p.gcLock.File)
}

// open opens the files that are not open, or that somebody has deleted: the store may have
// been removed and made anew, and a process of the same id that lives in another container
// takes our file for a stale one.
func (p *processRoots) open() error {
	if p.file != nil {
		linked, err := p.file.IsLinked()
		if linked {
			linked, err = p.gcLock.IsLinked()
		}
		if linked || err != nil {
			return err
		}
		if err := p.closeFiles(); err != nil {
			return err
		}
	}
	gcLock, err := openGCLock(p.layout)
	if err != nil {
		return err
	}
	file, err := createTempRootsFile(p.layout.tempRoots())
	if err != nil {
		return errors.Join(err, gcLock.Close())
	}
	p.file, p.gcLock, p.size = file, gcLock, 0
	if err := p.writeAll(); err != nil {
		return errors.Join(err, p.closeFiles())
	}
	return nil
}

// createTempRootsFile returns a file in dir that is named after this process, empty and locked.
func createTempRootsFile(dir string) (*flock.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for n := 1; ; {
		name := filepath.Join(dir, fmt.Sprint(os.Getpid()))
		if n > 1 {
			// Processes in other containers may have our id. Nix reads no further than it.
			name = fmt.Sprintf("%s-%d", name, n)
		}
		f, err := flock.Open(name)
		if err != nil {
			return nil, err
		}
		free, err := flock.Try(f.File, flock.Exclusive)
		if err == nil && free {
			// A collector deletes files that are not locked, so it may have come in between.
			var linked bool
			if linked, err = f.IsLinked(); linked {
				if err = f.Truncate(0); err == nil {
					return f, nil
				}
			}
		} else if !free {
			n++
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

// openGCLock opens gc.lock, which a collector locks exclusively and everybody else shared.
func openGCLock(l layout) (*flock.File, error) {
	if err := os.MkdirAll(l.stateDir, 0o755); err != nil {
		return nil, err
	}
	return flock.Open(l.gcLock())
}

// ignoreMissing returns err, but nil if it says that a file is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
