package cacheserver

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"pix/internal/parallel"
	"pix/internal/unsupported"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

const (
	// maxAdditions is the number of paths that are added at a time, each with the references that the store lacks.
	maxAdditions = 2

	// maxWanted is the maximum number of paths that are being added or wait for it. Further paths are dropped: a later request for
	// the archive adds them. Each takes about 300 bytes.
	maxWanted = 4096

	// maxAdditionTime limits an addition, so that an upstream store that does not answer cannot keep a place forever.
	maxAdditionTime = time.Hour
)

// An Addition is the result of adding a path that a client has fetched from an Upstream; see [Options.AddFetched].
type Addition struct {
	Path     storepath.Path
	Added    []storepath.Path // references that the store lacked, and the path
	Duration time.Duration
	Err      error // why not everything was added
}

// A fetchedAdder adds the paths whose archives clients have received from an Upstream to a store. No request waits for it.
type fetchedAdder struct {
	target    store.Store
	upstreams []*Upstream
	keys      signature.KeySet // of all upstreams
	report    func(Addition)   // called on the goroutines of the additions

	ctx     context.Context // done when the adder is closed
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	workers int
	queue   []wantedPath
	wanted  map[storepath.Path]bool // in the queue, or being added
}

// A wantedPath is a path to add. Its info would take more memory.
type wantedPath struct {
	path    storepath.Path
	archive nixhash.Hash // of the archive that a client has received
	from    *Upstream
}

// newFetchedAdder returns an adder to the first of the stores.
func newFetchedAdder(stores []store.Store, report func(Addition)) (*fetchedAdder, error) {
	a := &fetchedAdder{target: stores[0], keys: make(signature.KeySet), report: report, wanted: make(map[storepath.Path]bool)}
	if !addsObjects(a.target) {
		return nil, unsupported.Errorf("fetched paths cannot be added to the first store: it cannot add objects")
	}
	for _, s := range stores {
		if u, ok := store.As[*Upstream](s); ok {
			u.keepsAll.Store(true)
			a.upstreams = append(a.upstreams, u)
			maps.Copy(a.keys, u.keys)
		}
	}
	if len(a.upstreams) == 0 {
		return nil, errors.New("fetched paths cannot be added to a store: there is no upstream store")
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a, nil
}

// addsObjects reports whether objects can be added to a store.
func addsObjects(s store.Store) bool {
	_, ok := store.As[store.NARAdder](s)
	return ok
}

// add adds a path later. A client has received its archive from an upstream store.
func (a *fetchedAdder) add(from *Upstream, info *store.PathInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.wanted[info.Path] || len(a.wanted) >= maxWanted {
		return
	}
	path := info.Path.Clone() // a substring of the narinfo
	a.wanted[path] = true
	a.queue = append(a.queue, wantedPath{path, info.NARHash, from})
	if a.workers < maxAdditions {
		a.workers++
		a.running.Go(a.work)
	}
}

// work adds paths until the queue is empty, or the adder is closed.
func (a *fetchedAdder) work() {
	for {
		next, ok := a.next()
		if !ok {
			return
		}
		a.addNow(next)
	}
}

// next removes a path from the queue. If it returns false, the worker must end.
func (a *fetchedAdder) next() (wantedPath, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || len(a.queue) == 0 {
		a.workers--
		return wantedPath{}, false
	}
	next := a.queue[0]
	if a.queue = a.queue[1:]; len(a.queue) == 0 {
		a.queue = nil // releases the memory
	}
	return next, true
}

// addNow adds a path and reports the result.
func (a *fetchedAdder) addNow(w wantedPath) {
	result, start := Addition{Path: w.path}, time.Now()
	result.Err = new(parallel.Guard).Call(func() error { // a panic of a store must not end the program
		added, err := a.copy(w)
		for _, info := range added {
			result.Added = append(result.Added, info.Path)
		}
		return err
	})
	result.Duration = time.Since(start)
	a.mu.Lock()
	delete(a.wanted, w.path)
	a.mu.Unlock()
	if a.ctx.Err() == nil && (result.Err != nil || len(result.Added) > 0) {
		a.report(result)
	}
}

// copy copies a path and the references that the store lacks.
func (a *fetchedAdder) copy(w wantedPath) ([]*store.PathInfo, error) {
	ctx, cancel := context.WithTimeout(a.ctx, maxAdditionTime)
	defer cancel()
	target, end, err := a.openSession(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	src := &additionSource{wantedPath: w, target: target, upstreams: a.upstreams, found: make(map[storepath.Path]foundAddition)}
	return store.Copy(ctx, target, src, []storepath.Path{w.path}, &store.CopyOptions{
		AddOptions: store.AddOptions{TrustedKeys: a.keys},
		Parallel:   1, // each fetch of a reference takes a place that a client could use
		Quiet:      true,
	})
}

// openSession opens a session of the store, during which a collector does not delete the references of the path. The session ends
// with the addition: afterwards, a collector may delete everything without a root.
func (a *fetchedAdder) openSession(ctx context.Context) (s store.Store, end func(), err error) {
	opener, ok := store.As[store.Sessioner](a.target)
	if !ok {
		return a.target, func() {}, nil
	}
	if s, err = opener.Session(ctx); err != nil {
		return nil, nil, err
	}
	return s, func() { s.Close() }, nil // its temporary roots end in any case
}

// close ends all additions, and waits for them.
func (a *fetchedAdder) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
}
