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

// ErrClosed is the error of calls of a closed store.
var ErrClosed = errors.New("the binary cache was closed")

// A Store is a binary cache. Its methods may be called concurrently.
type Store struct {
	uri      string // as messages print it
	opts     Options
	info     CacheInfo
	files    files
	local    *directory    // nil behind HTTP
	narInfos *narInfoCache // nil for a directory, whose files are cheap to read
	requests *width        // of small files
	archives *width        // of small archives: see [Store.AcquireRead]

	closed context.Context
	cancel context.CancelCauseFunc

	preparing *semaphore.Weighted // acquired while nix-cache-info is written
	prepared  bool                // the cache has the files that every cache has

	changing [16]*semaphore.Weighted // acquired while a narinfo is changed, by the last character of its name

	warning sync.Mutex // held while the handler of a caller is called
}

// files accesses the files of a cache.
type files interface {
	// read reads a whole file of at most limit bytes. The name is relative to the cache and has
	// slashes. The error is [fs.ErrNotExist] if there is no such file.
	read(ctx context.Context, name string, limit int64) ([]byte, error)

	// open opens a file of any length, in the same way.
	open(ctx context.Context, name string) (io.ReadCloser, error)

	// openArchive opens the file to which the URL of a narinfo refers. Its decompressed size is at
	// most size bytes.
	openArchive(ctx context.Context, ref string, size uint64) (io.ReadCloser, error)

	// prepare creates what every cache has, such as nix-cache-info with the given text.
	prepare(ctx context.Context, cacheInfo string) error

	// hasFile reports whether there is a file with this name and, unless size is negative, this size.
	hasFile(ctx context.Context, name string, size int64) (bool, error)

	// create creates a file that readers do not see before it is published with another name in the directory of
	// this one.
	create(name string) (newFile, error)

	// write writes or replaces a file. Readers see the old file or the new one.
	write(ctx context.Context, name string, contents io.Reader) error

	close()
}

// A newFile is a file that is being written. Then Rewind is called, and the file is read or published. It must be
// discarded in any case.
type newFile interface {
	io.ReadWriter
	Rewind() error
	publish(ctx context.Context, name string) error
	discard()
}

var (
	_ store.Store               = (*Store)(nil)
	_ store.AllPathsQuerier     = (*Store)(nil)
	_ store.CompletenessQuerier = (*Store)(nil)
	_ store.Refresher           = (*Store)(nil)
	_ store.HashPartQuerier     = (*Store)(nil)
	_ store.RealisationStore    = (*Store)(nil)
	_ store.NARReader           = (*Store)(nil)
	_ store.ReadLimiter         = (*Store)(nil)
	_ store.ListingReader       = (*Store)(nil)
	_ store.TextAdder           = (*Store)(nil)
	_ store.Adder               = (*Store)(nil)
	_ store.NARAdder            = (*Store)(nil)
	_ store.MultipleAdder       = (*Store)(nil)
	_ store.Signer              = (*Store)(nil)
	_ store.LogAdder            = (*Store)(nil)
	_ store.LogReader           = (*Store)(nil)
)

// Open opens the cache with a URI:
//
//	"file:///DIR[?…]"                   the cache in a directory
//	"http[s]://[USER:PASSWORD@]HOST…"   a cache behind HTTP, which is written with PUT requests
//
// The parameters after the question mark have the names and values of Nix. Supported are: compression,
// compression-level, secret-key, secret-keys, write-nar-listing, store; and, behind HTTP, narinfo-compression,
// ls-compression, log-compression, tls-certificate, tls-private-key, retry-attempts, retry-delay,
// retry-delay-rate-limited and retry-max-delay. Others that Nix has are ignored. An unknown one causes a warning to
// the handler in ctx.
//
// Open reads nix-cache-info, which must be for the store directory. Behind HTTP it must exist, except with the option
// Create. A directory need not have one, or exist: both are created when something is first added.
//
// The error is a [*URIError] for an invalid URI, a [*StoreDirError] for a cache of another store directory, a
// [*RequestError] if the server does not send the file, or another error if the file is invalid.
func Open(ctx context.Context, uri string, opts *Options) (*Store, error) {
	s := new(Store)
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.StoreDir == "" {
		s.opts.StoreDir = storepath.DefaultDir
	}
	loc, err := s.opts.parseURI(ctx, uri)
	if err != nil {
		return nil, err
	}
	changed := s.opts.HTTP.forCall(ctx)
	s.opts.HTTP.Netrc, s.opts.HTTP.CAFile = changed.Netrc, changed.CAFile
	s.opts.HTTP.setDefaults()
	s.preparing = semaphore.NewWeighted(1)
	for i := range s.changing {
		s.changing[i] = semaphore.NewWeighted(1)
	}
	s.closed, s.cancel = context.WithCancelCause(context.Background())
	if loc.base != nil {
		s.uri = loc.base.Redacted()
		if s.opts.HTTP.S3 != nil {
			s.uri = s.opts.HTTP.S3.Name
		}
		s.narInfos = newNarInfoCache(&s.opts.HTTP)
		r, err := newRemote(loc.base, &s.opts.HTTP)
		if err != nil {
			return nil, &URIError{s.uri, err.Error()}
		}
		s.files, s.requests, s.archives = r, r.requests, r.archives
	} else {
		s.uri = "file://" + loc.dir
		s.local = &directory{loc.dir, s.opts.SyncObjects}
		s.files = s.local
		s.opts.HTTP.Parallel = min(s.opts.HTTP.Parallel, firstRequests) // each request opens a file
		s.requests, s.archives = newWidth(firstRequests, s.opts.HTTP.Parallel), newWidth(firstArchives, firstArchives)
	}
	if err := s.readCacheInfo(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close ends all calls with [ErrClosed].
func (s *Store) Close() error {
	s.cancel(ErrClosed)
	s.files.close()
	return nil
}

// Dir returns the store directory.
func (s *Store) Dir() storepath.Dir { return s.opts.StoreDir }

// URI returns the URI of the cache, without parameters and without a password.
func (s *Store) URI() string { return s.uri }

// endOnClose returns a context that ends with ctx, or when the store is closed.
func (s *Store) endOnClose(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.closed, func() { cancel(context.Cause(s.closed)) })
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// maxSmall is the largest size of a small file, in bytes, whose size is not known otherwise.
const maxSmall = 1 << 20

// read reads a whole file of at most limit bytes.
func (s *Store) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	ctx, cancel := s.endOnClose(ctx)
	defer cancel(nil)
	if err := s.requests.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.requests.release()
	b, err := s.files.read(ctx, name, limit)
	if errors.Is(err, errTooLong) {
		err = fmt.Errorf("file '%s' of %s: %w: more than %d bytes", name, s.uri, err, limit)
	}
	return b, err
}

// errTooLong is the error of a file that is longer than its limit.
var errTooLong = errors.New("it is too long")

// readUpTo reads at most limit bytes. More are an error.
func readUpTo(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, errTooLong
	}
	return b, err
}

