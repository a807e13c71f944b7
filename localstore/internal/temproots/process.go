package temproots

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"pix/localstore/internal/flock"
	"pix/storepath"
)

// A process is what all users of one state directory in this process share: the file of their
// roots, and connections to the collector.
type process struct {
	state State
	users int // guarded by processes

	mu     sync.Mutex
	closed bool
	count  map[storepath.Path]int // how many users each root has
	file   *rootsFile             // nil before the first root
	gcLock *gcLock                // nil before the first root
	idle   []*conn                // to the collector that runs, or ran last
	watch  *time.Timer            // nil before the first root

	generation uint64 // of the file: grows whenever the file is made
	secured    uint64 // the last generation of which every collector knows all roots
}

// A gcLock is gc.lock, open in this process.
type gcLock struct {
	file *flock.File
	held int // how many hold the shared lock
}

// acquire takes the shared lock, or reports false if a collector runs.
func (l *gcLock) acquire() (bool, error) {
	if l.held == 0 {
		if free, err := flock.Try(l.file.File, flock.Shared); !free || err != nil {
			return false, err
		}
	}
	l.held++
	return true, nil
}

// release gives the shared lock back that acquire took.
func (l *gcLock) release() error {
	if l.held--; l.held > 0 {
		return nil
	}
	return flock.Unlock(l.file.File)
}

// processes are those in use, by state directory. They are global because process ids are.
var processes = struct {
	sync.Mutex
	of map[string]*process
}{of: make(map[string]*process)}

// join returns the process's part in a store, for one more user.
func join(s State) *process {
	processes.Lock()
	defer processes.Unlock()
	if resolved, err := filepath.EvalSymlinks(s.Dir); err == nil {
		s.Dir = resolved
	}
	p := processes.of[s.Dir]
	if p == nil {
		p = &process{state: s, count: make(map[storepath.Path]int)}
		processes.of[s.Dir] = p
	}
	p.users++
	return p
}

// leave ends the part of one user. The last one removes the file.
func (p *process) leave() error {
	processes.Lock()
	defer processes.Unlock()
	if p.users--; p.users > 0 {
		return nil
	}
	delete(processes.of, p.state.Dir)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.watch != nil {
		p.watch.Stop()
	}
	p.hangUp()
	return errors.Join(p.closeFile(), p.closeGCLock())
}

// secure waits until every collector that began so far knows the given roots, which are in the
// file. If the file was made again, collectors may have missed all roots of this process, so the
// wait is then for all of them. It returns the generation of the file.
func (p *process) secure(ctx context.Context, paths []storepath.Path) (generation uint64, err error) {
	for {
		s, err := p.look(len(paths) > 0)
		if err != nil {
			return 0, err
		}
		if s.all != nil {
			paths = s.all
		}
		if !s.collecting || len(paths) == 0 {
			return s.generation, nil
		}
		switch answered, err := p.inform(ctx, paths); {
		case err != nil:
			return 0, err
		case answered:
			p.mu.Lock()
			if s.all != nil {
				p.secured = max(p.secured, s.generation)
			}
			p.mu.Unlock()
			return s.generation, nil
		}
	}
}

// A situation is what has to be done to secure roots.
type situation struct {
	generation uint64           // of the file
	collecting bool             // a collector runs that may not know a root of which it was not informed
	all        []storepath.Path // all roots, if such a collector may not know any of them
}

// look makes the file again if it has lost its name, and finds out whether a collector runs. The
// order matters: a collector that begins after the file was seen reads it. Without new roots
// it does not look for collectors if all of them know the file.
func (p *process) look(isNew bool) (situation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(); err != nil {
		return situation{}, err
	}
	s := situation{generation: p.generation}
	if !isNew && p.secured == p.generation {
		return s, nil
	}
	free, err := p.gcLock.acquire()
	if err != nil {
		return s, err
	}
	if free {
		p.hangUp()
		if err := p.gcLock.release(); err != nil {
			return s, err
		}
	}
	switch {
	case free:
		p.secured = p.generation
	case p.secured != p.generation:
		s.all = slices.Collect(maps.Keys(p.count))
	}
	s.collecting = !free
	return s, nil
}

// inform sends roots to the collector and reports whether it has answered. If it has not, the caller
// looks again for a collector: it does not listen yet, or has ended.
func (p *process) inform(ctx context.Context, paths []storepath.Path) (answered bool, err error) {
	conn, lock, err := p.connect(ctx)
	if err != nil {
		return false, err
	}
	if conn == nil {
		return false, flock.Sleep(ctx, collectorPause)
	}
	ended, err := conn.send(ctx, paths)
	if err != nil || ended {
		conn.Close()
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || lock != p.gcLock {
		conn.Close()
	} else {
		p.idle = append(p.idle, conn)
	}
	return true, nil
}

// connect returns a connection to the collector that has locked the lock, or nil if none listens.
//
// Connections stay open until the collector ends: the collectors of Nix 2.5 to 2.34 may crash when
// a client hangs up very soon after it has connected.
func (p *process) connect(ctx context.Context) (*conn, *gcLock, error) {
	p.mu.Lock()
	lock := p.gcLock
	if n := len(p.idle); n > 0 {
		defer p.mu.Unlock()
		c := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return c, lock, nil
	}
	p.mu.Unlock()
	c, err := dial(ctx, p.state.socket())
	return c, lock, err
}

// hangUp closes the connections to a collector that has ended, or of a store that was removed.
func (p *process) hangUp() {
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

// checkGeneration returns an error unless every collector that began so far knows the roots that
// were secured in that generation of the file.
func (p *process) checkGeneration(generation uint64) error {
	if p.file == nil {
		return &os.PathError{Op: "hold temporary roots in", Path: p.state.RootsDir(), Err: fs.ErrClosed}
	}
	linked, err := p.file.IsLinked()
	if err == nil && (!linked || p.file.torn || generation != p.generation) {
		err = &os.PathError{Op: "hold temporary roots in", Path: p.file.Name(), Err: ErrLost}
	}
	return err
}

// keep is [Held.Keep].
func (p *process) keep(generation uint64) (release func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	release = func() {}
	if p.file == nil {
		return release, p.checkGeneration(generation)
	}
	// The lock is taken before the check. If a collector has it, that began while the file had its
	// name, and so knows the roots.
	lock := p.gcLock
	free, err := lock.acquire()
	if err != nil {
		return release, err
	}
	if free {
		release = func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			lock.release() // which fails if gc.lock was replaced meanwhile; the lock has ended then
		}
	}
	return release, p.checkGeneration(generation)
}

// watchInterval is how often a process that has roots checks whether their file has kept its name.
const watchInterval = time.Second

// rewatch is what the timer runs. A process may add its last root hours before it needs it, so
// it cannot rely on the check in [Roots.Add] alone. After an error the next run tries again, and
// Add reports it.
func (p *process) rewatch() {
	if p.restore() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*watchInterval)
		p.secure(ctx, nil)
		cancel()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.watch.Reset(watchInterval)
	}
}

// restore makes the file again if it has lost its name, and reports whether it has. It makes no
// directories: if they are missing, the store was removed, and a timer must not make it again.
func (p *process) restore() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.file == nil {
		return false
	}
	if lost, err := p.hasLostFile(); !lost || err != nil {
		return false
	}
	return p.makeFile() == nil
}
