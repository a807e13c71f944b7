package binarycache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"pix/internal/parallel"
	"pix/narinfo"
	"pix/nixbase32"
	"pix/store"
	"pix/storepath"
)

// ErrClosed is how calls end of a store that was closed.
var ErrClosed = errors.New("the binary cache was closed")

// A Store is a binary cache. All methods may be called by any number of goroutines at
// once.
type Store struct {
	uri   string // for people
	opts  Options
	info  CacheInfo
	files files
	local *directory // nil behind HTTP
	known *memory    // nil for a directory, where asking costs little
	slots *semaphore.Weighted

	closed context.Context
	end    context.CancelCauseFunc

	adding sync.Mutex // held while narinfos are changed and nix-cache-info is written
	begun  bool       // the directory has all that it needs

	warning sync.Mutex // held while the handler of a caller is called
}

// files are those of a cache.
type files interface {
	// read reads a whole file of no more than limit bytes by its name, which is relative to
	// the cache and has slashes. The error is [fs.ErrNotExist] if there is none.
	read(ctx context.Context, name string, limit int64) ([]byte, error)

	// open opens a file of any length, in the same way.
	open(ctx context.Context, name string) (io.ReadCloser, error)

	// openArchive opens what the URL of a narinfo names, of which no more than size bytes
	// are wanted.
	openArchive(ctx context.Context, ref string, size uint64) (io.ReadCloser, error)

	close()
}

var (
	_ store.Store               = (*Store)(nil)
	_ store.AllPathsQuerier     = (*Store)(nil)
	_ store.CompletenessQuerier = (*Store)(nil)
	_ store.Refresher           = (*Store)(nil)
	_ store.HashPartQuerier     = (*Store)(nil)
	_ store.RealisationStore    = (*Store)(nil)
	_ store.NARReader           = (*Store)(nil)
	_ store.ListingReader       = (*Store)(nil)
	_ store.TextAdder           = (*Store)(nil)
	_ store.Adder               = (*Store)(nil)
	_ store.NARAdder            = (*Store)(nil)
	_ store.MultipleAdder       = (*Store)(nil)
	_ store.Signer              = (*Store)(nil)
	_ store.LogAdder            = (*Store)(nil)
	_ store.LogReader           = (*Store)(nil)
)

