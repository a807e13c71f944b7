package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"pix/activity"
	"pix/internal/parallel"
	"pix/nar"
	"pix/signature"
	"pix/storepath"
)

// VerifyOptions say what [VerifyPaths] verifies. Nil and the zero values are useful.
type VerifyOptions struct {
	NoContents bool // do not read the archives
	NoTrust    bool // do not check signatures

	// TrustedKeys are the keys whose signatures count.
	TrustedKeys signature.KeySet

	// SignaturesNeeded is the number of keys that must have signed a path. 0 is 1, and trusts an
	// object that the store has built itself ([PathInfo.Ultimate]).
	SignaturesNeeded int

	// SignaturesFrom are stores whose signatures of the same path count, too.
	SignaturesFrom []Store
}

// A PathVerdict is the result of [VerifyPaths] for a path. The path is good if Modified and Err
// are nil and Untrusted is false.
type PathVerdict struct {
	Path      storepath.Path
	Modified  error // how its contents differ from its info, such as a [*ModifiedError]
	Untrusted bool  // it is not signed by enough trusted keys
	Err       error // why it could not be verified

	// Unanswered are the errors of stores of SignaturesFrom. Their signatures do not count.
	Unanswered []error
}

// VerifyPaths verifies paths of a store of any kind: that their archives have the hashes of their
// infos, and that the paths can be trusted. It trusts, as Nix does, an object that has enough
// signatures, or that the store has built itself, or whose path follows from its content address.
// In the last case it compares the contents with the address, which Nix does not. It does not
// verify git hashes.
//
// It calls report for each path, in the order of paths, from one goroutine at a time, and not
// after it has returned. The error is the cause of the context: other errors are in the verdicts.
//
// Source: src/nix/verify.cc in Nix.
func VerifyPaths(ctx context.Context, s Store, paths []storepath.Path, opts *VerifyOptions, report func(*PathVerdict)) error {
	if opts == nil {
		opts = new(VerifyOptions)
	}
	v := &pathVerifier{store: s, VerifyOptions: opts, report: report, verdicts: make([]*PathVerdict, len(paths))}
	limit := max(runtime.GOMAXPROCS(0), 4)
	if opts.NoContents {
		limit = 32 // queries only wait for the store
	}
	group, groupCtx := parallel.WithContext(ctx, limit)
	groupCtx = v.start(groupCtx)
	for i, path := range paths {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			v.begin()
			v.finish(i, v.verify(groupCtx, path))
			return groupCtx.Err()
		})
	}
	err := group.Wait()
	v.stop()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A pathVerifier is the state of a call of VerifyPaths.
type pathVerifier struct {
	store Store
	*VerifyOptions
	report func(*PathVerdict)

	handler activity.Handler // nil if the caller has none
	id      activity.ID

	mu            sync.Mutex     // held while report is called
	verdicts      []*PathVerdict // nil for paths that are not verified yet
	reported      int            // the number of verdicts that were reported
	done, running int
	failed        int
}

// start reports the activity of the call. The handler in the returned context can be called from several goroutines.
func (v *pathVerifier) start(ctx context.Context) context.Context {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx
	}
	sequencer := activity.NewSequencer(h)
	v.handler, v.id = &sequencer, activity.NewID()
	v.handler.HandleEvent(activity.Start{
		ID: v.id, Level: activity.LevelInfo, Type: activity.VerifyPaths, Text: fmt.Sprintf("verifying %d paths", len(v.verdicts)),
	})
	return activity.WithHandler(ctx, v.handler)
}

func (v *pathVerifier) stop() {
	if v.handler != nil {
		v.handler.HandleEvent(activity.Stop{ID: v.id})
	}
}

// begin counts a path whose verification begins.
func (v *pathVerifier) begin() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.running++
	v.progress()
}

// finish reports a verdict, after the verdicts on all earlier paths.
func (v *pathVerifier) finish(i int, verdict *PathVerdict) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.verdicts[i] = verdict
	v.running--
	if verdict.Err != nil {
		v.failed++
	} else {
		v.done++
	}
	v.progress()
	for ; v.reported < len(v.verdicts) && v.verdicts[v.reported] != nil; v.reported++ {
		v.report(v.verdicts[v.reported])
	}
}

func (v *pathVerifier) progress() {
	if v.handler == nil {
		return
	}
	v.handler.HandleEvent(activity.Result{ID: v.id, Type: activity.Progress, Fields: []activity.Field{
		activity.Number(uint64(v.done)), activity.Number(uint64(len(v.verdicts))),
		activity.Number(uint64(v.running)), activity.Number(uint64(v.failed)),
	}})
}

// verify verifies one path.
func (v *pathVerifier) verify(ctx context.Context, path storepath.Path) *PathVerdict {
	verdict := &PathVerdict{Path: path}
	info, err := v.store.QueryPathInfo(ctx, path)
	if err == nil && !v.NoContents {
		err = v.verifyContents(ctx, info)
		if isModified(err) {
			verdict.Modified, err = err, nil
		}
	}
	if err == nil && !v.NoTrust {
		verdict.Untrusted, verdict.Unanswered, err = v.isUntrusted(ctx, info)
	}
	verdict.Err = err
	return verdict
}

