package cacheserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"pix/internal/unsupported"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// UpstreamOptions configure an [Upstream]. The zero values are useful.
type UpstreamOptions struct {
	// TrustedKeys are the keys that sign paths. Paths without a signature by one of them do not exist
	// for clients, except content-addressed ones, whose contents are compared with the content address.
	TrustedKeys signature.KeySet

	// Dir is the directory of fetched archives, which no other process may use. "" keeps only archives whose parts a client
	// requests, in a temporary directory, which remains if the process is killed.
	Dir string

	// Size is the maximum size of the archives in Dir in bytes. Archives that were not used for the longest time are
	// deleted. 0 is 20 GiB, or 4 GiB in a temporary directory.
	Size int64

	// Fetches is the maximum number of archives that are fetched into Dir at a time; 0 is 8, or 3 in a temporary directory.
	// Larger archives than Size/(Fetches+1) are sent to each client that wants them, and not kept. No parts of these are sent.
	Fetches int
}

// An Upstream is a store that fetches from another one, usually a binary cache of someone else, and keeps the archives
// that it has fetched. It is made to be served by a [Handler], after the stores of this machine.
//
// An archive that several clients want is fetched once. The fetch goes on when the clients have left. A part of an archive is
// sent from a file with the whole archive, because nothing else proves that its bytes are right.
type Upstream struct {
	src     *upstreamSource
	keys    signature.KeySet
	fetched *fetchedFiles // nil if no archives are kept
	parts   partFiles     // used if fetched is nil

	// If keepsAll is set, a request for a whole archive also fetches it into parts. A handler with AddFetched sets it.
	keepsAll atomic.Bool
}

var (
	_ store.HashPartQuerier  = (*Upstream)(nil)
	_ store.NARReader        = (*Upstream)(nil)
	_ store.NAROffsetReader  = (*Upstream)(nil)
	_ store.RealisationStore = (*Upstream)(nil)
)

// NewUpstream returns an Upstream that fetches from src. Closing it closes src.
func NewUpstream(src store.Store, opts *UpstreamOptions) (*Upstream, error) {
	if err := checkStores([]store.Store{src}); err != nil {
		return nil, err
	}
	return newUpstream(&upstreamSource{dir: src.Dir(), store: src}, opts)
}

func newUpstream(src *upstreamSource, opts *UpstreamOptions) (u *Upstream, err error) {
	if opts == nil {
		opts = new(UpstreamOptions)
	}
	u = &Upstream{src: src, keys: opts.TrustedKeys}
	if opts.Dir == "" {
		u.parts = partFiles{storeDir: src.dir, size: cmp.Or(opts.Size, 4<<30), fetches: cmp.Or(opts.Fetches, 3)}
		return u, nil
	}
	u.fetched, err = openFetched(opts.Dir, src.dir, cmp.Or(opts.Size, 20<<30), cmp.Or(opts.Fetches, 8))
	return u, err
}

// An UpstreamError reports that an upstream store failed.
type UpstreamError struct{ Err error }

func (e *UpstreamError) Error() string { return "the upstream cache failed: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *UpstreamError) Unwrap() error { return e.Err }

// upstreamError returns an error of the upstream store. An absent path remains an absent path.
func upstreamError(err error) error {
	if err == nil || isAbsent(err) || errors.Is(err, nar.ErrOffset) {
		return err
	}
	return &UpstreamError{err}
}

// Dir implements [store.Store].
func (u *Upstream) Dir() storepath.Dir { return u.src.dir }

// Close ends all fetches.
func (u *Upstream) Close() error {
	if u.fetched != nil {
		u.fetched.close()
	}
	return errors.Join(u.parts.close(), u.src.close())
}

// IsValidPath implements [store.Store].
func (u *Upstream) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	_, err := u.QueryPathInfo(ctx, path)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// QueryValidPaths implements [store.Store].
func (u *Upstream) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	var found []storepath.Path
	err := u.src.query(ctx, func(ctx context.Context, src store.Store) (err error) {
		found, err = src.QueryValidPaths(ctx, paths, substitute)
		return err
	})
	if err != nil {
		return nil, err
	}
	valid := found[:0]
	for _, path := range found {
		ok, err := u.IsValidPath(ctx, path)
		if err != nil {
			return nil, err
		}
		if ok {
			valid = append(valid, path)
		}
	}
	return valid, nil
}