// NarInfo returns the narinfo of a path. It is shared, so the caller must not change it.
// The error is a [*store.NotFoundError] if the cache has no narinfo for this hash part, or one of a path
// with another name. A narinfo that cannot be parsed, or of another hash part, is another error.
func (s *Store) NarInfo(ctx context.Context, path storepath.Path) (*narinfo.NarInfo, error) {
	if _, err := s.Dir().Parse(string(path)); err != nil {
		return nil, err
	}
	n, err := s.narInfo(ctx, path.HashPart())
	if errors.Is(err, fs.ErrNotExist) || err == nil && n.Path != path {
		err = &store.NotFoundError{Path: path}
		if s.local != nil && !s.local.exists() {
			err = fmt.Errorf("%w: no such directory '%s'", err, s.local.path)
		}
		return nil, err
	}
	return n, err
}

// narInfo returns the narinfo of a hash part. The error is [fs.ErrNotExist] if there is
// none.
func (s *Store) narInfo(ctx context.Context, hashPart string) (*narinfo.NarInfo, error) {
	if n, known := s.narInfos.get(hashPart, s.opts.HTTP.forCall(ctx)); known {
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
			err = fmt.Errorf("it describes another path, '%s'", n.Path)
		}
		if err == nil && !again && s.local == nil && isTruncated(text) {
			err = io.ErrUnexpectedEOF
		}
		size = len(text)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		s.narInfos.put(hashPart, nil, 0)
	}
	if err != nil {
		return nil, err
	}
	s.narInfos.put(hashPart, n, size)
	return n, nil
}

// isTruncated reports whether a narinfo may have been cut off. Missing lines are no syntax error, but without
// its references or signatures a path would be copied incompletely or refused.
func isTruncated(text []byte) bool {
	return !bytes.HasSuffix(text, []byte("\n")) || !bytes.Contains(text, []byte("\nReferences:"))
}

// readParsed reads a whole file and parses it. A file that cannot be parsed may have been truncated or damaged
// in transit, so it is read once more immediately; again is set in the second call of parse.
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

// QueryPathInfo returns the info that the cache has of a path. It is not verified: the store that copies
// the path checks the signatures.
func (s *Store) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	n, err := s.NarInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	info := n.PathInfo
	info.References, info.Signatures = slices.Clone(info.References), slices.Clone(info.Signatures)
	return &info, nil
}

// RefreshPathInfo is like [Store.QueryPathInfo], but reads the narinfo even if it is cached.
func (s *Store) RefreshPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	s.narInfos.forget(path.HashPart())
	return s.QueryPathInfo(ctx, path)
}

// QueryCompletePaths returns the valid paths whose archives exist. For a cache in a directory it compares
// the sizes of the files. For a cache behind HTTP it returns all paths: checking would take a request for
// each path, and missing archives could not be added.
func (s *Store) QueryCompletePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	if s.local == nil {
		return paths, nil
	}
	return s.filter(ctx, paths, s.hasArchive)
}

// hasArchive reports whether the file of an archive exists with the size in its narinfo. It returns true for each
// archive of a cache behind HTTP, as Nix assumes.
func (s *Store) hasArchive(n *narinfo.NarInfo) bool {
	if s.local == nil {
		return true
	}
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

// QueryValidPaths returns the paths that the cache has, sorted and without duplicates. It requests many
// narinfos at once. A cache has no substituters, so the last argument has no effect.
func (s *Store) QueryValidPaths(ctx context.Context, paths []storepath.Path, _ bool) ([]storepath.Path, error) {
	return s.filter(ctx, paths, func(*narinfo.NarInfo) bool { return true })
}

// filter returns the paths whose narinfo exists and is wanted, sorted and without duplicates.
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

// QueryPathFromHashPart returns the path with a hash part. The error is a
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
		return fmt.Errorf("%q is not a hash part: it has %d characters instead of %d", s, len(s), storepath.HashPartLen)
	}
	if _, err := nixbase32.DecodeString(s); err != nil {
		return fmt.Errorf("%q is not a hash part: %w", s, err)
	}
	return nil
}
