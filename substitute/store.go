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

// A Store is another one, which gets what it lacks from substituters.
type Store struct {
	store.Store
	*shared
	session bool // closing it leaves the others open
}

// shared is what all sessions of a store have in common.
type shared struct {
	opts   Options
	claims claims
	copies *semaphore.Weighted // calls that copy
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

// maxCopies is how many calls copy at once. Each has some 32 MiB of archives in memory, and what it
// takes to decompress them.
const maxCopies = 16

// New returns a store that gets what s lacks as the options say. All else it leaves to s, which it
// closes together with itself. To get anything, s must be a [store.NARAdder] or a
// [store.MultipleAdder], and leave it to us to look at signatures.
func New(s store.Store, opts *Options) *Store {
	return &Store{Store: s, shared: &shared{opts: *opts, copies: semaphore.NewWeighted(maxCopies)}}
}

// Unwrap returns the store to which things are added.
func (s *Store) Unwrap() store.Store { return s.Store }

// Session returns the same store with temporary roots that end when the session is closed, if the
// store below has sessions. What is substituted through it is kept as long.
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

// unclosed is a store that others go on using.
type unclosed struct{ store.Store }

func (u *unclosed) Unwrap() store.Store { return u.Store }
func (*unclosed) Close() error          { return nil }

// ClosureLimits implements [store.Limiter].
func (u *unclosed) ClosureLimits() (store.Limits, store.Store) { return store.LimitsOf(u.Store), u }

// ClosureLimits implements [store.Limiter]. It returns the limits of the store below, which has the valid
// paths. For infos from substituters see [Options.Limits].
func (s *Store) ClosureLimits() (store.Limits, store.Store) { return store.LimitsOf(s.Store), s }

// Close lets go of the store and its substituters, or of the session.
func (s *Store) Close() error {
	err := s.Store.Close()
	if !s.session && s.opts.Sources != nil {
		err = errors.Join(err, s.opts.Sources.Close())
	}
	return err
}

// QueryValidPaths returns those of the paths that are valid, sorted, each once. With substitute it
// tries to get the others first, but for derivations, as Nix does. What goes wrong with that is told
// to the handler of the context, and no error.
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
		c.report.say(activity.LevelWarn, "warning: %v", err)
	}
	return s.Store.QueryValidPaths(ctx, paths, false)
}

// QuerySubstitutablePaths returns those of the paths that substituters have which want to be asked
// about many, sorted. Whether they are to be believed is another question.
func (s *Store) QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	c := s.newCall(ctx)
	defer c.end()
	search, err := c.searching()
	if err != nil {
		return nil, err
	}
	return search.mass(c.ctx, paths)
}

// QuerySubstitutablePathInfos returns what the first substituter of each path that has it says of
// it, sorted by path. If the last that is asked about a path fails, that is the error, unless
// [Settings.Fallback] says otherwise. A substituter with another store directory is asked about the paths
// that have a content address.
func (s *Store) QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	c := s.newCall(ctx)
	defer c.end()
	return c.querySubstitutable(paths)
}

// QueryMissing says what it would take to make paths valid: see [store.FindMissing].
func (s *Store) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	c := s.newCall(ctx)
	defer c.end()
	missing, err := store.FindMissing(c.ctx, s.Store, &missingQuerier{c}, paths)
	if err != nil {
		return nil, because(c.ctx, err)
	}
	return missing, nil
}

// A missingQuerier answers the queries of [store.FindMissing] from the substituters of a call.
type missingQuerier struct{ *call }

// FindSubstitute implements [store.Substituters].
func (q *missingQuerier) FindSubstitute(ctx context.Context, path storepath.Path, ca storepath.ContentAddress) (*store.Substitute, error) {
	search, err := q.searching()
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
	return q.locate(ctx, drv, output, false)
}

// ClosureLimits implements [store.Substituters].
func (q *missingQuerier) ClosureLimits() store.Limits { return q.store.opts.limits() }

// EnsurePath makes a path valid. The error is an [*Error] if it is not to be had.
func (s *Store) EnsurePath(ctx context.Context, path storepath.Path) error {
	c := s.newCall(ctx)
	defer c.end()
	c.asked[path] = true
	if err := c.substitute(c.ctx, []storepath.Path{path}); err != nil {
		return err
	}
	if why := c.failed[path]; why != nil {
		return why
	}
	return nil
}
