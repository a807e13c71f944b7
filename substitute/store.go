package substitute

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/semaphore"

	"pix/activity"
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A Store wraps another store and substitutes the paths that it lacks.
type Store struct {
	store.Store
	*shared
	session bool // Close leaves the shared substituters open
}

// shared is the part of a store that all its sessions use.
type shared struct {
	opts   Options
	claims claims
	copies *semaphore.Weighted // held by calls that copy
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.SubstituteQuerier = (*Store)(nil)
	_ store.MissingQuerier    = (*Store)(nil)
	_ store.Ensurer           = (*Store)(nil)
	_ store.Builder           = (*Store)(nil)
	_ store.ResultBuilder     = (*Store)(nil)
	_ store.Sessioner         = (*Store)(nil)
	_ store.Limiter           = (*Store)(nil)
)

// maxCopies is the number of calls that copy at once. Each holds up to about 32 MiB of archives, and
// the buffers of its decompressors.
const maxCopies = 16

// New returns a store that substitutes paths as the options say, and passes every other call to s.
// Closing it closes s. To substitute anything, s must be a [store.NARAdder] or a
// [store.MultipleAdder], and must accept unsigned paths: this package checks the signatures.
func New(s store.Store, opts *Options) *Store {
	return &Store{Store: s, shared: &shared{opts: *opts, copies: semaphore.NewWeighted(maxCopies)}}
}

// Unwrap returns the store to which paths are added.
func (s *Store) Unwrap() store.Store { return s.Store }

// Session returns the same store with temporary roots that end when the session is closed, if the
// underlying store has sessions. Paths that are substituted through the session are kept until then.
func (s *Store) Session(ctx context.Context) (store.Store, error) {
	below := s.Store
	if sessions, ok := store.As[store.Sessioner](s.Store); ok {
		var err error
		if below, err = sessions.Session(ctx); err != nil {
			return nil, err
		}
	} else {
		below = &unclosed{below}
	}
	return &Store{Store: below, shared: s.shared, session: true}, nil
}

// unclosed is a store that outlives the session that uses it.
type unclosed struct{ store.Store }

func (u *unclosed) Unwrap() store.Store { return u.Store }
func (*unclosed) Close() error          { return nil }

// ClosureLimits implements [store.Limiter].
func (u *unclosed) ClosureLimits() (store.Limits, store.Store) { return store.LimitsOf(u.Store), u }

// ClosureLimits implements [store.Limiter]. It returns the limits of the underlying store, which has the
// valid paths. [Options.Limits] are the limits for infos from substituters.
func (s *Store) ClosureLimits() (store.Limits, store.Store) { return store.LimitsOf(s.Store), s }

// Close closes the store and its substituters, or the session.
func (s *Store) Close() error {
	err := s.Store.Close()
	if !s.session && s.opts.Sources != nil {
		err = errors.Join(err, s.opts.Sources.Close())
	}
	return err
}

// QueryValidPaths returns the valid ones of the paths, sorted and without duplicates. With substitute it
// first tries to substitute the others, except derivations, as Nix does. A failed substitution is
// logged to the handler of the context, and is not an error.
func (s *Store) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	valid, err := s.Store.QueryValidPaths(ctx, paths, false)
	if err != nil || !substitute {
		return valid, err
	}
	lacking := slices.DeleteFunc(slices.Clone(paths), func(p storepath.Path) bool {
		_, is := slices.BinarySearch(valid, p)
		return is || p.IsDerivation()
	})
	if len(lacking) == 0 {
		return valid, nil
	}
	c := s.newCall(ctx)
	defer c.end()
	c.all = true
	if err := c.substitute(c.ctx, lacking); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c.report.log(activity.LevelWarn, "warning: %v", err)
	}
	return s.Store.QueryValidPaths(ctx, paths, false)
}

// QuerySubstitutablePaths returns the paths that a substituter with [Substituter.WantMassQuery] has,
// sorted. It does not check whether they are trusted.
func (s *Store) QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	c := s.newCall(ctx)
	defer c.end()
	search, err := c.openSearch()
	if err != nil {
		return nil, err
	}
	return search.queryMass(c.ctx, paths)
}

// QuerySubstitutablePathInfos returns, sorted by path, the info of the first substituter that has each
// path. If the last substituter that is asked about a path fails, the call fails, unless
// [Settings.Fallback] is set. A substituter with another store directory is asked only about paths
// with a content address.
func (s *Store) QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	c := s.newCall(ctx)
	defer c.end()
	return c.querySubstitutable(paths)
}

// QueryMissing returns what has to be built or fetched to make paths valid: see [store.FindMissing].
func (s *Store) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	c := s.newCall(ctx)
	defer c.end()
	missing, err := store.FindMissing(c.ctx, s.Store, &missingQuerier{c}, paths)
	if err != nil {
		return nil, causeOr(c.ctx, err)
	}
	return missing, nil
}

// A missingQuerier answers the queries of [store.FindMissing] from the substituters of a call.
type missingQuerier struct{ *call }

// FindSubstitute implements [store.Substituters].
func (q *missingQuerier) FindSubstitute(ctx context.Context, path storepath.Path, ca storepath.ContentAddress) (*store.Substitute, error) {
	search, err := q.openSearch()
	if err != nil {
		return nil, err
	}
	f, err := search.find(ctx, path, ca, 0, false)
	if f == nil || err != nil {
		return nil, err
	}
	return &store.Substitute{Info: f.info, DownloadSize: f.downloadSize, Source: search.nameOf(f)}, nil
}

// SubstitutableOutput implements [store.Substituters]. As in Nix, this query needs no signatures: they
// are checked when the output is fetched.
func (q *missingQuerier) SubstitutableOutput(ctx context.Context, drv storepath.Path, output string) (storepath.Path, error) {
	return q.findOutput(ctx, drv, output, false)
}

// AlwaysAllowed implements [store.Substituters].
func (q *missingQuerier) AlwaysAllowed(context.Context) (bool, error) {
	_, err := q.openSearch()
	return q.settings.AlwaysAllowed, err
}

// ClosureLimits implements [store.Substituters].
func (q *missingQuerier) ClosureLimits() store.Limits { return q.store.opts.limits() }

// EnsurePath makes a path valid. The error is an [*Error] if no substituter provides the path.
func (s *Store) EnsurePath(ctx context.Context, path storepath.Path) error {
	c := s.newCall(ctx)
	defer c.end()
	c.requested[path] = true
	if err := c.substitute(c.ctx, []storepath.Path{path}); err != nil {
		return err
	}
	if why := c.failed[path]; why != nil {
		return why
	}
	return nil
}