// QueryPathInfo returns the info of a path that a trusted key has signed.
func (u *Upstream) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	if info := u.keptInfo(path.HashPart()); info != nil && info.Path == path {
		return info, nil
	}
	var info *store.PathInfo
	err := u.src.query(ctx, func(ctx context.Context, src store.Store) (err error) {
		info, err = src.QueryPathInfo(ctx, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !u.isTrusted(info) {
		return nil, &store.NotFoundError{Path: path}
	}
	info.Ultimate = false
	return info, nil
}

// isTrusted reports whether a path may be served.
func (u *Upstream) isTrusted(info *store.PathInfo) bool {
	return (mayHaveAddress(info) || u.isSigned(info)) && info.NARHash.Algorithm() == nixhash.SHA256
}

// isSigned reports whether a trusted key has signed a path.
func (u *Upstream) isSigned(info *store.PathInfo) bool {
	good, _ := info.CheckSignatures(u.keys) // a malformed signature does not verify
	return len(good) > 0
}

// keptInfo returns the info of a path whose archive is kept, if it is trusted, or nil. The keys may have changed since it was kept.
func (u *Upstream) keptInfo(hashPart string) *store.PathInfo {
	if u.fetched == nil {
		return nil
	}
	if info := u.fetched.keptInfo(hashPart); info != nil && u.isTrusted(info) {
		return info
	}
	return nil
}

// QueryPathFromHashPart implements [store.HashPartQuerier].
func (u *Upstream) QueryPathFromHashPart(ctx context.Context, hashPart string) (path storepath.Path, err error) {
	if info := u.keptInfo(hashPart); info != nil {
		return info.Path, nil
	}
	err = u.src.query(ctx, func(ctx context.Context, src store.Store) (err error) {
		path, err = store.PathFromHashPart(ctx, src, hashPart)
		return err
	})
	return path, err
}

// QueryRealisation returns a realisation that a trusted key has signed.
func (u *Upstream) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	var r *store.Realisation
	err := u.src.query(ctx, func(ctx context.Context, src store.Store) (err error) {
		r, err = store.QueryRealisation(ctx, src, output)
		return err
	})
	if err != nil {
		return nil, err
	}
	fingerprint, err := realisationFingerprint(&store.KeyedRealisation{ID: output, Realisation: *r})
	if err != nil || !isSigned(fingerprint, r.Signatures, u.keys) {
		return nil, fmt.Errorf("output '%s' has no trusted realisation: %w", output.ID(), store.ErrNotFound)
	}
	return r, nil
}

// RegisterDrvOutput returns [errors.ErrUnsupported].
func (u *Upstream) RegisterDrvOutput(context.Context, store.KeyedRealisation) error {
	return unsupported.Errorf("an upstream cache is read-only")
}

// A verifiedReader reads a whole archive, and returns an error instead of [io.EOF] if it is not the archive of an info.
type verifiedReader struct {
	io.ReadCloser
	info   *store.PathInfo
	hasher *nar.Hasher
	failed func() // called if the archive is wrong; may be nil
}

func (r *verifiedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.hasher.Write(p[:n])
	wrong := r.hasher.Size() > r.info.NARSize || err == io.EOF && r.hasher.Hash() != r.info.NARHash
	if !wrong {
		return n, err
	}
	if r.failed != nil {
		r.failed()
	}
	return 0, &store.ModifiedError{Path: r.info.Path, Expected: r.info.NARHash, Got: r.hasher.Hash()}
}