// Open opens the cache that uri names:
//
//	"file:///DIR[?…]"                   the cache in a directory
//	"http[s]://[USER:PASSWORD@]HOST…"   one behind HTTP, which is only read
//
// The parameters behind a question mark are those of Nix. These are obeyed: compression,
// compression-level, secret-key, secret-keys, write-nar-listing, store; and, behind HTTP, tls-certificate,
// tls-private-key, retry-attempts, retry-delay, retry-delay-rate-limited and retry-max-delay. Others that
// Nix has are ignored. An unknown one causes a warning, which goes to the handler in ctx.
//
// Open reads nix-cache-info, which must be for the store directory. Behind HTTP it must exist. A directory
// need not have one, or exist: both are created when something is first added.
//
// The error is a [*URIError] for the URI, a [*StoreDirError], a [*RequestError] if the
// server does not answer, or says something else.
func Open(ctx context.Context, uri string, opts *Options) (*Store, error) {
	s := new(Store)
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.StoreDir == "" {
		s.opts.StoreDir = storepath.DefaultDir
	}
	place, err := s.opts.parseURI(ctx, uri)
	if err != nil {
		return nil, err
	}
	changed := s.opts.HTTP.forCall(ctx)
	s.opts.HTTP.Netrc, s.opts.HTTP.CAFile = changed.Netrc, changed.CAFile
	s.opts.HTTP.setDefaults()
	s.slots = semaphore.NewWeighted(int64(s.opts.HTTP.Parallel))
	s.closed, s.end = context.WithCancelCause(context.Background())
	if place.base != nil {
		s.uri = place.base.Redacted()
		s.known = newMemory(&s.opts.HTTP)
		if s.files, err = newRemote(place.base, &s.opts.HTTP); err != nil {
			return nil, &URIError{s.uri, err.Error()}
		}
	} else {
		s.uri = "file://" + place.dir
		s.local = &directory{place.dir, s.opts.SyncObjects}
		s.files = s.local
	}
	if err := s.readCacheInfo(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends all that is under way, with [ErrClosed].
func (s *Store) Close() error {
	s.end(ErrClosed)
	s.files.close()
	return nil
}

// Dir returns the store directory.
func (s *Store) Dir() storepath.Dir { return s.opts.StoreDir }

// URI returns which cache it is, without parameters and without a password.
func (s *Store) URI() string { return s.uri }

// untilClosed returns a context that ends with ctx, or when the store is closed.
func (s *Store) untilClosed(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closed, func() { cancel(context.Cause(s.closed)) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// maxSmall is how long small files may be, in bytes, of which nothing else is known.
const maxSmall = 1 << 20

// read reads a whole file of no more than limit bytes.
func (s *Store) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	ctx, cancel := s.untilClosed(ctx)
	defer cancel(nil)
	if err := s.slots.Acquire(ctx, 1); err != nil {
		return nil, ended(ctx)
	}
	defer s.slots.Release(1)
	b, err := s.files.read(ctx, name, limit)
	if errors.Is(err, errTooLong) {
		err = fmt.Errorf("file '%s' of %s: %w, %d bytes", name, s.uri, err, limit)
	}
	return b, err
}

// errTooLong says that a file has more bytes than it may have.
var errTooLong = errors.New("it is longer than it may be")

// readUpTo reads all, which must be no more than limit bytes.
func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, errTooLong
	}
	return b, err
}

// NarInfo returns what the cache says of a path. It is shared, and must not be changed.
// The error is a [*store.NotFoundError] if there is no narinfo, or if it is of another name;
// one of another hash part, or that cannot be read, is an error of its own.
func (s *Store) NarInfo(ctx context.Context, path storepath.Path) (*narinfo.NarInfo, error) {
	if _, err := s.Dir().Parse(string(path)); err != nil {
		return nil, err
	}
	n, err := s.narInfo(ctx, path.HashPart())
	if errors.Is(err, fs.ErrNotExist) || err == nil && n.Path != path {
		err = &store.NotFoundError{Path: path}
		if s.local != nil && !s.local.exists() {
			err = fmt.Errorf("%w: there is no directory '%s'", err, s.local.path)
		}
		return nil, err
	}
	return n, err
}

// narInfo returns the narinfo of a hash part. The error is [fs.ErrNotExist] if there is
// none.
func (s *Store) narInfo(ctx context.Context, hashPart string) (*narinfo.NarInfo, error) {
	if n, known := s.known.get(hashPart, s.opts.HTTP.forCall(ctx)); known {
		if n == nil {
			return nil, fs.ErrNotExist
		}
		return n, nil
	}
	var n *narinfo.NarInfo
	size := 0
	err := s.readParsed(ctx, hashPart+".narinfo", narinfo.MaxLen, func(text []byte, again bool) (err error) {
		n, err = narinfo.ParseBytes(text, &narinfo.Options{StoreDir: s.Dir(), Lenient: true})
		if err == nil && n.Path.HashPart() != hashPart {
			err = fmt.Errorf("it is of another path, '%s'", n.Path)
		}
		if err == nil && !again && s.local == nil && isCutNarInfo(text) {
			err = io.ErrUnexpectedEOF
		}
		size = len(text)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		s.known.put(hashPart, nil, 0)
	}
	if err != nil {
		return nil, err
	}
	s.known.put(hashPart, n, size)
	return n, nil
}

// isCutNarInfo reports whether a narinfo looks as if its end were missing. Lines that are missing are no
// syntax error, but without its references or signatures a path would be copied incompletely or refused.
func isCutNarInfo(text []byte) bool {
	return !bytes.HasSuffix(text, []byte("\n")) || !bytes.Contains(text, []byte("\nReferences:"))
}

// readParsed reads a whole file and parses it. A file that cannot be parsed may have come truncated or
// damaged, so it is read once more at once; again says that parse is called for the second time.
func (s *Store) readParsed(ctx context.Context, name string, limit int64, parse func(text []byte, again bool) error) error {
	for again := false; ; again = true {
		text, err := s.read(ctx, name, limit)
		if err != nil {
			return err
		}
		if err = parse(text, again); err == nil {
			return nil
		}
		if again || s.local != nil {
			return fmt.Errorf("file '%s' of %s: %w", name, s.uri, err)
		}
	}
}

// QueryPathInfo returns what the cache says of a path. Nothing of it is verified: that is
// for those who take the path.
func (s *Store) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	n, err := s.NarInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	info := n.PathInfo
	info.References, info.Signatures = slices.Clone(info.References), slices.Clone(info.Signatures)
	return &info, nil
}

// RefreshPathInfo returns the current narinfo of a path, not a remembered one. See [Store.QueryPathInfo].
func (s *Store) RefreshPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	s.known.forget(path.HashPart())
	return s.QueryPathInfo(ctx, path)
}

