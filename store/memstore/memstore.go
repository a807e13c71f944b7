package memstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"pix/derivation"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// Options are the options of a store. Nil is the zero value, which has all defaults.
type Options struct {
	// Dir is the store directory; "" is [storepath.DefaultDir].
	Dir storepath.Dir

	// TrustedKeys are the keys for added paths that are not content-addressed: one of them must have signed the
	// path.
	TrustedKeys signature.KeySet

	// MaxSize is the largest size of all archives in bytes; 0 is 1 GiB. Beyond it the error is [ErrFull].
	MaxSize int64

	// Build builds a derivation whose outputs are not all valid. It must add the outputs to s. Nil means that
	// builds fail. It runs on the goroutine of the caller, so it may run concurrently.
	Build func(ctx context.Context, s *Store, path storepath.Path, d *derivation.Derivation) error

	// ReadLink returns the target of a symlink that is an indirect root. With nil, indirect roots keep nothing.
	ReadLink func(link string) (string, error)

	// Now returns the current time, for registration times. Nil is [time.Now].
	Now func() time.Time
}

// ErrFull says that an object does not fit into the store.
var ErrFull = errors.New("no space left in the store in memory")

// A Store is a store in memory. The zero value is invalid; use [New].
type Store struct {
	*contents
	temp *tempRoots
}

// contents is the state that a store and all its sessions share.
type contents struct {
	opts   Options
	active activeBuilds

	mu           sync.RWMutex
	objects      map[storepath.Path]*object
	byHashPart   map[string]storepath.Path
	size         int64                                      // of all archives and logs, in bytes
	referrers    map[storepath.Path]map[storepath.Path]bool // by reference, without references to themselves
	derivers     map[storepath.Path]map[storepath.Path]bool // valid derivations, by known output path
	realisations map[outputID]*store.KeyedRealisation
	sessions     map[*tempRoots]bool
	roots        map[string]storepath.Path // permanent roots, by link
	indirect     map[string]bool
	logs         map[storepath.Path][]byte
}

// An object is the data of a valid path. It is immutable: a change replaces it.
type object struct {
	info store.PathInfo
	nar  []byte
	drv  *drvInfo // nil if the object is not a derivation
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.AllPathsQuerier   = (*Store)(nil)
	_ store.ReferrerQuerier   = (*Store)(nil)
	_ store.DeriverQuerier    = (*Store)(nil)
	_ store.HashPartQuerier   = (*Store)(nil)
	_ store.MissingQuerier    = (*Store)(nil)
	_ store.RealisationStore  = (*Store)(nil)
	_ store.DrvHasher         = (*Store)(nil)
	_ store.OutputQuerier     = (*Store)(nil)
	_ store.TextAdder         = (*Store)(nil)
	_ store.Adder             = (*Store)(nil)
	_ store.NARAdder          = (*Store)(nil)
	_ store.MultipleAdder     = (*Store)(nil)
	_ store.NARReader         = (*Store)(nil)
	_ store.Signer            = (*Store)(nil)
	_ store.SignatureKeeper   = (*Store)(nil)
	_ store.LogAdder          = (*Store)(nil)
	_ store.LogReader         = (*Store)(nil)
	_ store.Builder           = (*Store)(nil)
	_ store.ResultBuilder     = (*Store)(nil)
	_ store.DerivationBuilder = (*Store)(nil)
	_ store.Ensurer           = (*Store)(nil)
	_ store.TempRooter        = (*Store)(nil)
	_ store.Rooter            = (*Store)(nil)
	_ store.Collector         = (*Store)(nil)
	_ store.Optimiser         = (*Store)(nil)
	_ store.Verifier          = (*Store)(nil)
	_ store.Sessioner         = (*Store)(nil)
	_ store.Limiter           = (*Store)(nil)
)

// New returns an empty store.
func New(opts *Options) *Store {
	c := &contents{
		objects:      make(map[storepath.Path]*object),
		byHashPart:   make(map[string]storepath.Path),
		referrers:    make(map[storepath.Path]map[storepath.Path]bool),
		derivers:     make(map[storepath.Path]map[storepath.Path]bool),
		realisations: make(map[outputID]*store.KeyedRealisation),
		sessions:     make(map[*tempRoots]bool),
		roots:        make(map[string]storepath.Path),
		indirect:     make(map[string]bool),
		logs:         make(map[storepath.Path][]byte),
	}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Dir == "" {
		c.opts.Dir = storepath.DefaultDir
	}
	if c.opts.MaxSize <= 0 {
		c.opts.MaxSize = 1 << 30
	}
	if c.opts.Now == nil {
		c.opts.Now = time.Now
	}
	return c.newSession()
}

// newSession returns a Store with the same contents and its own temporary roots.
func (c *contents) newSession() *Store {
	s := &Store{c, &tempRoots{paths: make(map[storepath.Path]bool)}}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[s.temp] = true
	return s
}

// Session returns the same store with its own temporary roots, which exist until it is closed.
func (s *Store) Session(context.Context) (store.Store, error) { return s.newSession(), nil }

// Close removes the temporary roots of the session. The objects stay in the store, and other sessions can still use
// them.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, s.temp)
	return nil
}

