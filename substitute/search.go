package substitute

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/binarycache"
	"pix/daemon"
	"pix/store"
	"pix/storepath"
)

// searches is how many paths are asked about at once.
const searches = 64

// A search asks substituters about paths, for one call.
type search struct {
	dir          storepath.Dir
	settings     *Settings
	cas          map[storepath.Path]storepath.ContentAddress // not changed while the search asks
	substituters []Substituter                               // in the order in which they are asked
	down         []downtime                                  // of each of them
	report       *report
	stall        time.Duration // see [Options.StallTimeout]
	refreshes    atomic.Int64
}

// A downtime is that a substituter does not answer.
type downtime struct {
	why  atomic.Pointer[error] // nil while it answers
	told atomic.Bool

	realisations atomic.Bool // it does not answer about outputs
}

// A found path is what a substituter says of it.
type found struct {
	info         *store.PathInfo
	from         int            // which of the substituters
	source       storepath.Path // the path of the object there
	downloadSize uint64
}

func newSearch(dir storepath.Dir, settings *Settings, cas map[storepath.Path]storepath.ContentAddress, r *report) *search {
	subs := slices.Clone(settings.Substituters)
	sort.SliceStable(subs, func(i, j int) bool { return subs[i].Priority < subs[j].Priority })
	return &search{dir: dir, settings: settings, cas: cas, substituters: subs, down: make([]downtime, len(subs)), report: r}
}

// find asks the substituters about a path, from the first of them on, until one has it. It is nil if
// none has. With believed, it must also be to be believed. The error is that of the last that was
// asked; those of others are told.
func (s *search) find(ctx context.Context, path storepath.Path, ca storepath.ContentAddress, first int, believed bool) (*found, error) {
	var failed error // what the one before said
	for i := first; i < len(s.substituters); i++ {
		if failed != nil {
			s.tell(i-1, failed)
			failed = nil
		}
		source, ok := s.sourceOf(i, path, ca)
		if !ok {
			continue
		}
		info, size, err := s.query(ctx, i, source, path)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			failed = err
			continue
		}
		f := &found{info: info, from: i, source: source, downloadSize: size}
		if !believed || s.believes(f) {
			return f, nil
		}
		if s.refreshes.Add(1) <= maxRefreshes { // the cached info may be old, or have come damaged
			if fresh, err := s.refresh(ctx, f); err == nil {
				return fresh, nil
			}
		}
		s.report.say(activity.LevelWarn, "warning: ignoring substitute for '%s' from '%s', as it's not signed by any of the keys in 'trusted-public-keys'", path, s.substituters[i].URI)
	}
	if failed != nil && s.settings.Fallback {
		s.tell(len(s.substituters)-1, failed)
		failed = nil
	}
	return nil, failed
}

// maxRefreshes is the number of paths in one call about which a substituter is asked a second time because
// its answer has no trusted signature.
const maxRefreshes = 16

// refresh asks the substituter of a path again, which may have remembered an old answer. The error is
// [errors.ErrUnsupported] if it remembers nothing. The result is trusted.
func (s *search) refresh(ctx context.Context, f *found) (*found, error) {
	r, ok := store.As[store.Refresher](s.substituters[f.from].Store)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	info, err := r.RefreshPathInfo(ctx, f.source)
	if err != nil {
		return nil, err
	}
	fresh := &found{info: localInfo(info, f.source, f.info.Path), from: f.from, source: f.source, downloadSize: f.downloadSize}
	if fresh.info.Path != f.info.Path || !s.believes(fresh) {
		return nil, &store.NotFoundError{Path: f.source}
	}
	return fresh, nil
}

// tell tells why a substituter was of no use; that it does not answer, only once.
func (s *search) tell(i int, failed error) {
	if !isDown(failed) || !s.down[i].told.Swap(true) {
		s.report.say(activity.LevelError, "error: %v", failed)
	}
}

// query asks one substituter about a path. One that did not answer is not asked again: each time
// that would take as long.
func (s *search) query(ctx context.Context, i int, source, path storepath.Path) (*store.PathInfo, uint64, error) {
	if down := s.down[i].why.Load(); down != nil {
		return nil, 0, *down
	}
	sub := &s.substituters[i]
	defer s.report.begin(path, sub.URI)()
	askCtx, watch := watchStall(ctx, sub.Store, s.stall)
	defer watch.end()
	info, size, err := sub.query(askCtx, source)
	err = watch.because(askCtx, err)
	if err == nil {
		if info = localInfo(info, source, path); info.Path != path {
			s.report.say(activity.LevelError, "error: asked '%s' for '%s' but got '%s'", sub.URI, path, info.Path)
			err = &store.NotFoundError{Path: path}
		}
	}
	if err != nil && ctx.Err() == nil && isDown(err) {
		s.down[i].why.Store(&err)
	}
	return info, size, err
}