// QueryCompletePaths returns the valid paths whose archives a directory still has. It looks only
// at the sizes of the files. A cache behind HTTP is not asked: that would take a request for each path, and
// nothing can be added there.
func (s *Store) QueryCompletePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	if s.local == nil {
		return paths, nil
	}
	return s.filter(ctx, paths, s.hasArchive)
}

// hasArchive reports whether a directory has the file of an archive, with the size of its narinfo.
func (s *Store) hasArchive(n *narinfo.NarInfo) bool {
	size := int64(-1)
	if n.FileSize != 0 {
		size = int64(n.FileSize)
	}
	return s.local.has(n.URL, size)
}

// IsValidPath reports whether the cache has the path.
func (s *Store) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	_, err := s.NarInfo(ctx, path)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// QueryValidPaths returns those of the paths that the cache has, sorted, each once. It asks
// for many at once. A cache has no substituters.
func (s *Store) QueryValidPaths(ctx context.Context, paths []storepath.Path, _ bool) ([]storepath.Path, error) {
	return s.filter(ctx, paths, func(*narinfo.NarInfo) bool { return true })
}

// filter returns the paths that the cache has and whose narinfo is wanted, sorted, each once.
func (s *Store) filter(ctx context.Context, paths []storepath.Path, wanted func(*narinfo.NarInfo) bool) ([]storepath.Path, error) {
	paths = slices.Clone(paths)
	slices.Sort(paths)
	paths = slices.Compact(paths)
	found := make([]bool, len(paths))
	group, ctx := parallel.WithContext(ctx, s.opts.HTTP.Parallel)
	for i, path := range paths {
		group.Go(func() error {
			n, err := s.NarInfo(ctx, path)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			found[i] = err == nil && wanted(n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var some []storepath.Path
	for i, path := range paths {
		if found[i] {
			some = append(some, path)
		}
	}
	return some, nil
}

// QueryPathFromHashPart returns the path with that hash part. The error is a
// [*store.NotFoundError] if there is none.
func (s *Store) QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error) {
	if err := checkHashPart(hashPart); err != nil {
		return "", err
	}
	n, err := s.narInfo(ctx, hashPart)
	if errors.Is(err, fs.ErrNotExist) {
		return "", new(store.NotFoundError)
	}
	if err != nil {
		return "", err
	}
	return n.Path, nil
}

func checkHashPart(s string) error {
	if len(s) != storepath.HashPartLen {
		return fmt.Errorf("%q is no hash part: it has %d characters instead of %d", s, len(s), storepath.HashPartLen)
	}
	if _, err := nixbase32.DecodeString(s); err != nil {
		return fmt.Errorf("%q is no hash part: %w", s, err)
	}
	return nil
}
