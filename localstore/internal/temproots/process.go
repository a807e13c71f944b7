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

	"pix/internal/flock"
	"pix/storepath"
)

// A process is the state that all Roots of one state directory share in this process: the file of their roots, and
// connections to the collector.
type process struct {
	state State
	users int // number of Roots; guarded by processes

	mu     sync.Mutex
	closed bool
	count  map[storepath.Path]int // number of Roots that have each root
	file   *rootsFile             // nil before the first root
	gcLock *gcLock                // nil before the first root
	idle   []*conn                // to the collector that runs, or ran last
	watch  *time.Timer            // nil before the first root

	generation uint64 // of the file: increases whenever the file is created
	secured    uint64 // the last generation whose roots every collector knew
}

// A gcLock is gc.lock, open in this process.
type gcLock struct {
	file *flock.File
	held int // calls of acquire without a release
}

// acquire takes the shared lock, or returns false if a collector runs.
func (l *gcLock) acquire() (bool, error) {
	if l.held == 0 {
		if free, err := flock.Try(l.file.File, flock.Shared); !free || err != nil {
			return false, err
		}
	}
	l.held++
	return true, nil
}

// release undoes an acquire. The last release unlocks gc.lock.
func (l *gcLock) release() error {
	if l.held--; l.held > 0 {
		return nil
	}
	return flock.Unlock(l.file.File)
}

// processes contains the processes in use, by state directory. It is global because a process id is.
var processes = struct {
	sync.Mutex
	of map[string]*process
}{of: make(map[string]*process)}

// join returns the process of a state directory, and counts another Roots.
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

// leave ends the use by one Roots. The last one removes the file.
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
	p.closeConns()
	return errors.Join(p.closeFile(), p.closeGCLock())
}

// secure waits until every collector that has started so far knows the given roots, which are in the file. If the file
// was created again, a collector may have missed all roots of this process, so secure then sends all of them. It
// returns the generation of the file.
func (p *process) secure(ctx context.Context, paths []storepath.Path) (generation uint64, err error) {
	for {
		s, err := p.checkFile(len(paths) > 0)
		if err != nil {
			return 0, err
		}
		if s.all != nil {
			paths = s.all
		}
		if !s.collecting || len(paths) == 0 {
			return s.generation, nil
		}
		switch answered, err := p.sendRoots(ctx, paths); {
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

// A collectorStatus says which roots must be sent to a collector.
type collectorStatus struct {
	generation uint64           // of the file
	collecting bool             // a collector runs that may have read the file before new roots were in it
	all        []storepath.Path // all roots, if that collector may know none of them; otherwise nil
}

// checkFile creates the file again if it has lost its name, and then checks whether a collector runs. The order
// matters: a collector that starts between these two steps reads the file. Without new roots, checkFile does not check
// for a collector if all collectors know the file.
func (p *process) checkFile(isNew bool) (collectorStatus, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.open(); err != nil {
		return collectorStatus{}, err
	}
	s := collectorStatus{generation: p.generation}
	if !isNew && p.secured == p.generation {
		return s, nil
	}
	free, err := p.gcLock.acquire()
	if err != nil {
		return s, err
	}
	if free {
		p.closeConns()
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

// sendRoots sends roots to the collector and reports whether the collector has answered. If not, the collector does not
// listen yet or has ended, and the caller calls checkFile again.
func (p *process) sendRoots(ctx context.Context, paths []storepath.Path) (answered bool, err error) {
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

// connect returns a connection to the collector and the gc.lock that it holds, or nil if no collector listens.
//
// Connections stay open until the collector ends, because the collectors of Nix 2.5 to 2.34 may crash when a client
// disconnects very soon after it has connected.
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

// closeConns closes the idle connections. Their collector has ended, or the store was deleted.
func (p *process) closeConns() {
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

// checkGeneration returns an error unless every collector that has started so far knows the roots that were secured in
// this generation of the file.
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
	// The lock is taken before the check. If a collector holds it and the check succeeds, the file has had its name all
	// the time, so the collector knows the roots.
	lock := p.gcLock
	free, err := lock.acquire()
	if err != nil {
		return release, err
	}
	if free {
		release = func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			lock.release() // fails if gc.lock was replaced meanwhile, which has ended the lock
		}
	}
	return release, p.checkGeneration(generation)
}

// watchInterval is how often a process with roots checks whether their file still has its name.
const watchInterval = time.Second

// checkPeriodically checks the file every watchInterval. A process may add its last root hours before it uses it, so
// the check in [Roots.Add] is not enough. After an error the next check tries again, and Add returns the error.
func (p *process) checkPeriodically() {
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

// restore creates the file again if it has lost its name, and reports whether it did. It creates no directories: if
// they are missing, the store was deleted, and a timer must not create it again.
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