// sourceOf returns the path by which a substituter knows an object. If it has another store directory, that
// follows from the content address, if the object has one and refers to nothing.
func (s *search) sourceOf(i int, path storepath.Path, ca storepath.ContentAddress) (source storepath.Path, ok bool) {
	dir := s.substituters[i].Store.Dir()
	if dir == s.dir {
		return path, true
	}
	if ca.IsZero() {
		return "", false
	}
	source, err := dir.FixedOutputPath(path.Name(), ca, storepath.References{})
	return source, err == nil
}

// localInfo returns the info of an object that a substituter knows by another path. It is changed only if the
// path follows from the contents, and the object refers to nothing.
func localInfo(info *store.PathInfo, source, path storepath.Path) *store.PathInfo {
	if source == path || info.Path != source || len(info.References) > 0 || !info.IsContentAddressed() {
		return info
	}
	here := *info
	here.Path, here.Deriver, here.Signatures = path, "", nil
	return &here
}

// isDown reports whether an error is no answer.
func isDown(err error) bool {
	_, request := errors.AsType[*binarycache.RequestError](err)
	_, dial := errors.AsType[*daemon.DialError](err)
	return request || dial || errors.Is(err, daemon.ErrConnLost) || errors.Is(err, errStalled)
}

// believes reports whether an object may be fetched. A content address is compared with the contents
// when they arrive.
func (s *search) believes(f *found) bool {
	return f.info.IsContentAddressed() || s.vouched(f.info, f.from)
}

// vouched reports whether the settings allow an object without content address from a substituter.
func (s *search) vouched(info *store.PathInfo, from int) bool {
	// A malformed signature is no reason to distrust the others.
	if good, _ := info.CheckSignatures(s.settings.TrustedKeys); len(good) > 0 {
		return true
	}
	return s.settings.NoSignatures || s.substituters[from].Trusted
}

// nameOf returns what errors call the substituter that has a path.
func (s *search) nameOf(f *found) string { return "'" + s.substituters[f.from].URI + "'" }

// findAll searches for many paths at once. The walk takes the infos that are found. A path that no
// substituter has is nil in the result. first has the substituter from which on to search for a path.
func (s *search) findAll(ctx context.Context, w *store.Walk, paths []storepath.Path, first map[storepath.Path]int, believed bool) ([]*found, error) {
	all := make([]*found, len(paths))
	infos, err := w.Ask(ctx, paths, searches, func(ctx context.Context, i int) (*store.PathInfo, string, error) {
		f, err := s.find(ctx, paths[i], s.cas[paths[i]], first[paths[i]], believed)
		if f == nil || err != nil {
			return nil, "", err
		}
		info := f.info
		f.info, all[i] = nil, f // the walk returns a copy of the info, which is counted
		return info, s.nameOf(f), nil
	})
	if err != nil {
		return nil, err
	}
	for i, info := range infos {
		if info != nil {
			all[i].info = info
		}
	}
	return all, nil
}

// queryValid asks a substituter about many paths.
func (s *search) queryValid(ctx context.Context, sub store.Store, paths []storepath.Path) ([]storepath.Path, error) {
	askCtx, watch := watchStall(ctx, sub, s.stall)
	defer watch.end()
	valid, err := sub.QueryValidPaths(askCtx, paths, false)
	return valid, watch.because(askCtx, err)
}

// mass asks those substituters that want to be asked about many paths which of them they have.
func (s *search) mass(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	remaining := slices.Compact(slices.Sorted(slices.Values(paths)))
	var have []storepath.Path
	for i := range s.substituters {
		sub := &s.substituters[i]
		if !sub.WantMassQuery || len(remaining) == 0 || sub.Store.Dir() != s.dir {
			continue
		}
		valid, err := s.queryValid(ctx, sub.Store, remaining)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			s.report.say(activity.LevelWarn, "warning: %v", err)
			continue
		}
		have = append(have, valid...)
		remaining = slices.DeleteFunc(remaining, func(p storepath.Path) bool {
			_, has := slices.BinarySearch(valid, p)
			return has
		})
	}
	slices.Sort(have)
	return have, nil
}