// isModified reports whether an error says that contents differ from their info.
func isModified(err error) bool {
	_, modified := errors.AsType[*ModifiedError](err)
	_, mismatch := errors.AsType[*MismatchError](err)
	return modified || mismatch
}

// verifyContents compares the archive of an object with its info. It reads the archive to its end, because most stores
// do not verify what they send.
func (v *pathVerifier) verifyContents(ctx context.Context, info *PathInfo) error {
	archive, err := ReadNAR(ctx, v.store, info.Path)
	if err != nil {
		return err
	}
	defer archive.Close()
	hasher := nar.NewHasher(info.NARHash.Algorithm())
	address, err := newAddressHasher(info)
	if err != nil {
		return err
	}
	if address == nil {
		_, err = io.Copy(hasher, archive)
	} else {
		err = address.read(io.TeeReader(archive, hasher))
	}
	if err == nil && hasher.Hash() != info.NARHash {
		err = &ModifiedError{Path: info.Path, Expected: info.NARHash, Got: hasher.Hash()}
	}
	if err == nil && address != nil {
		err = address.check(info, hasher.Size())
	}
	return err
}

// An addressHasher computes the content address of an object from its archive.
type addressHasher struct {
	method  storepath.Method
	hashes  *nar.ModuloHasher
	notFile error  // why an archive with the address of a file is not one; nil if it is
	end     uint64 // where the archive of the file ends
}

// newAddressHasher returns nil if the archive hash decides whether an object has its content address, or if there is none
// that can be computed.
func newAddressHasher(info *PathInfo) (*addressHasher, error) {
	method := info.CA.Method()
	if !info.IsContentAddressed() || method == storepath.Git || info.CA.Hash() == info.NARHash && method == storepath.NAR {
		return nil, nil
	}
	hashes, err := nar.NewModuloHasher(info.CA.Hash().Algorithm(), info.Path.HashPart())
	return &addressHasher{method: method, hashes: hashes}, err
}

// read reads an archive to its end.
func (h *addressHasher) read(archive io.Reader) error {
	if h.method == storepath.NAR {
		_, err := io.Copy(h.hashes, archive)
		return err
	}
	err := h.readFile(nar.NewReader(archive))
	if _, malformed := errors.AsType[*nar.Error](err); malformed || errors.Is(err, errNotFile) {
		h.notFile, err = err, nil
	}
	if err == nil {
		_, err = io.Copy(io.Discard, archive) // all of it counts for the hash of the archive
	}
	return err
}

// errNotFile is the error of an archive of another object than a file.
var errNotFile = errors.New("an archive that is not a file")

// readFile hashes the contents of the file in an archive.
func (h *addressHasher) readFile(r *nar.Reader) error {
	entry, err := r.Next()
	if err == nil && entry.Kind != nar.Regular {
		err = errNotFile
	}
	if err == nil {
		const last = 16 // the parenthesis
		h.end = uint64(entry.Offset) + (entry.Size+7)/8*8 + last
		_, err = io.Copy(h.hashes, r)
	}
	if err == nil { // what follows the contents may be malformed
		if _, err = r.Next(); err == io.EOF {
			return nil
		}
	}
	return err
}

// check returns an error unless the archive, which has a size in bytes, has the content address of an info. An archive that is not a file has no flat hash. The
// hash of nothing must not stand for it: any directory would have the address of an empty file.
func (h *addressHasher) check(info *PathInfo, size uint64) error {
	if h.notFile == nil && h.method != storepath.NAR && size != h.end {
		h.notFile = errNotFile
	}
	if h.notFile != nil {
		return &MismatchError{"ca hash", info.Path, info.CA.Hash().WithNix32(), h.notFile.Error()}
	}
	_, err := info.CheckContents(h.hashes.Finish())
	return err
}

// isUntrusted reports whether too few trusted keys have signed an object that needs signatures.
func (v *pathVerifier) isUntrusted(ctx context.Context, info *PathInfo) (untrusted bool, unanswered []error, err error) {
	if info.Ultimate && v.SignaturesNeeded == 0 || info.IsContentAddressed() {
		return false, nil, nil
	}
	if _, err := info.Fingerprint(); err != nil {
		return false, nil, err
	}
	signed := make(map[string]bool) // by the names of keys
	for i := 0; ; i++ {
		good, _ := info.CheckSignatures(v.TrustedKeys) // a malformed signature does not invalidate the others
		for _, sig := range good {
			signed[sig.KeyName()] = true
		}
		if len(signed) >= max(v.SignaturesNeeded, 1) {
			return false, unanswered, nil
		}
		if i == len(v.SignaturesFrom) {
			return true, unanswered, nil
		}
		other, err := v.SignaturesFrom[i].QueryPathInfo(ctx, info.Path)
		switch {
		case err == nil:
			info = withSignatures(info, other.Signatures)
		case !errors.Is(err, ErrNotFound):
			unanswered = append(unanswered, err)
		}
	}
}

// withSignatures returns the info with other signatures.
func withSignatures(info *PathInfo, signatures []string) *PathInfo {
	other := *info
	other.Signatures = signatures
	return &other
}
