package substitute

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/binarycache"
	"pix/daemon"
	"pix/store"
	"pix/storepath"
)

// searches is the number of paths that are looked up at once.
const searches = 128

// A search asks substituters about paths on behalf of one call.
type search struct {
	dir          storepath.Dir
	settings     *Settings
	cas          map[storepath.Path]storepath.ContentAddress // not changed during queries
	substituters []Substituter                               // in the order in which they are asked
	down         []downtime                                  // one for each substituter
	report       *report
	stall        time.Duration // see [Options.StallTimeout]
	refreshes    atomic.Int64
}

// A downtime records that a substituter does not answer.
type downtime struct {
	why      atomic.Pointer[error] // nil while it answers
	reported atomic.Bool

	realisations atomic.Bool // it does not answer queries about realisations
}

// A found is the info that a substituter has of a path.
type found struct {
	info         *store.PathInfo
	from         int            // index of the substituter
	source       storepath.Path // the path of the object in the substituter
	downloadSize uint64
}

func newSearch(dir storepath.Dir, settings *Settings, cas map[storepath.Path]storepath.ContentAddress, r *report) *search {
	subs := slices.Clone(settings.Substituters)
	slices.SortStableFunc(subs, func(a, b Substituter) int { return cmp.Compare(a.Priority, b.Priority) })
	return &search{dir: dir, settings: settings, cas: cas, substituters: subs, down: make([]downtime, len(subs)), report: r}
}

// find asks the substituters about a path, beginning with number first, until one has it. The result is
// nil if none has it. With trusted, infos that the settings do not accept are skipped. The error is the
// one of the last substituter that was asked; other errors are logged.
func (s *search) find(ctx context.Context, path storepath.Path, ca storepath.ContentAddress, first int, trusted bool) (*found, error) {
	var failed error // of the previous substituter
	for i := first; i < len(s.substituters); i++ {
		if failed != nil {
			s.reportFailure(i-1, failed)
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
		if !trusted || s.accepts(f) {
			return f, nil
		}
		if s.refreshes.Add(1) <= maxRefreshes { // the cached info may be old or damaged
			if fresh, err := s.refresh(ctx, f); err == nil {
				return fresh, nil
			}
		}
		s.report.log(activity.LevelWarn, "warning: ignoring substitute for '%s' from '%s', as it's not signed by any of the keys in 'trusted-public-keys'", path, s.substituters[i].URI)
	}
	if failed != nil && s.settings.Fallback {
		s.reportFailure(len(s.substituters)-1, failed)
		failed = nil
	}
	return nil, failed
}

// maxRefreshes is the number of paths per call for which a substituter is asked again because its
// info has no trusted signature.
const maxRefreshes = 16

// refresh asks a substituter about a path again, bypassing its cache. The error is
// [errors.ErrUnsupported] if it has no cache. The result is trusted.
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
	if fresh.info.Path != f.info.Path || !s.accepts(fresh) {
		return nil, &store.NotFoundError{Path: f.source}
	}
	return fresh, nil
}

// reportFailure logs the error of a substituter. That it does not answer is logged only once.
func (s *search) reportFailure(i int, failed error) {
	if !isDown(failed) || !s.down[i].reported.Swap(true) {
		s.report.log(activity.LevelError, "error: %v", failed)
	}
}

// query asks one substituter about a path. A substituter that did not answer is not asked again, because
// each query would wait for the whole timeout.
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
			s.report.log(activity.LevelError, "error: asked '%s' for '%s' but got '%s'", sub.URI, path, info.Path)
			err = &store.NotFoundError{Path: path}
		}
	}
	if err != nil && ctx.Err() == nil && isDown(err) {
		s.down[i].why.Store(&err)
	}
	return info, size, err
}

// sourceOf returns the path of an object in a substituter. If the substituter has another store directory,
// the path follows from the content address, provided that the object has one and refers to nothing.
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

// localInfo returns the info for this store of an object that has another path in its substituter. It changes the
// info only if the path follows from the contents and the object refers to nothing.
func localInfo(info *store.PathInfo, source, path storepath.Path) *store.PathInfo {
	if source == path || info.Path != source || len(info.References) > 0 || !info.IsContentAddressed() {
		return info
	}
	here := *info
	here.Path, here.Deriver, here.Signatures = path, "", nil
	return &here
}

// isDown reports whether an error means that the substituter did not answer.
func isDown(err error) bool {
	_, request := errors.AsType[*binarycache.RequestError](err)
	_, dial := errors.AsType[*daemon.DialError](err)
	return request || dial || errors.Is(err, daemon.ErrConnLost) || errors.Is(err, errStalled)
}

// accepts reports whether an object may be fetched. The contents are verified against a content address
// when they arrive.
func (s *search) accepts(f *found) bool {
	return f.info.IsContentAddressed() || s.trusts(f.info, f.from)
}

// trusts reports whether the settings allow an object without a content address from a substituter.
func (s *search) trusts(info *store.PathInfo, from int) bool {
	// A malformed signature does not invalidate the others.
	if good, _ := info.CheckSignatures(s.settings.TrustedKeys); len(good) > 0 {
		return true
	}
	return s.settings.NoSignatures || s.substituters[from].Trusted
}

// nameOf returns the name of the substituter of a path for errors.
func (s *search) nameOf(f *found) string { return "'" + s.substituters[f.from].URI + "'" }

// findAll searches for many paths at once. The walk counts the infos that are found. A path that no
// substituter has is nil in the result. The search for a path starts at the substituter first[path].
func (s *search) findAll(ctx context.Context, w *store.Walk, paths []storepath.Path, first map[storepath.Path]int, trusted bool) ([]*found, error) {
	all := make([]*found, len(paths))
	infos, err := w.Ask(ctx, paths, searches, func(ctx context.Context, i int) (*store.PathInfo, string, error) {
		f, err := s.find(ctx, paths[i], s.cas[paths[i]], first[paths[i]], trusted)
		if f == nil || err != nil {
			return nil, "", err
		}
		info := f.info
		f.info, all[i] = nil, f // the walk returns a copy of the info, which it has counted
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

// queryValid asks a substituter which paths it has.
func (s *search) queryValid(ctx context.Context, sub store.Store, paths []storepath.Path) ([]storepath.Path, error) {
	askCtx, watch := watchStall(ctx, sub, s.stall)
	defer watch.end()
	valid, err := sub.QueryValidPaths(askCtx, paths, false)
	return valid, watch.because(askCtx, err)
}

// queryMass asks the substituters that allow mass queries which of the paths they have.
func (s *search) queryMass(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
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
			s.report.log(activity.LevelWarn, "warning: %v", err)
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