// Dir returns the store directory.
func (s *Store) Dir() storepath.Dir { return s.opts.Dir }

// ClosureLimits implements [store.Limiter]. The infos were checked when they were added, so the limits are those
// for trusted infos.
func (s *Store) ClosureLimits() (store.Limits, store.Store) { return derivation.OwnLimits(), s }

// get returns the object of a path, or a [*store.NotFoundError].
func (c *contents) get(path storepath.Path) (*object, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if o := c.objects[path]; o != nil {
		return o, nil
	}
	return nil, &store.NotFoundError{Path: path}
}

func (c *contents) has(path storepath.Path) bool {
	_, err := c.get(path)
	return err == nil
}

// IsValidPath reports whether the path is valid.
func (s *Store) IsValidPath(_ context.Context, path storepath.Path) (bool, error) {
	return s.has(path), nil
}

// QueryValidPaths returns the valid ones of the paths, sorted, each once. It never substitutes.
func (s *Store) QueryValidPaths(_ context.Context, paths []storepath.Path, _ bool) ([]storepath.Path, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var valid []storepath.Path
	for _, p := range paths {
		if s.objects[p] != nil {
			valid = append(valid, p)
		}
	}
	slices.Sort(valid)
	return slices.Compact(valid), nil
}

// QueryPathInfo returns the info of a path. The error is a [*store.NotFoundError] if the path is not valid.
func (s *Store) QueryPathInfo(_ context.Context, path storepath.Path) (*store.PathInfo, error) {
	o, err := s.get(path)
	if err != nil {
		return nil, err
	}
	return clone(&o.info), nil
}

// clone returns a deep copy of an info.
func clone(info *store.PathInfo) *store.PathInfo {
	c := *info
	c.References, c.Signatures = slices.Clone(info.References), slices.Clone(info.Signatures)
	return &c
}

// QueryAllValidPaths returns all valid paths, sorted.
func (s *Store) QueryAllValidPaths(context.Context) ([]storepath.Path, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.objects)), nil
}

// QueryReferrers returns the valid paths that refer to path, sorted. They include path if it refers to itself. A
// path that is not valid has no referrers.
func (s *Store) QueryReferrers(_ context.Context, path storepath.Path) ([]storepath.Path, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	referrers := slices.Collect(maps.Keys(s.referrers[path]))
	if o := s.objects[path]; o != nil && slices.Contains(o.info.References, path) {
		referrers = append(referrers, path)
	}
	slices.Sort(referrers)
	return referrers, nil
}

// QueryValidDerivers returns the valid derivations that have path as a known output, sorted.
func (s *Store) QueryValidDerivers(_ context.Context, path storepath.Path) ([]storepath.Path, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.derivers[path])), nil
}

// QueryPathFromHashPart returns the valid path with a hash part. The error is a [*store.NotFoundError] if no path
// has it.
func (s *Store) QueryPathFromHashPart(_ context.Context, hashPart string) (storepath.Path, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if path, ok := s.byHashPart[hashPart]; ok {
		return path, nil
	}
	return "", new(store.NotFoundError)
}

// NARFromPath returns the archive of an object. The reader verifies the hash at the end.
func (s *Store) NARFromPath(_ context.Context, path storepath.Path) (io.ReadCloser, error) {
	o, err := s.get(path)
	if err != nil {
		return nil, err
	}
	return newCheckedReader(o), nil
}

// AddSignatures adds signatures to a valid path. They are not verified, because signatures by untrusted keys are
// harmless.
func (s *Store) AddSignatures(_ context.Context, path storepath.Path, signatures []string) error {
	canonical := make([]string, len(signatures))
	for i, text := range signatures {
		var err error
		if canonical[i], err = signature.Canonical(text); err != nil {
			return err
		}
	}
	return s.UpdateSignatures(context.Background(), path, func(info *store.PathInfo) []string {
		return slices.Concat(info.Signatures, canonical)
	})
}

// UpdateSignatures implements [store.SignatureKeeper].
func (s *Store) UpdateSignatures(_ context.Context, path storepath.Path, update func(*store.PathInfo) []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[path]
	if o == nil {
		return &store.NotFoundError{Path: path}
	}
	changed := *o
	changed.info.Signatures = union(update(clone(&o.info)), nil)
	s.objects[path] = &changed
	return nil
}

// TrustedKeys implements [store.SignatureKeeper].
func (s *Store) TrustedKeys() signature.KeySet { return s.opts.TrustedKeys }

// union returns the strings that are in a or b, sorted, each once.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// AddBuildLog stores the build log of a derivation, and replaces an older one.
func (s *Store) AddBuildLog(_ context.Context, drv storepath.Path, log io.Reader) error {
	text, err := s.readAll(log)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += int64(len(text)) - int64(len(s.logs[drv]))
	s.logs[drv] = text
	return nil
}

// BuildLog implements [store.LogReader].
func (s *Store) BuildLog(_ context.Context, drv storepath.Path) (io.ReadCloser, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	log, ok := s.logs[drv]
	if !ok {
		return nil, &store.NotFoundError{Path: drv}
	}
	return io.NopCloser(bytes.NewReader(log)), nil
}

// OptimiseStore does nothing.
func (s *Store) OptimiseStore(context.Context) error { return nil }
