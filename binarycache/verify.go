package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"pix/activity"
	"pix/internal/parallel"
	"pix/internal/unsupported"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
)

// VerifyStore checks a cache in a directory, and reports whether errors remain. It checks that each narinfo can be
// parsed and belongs to its file name, that the file of its archive exists with the right size, that all
// references have narinfos, and that signatures are well-formed; signatures by [Options.SecretKeys] are verified.
// With checkContents, it reads each archive and compares its hashes and sizes. It logs each error with the path.
//
// VerifyStore does not repair: with repair, the error is [errors.ErrUnsupported]. [store.Copy] adds missing
// archives. The paths of a cache behind HTTP cannot be listed: the error is [errors.ErrUnsupported], too.
func (s *Store) VerifyStore(ctx context.Context, checkContents, repair bool) (errorsRemain bool, err error) {
	if s.local == nil {
		return false, unsupported.Errorf("a binary cache behind HTTP cannot list its paths")
	}
	if repair {
		return false, unsupported.Errorf("a binary cache cannot repair itself; copy the missing paths to it")
	}
	v := &verifier{store: s, contents: checkContents}
	for _, key := range s.opts.SecretKeys {
		v.keys = append(v.keys, key.Public())
	}
	limit := s.opts.HTTP.Parallel
	if checkContents {
		limit = parallelAdds()
	}
	group, ctx := parallel.WithContext(ctx, limit)
	err = s.local.hashParts(func(hashPart string) error {
		group.Go(func() error { return v.check(ctx, hashPart) })
		return ctx.Err()
	})
	if failed := group.Wait(); failed != nil {
		err = failed
	}
	return v.errorsRemain, err
}

// A verifier is the state of a call of VerifyStore.
type verifier struct {
	store    *Store
	contents bool
	keys     []signature.PublicKey

	mu           sync.Mutex // held while the handler of the caller is called
	errorsRemain bool
}

// report logs an error.
func (v *verifier) report(ctx context.Context, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.errorsRemain = true
	if h := activity.HandlerOf(ctx); h != nil {
		h.HandleEvent(activity.ErrorLog(fmt.Sprintf(format, args...)))
	}
}

// check checks a path. It returns an error only if the context has ended.
func (v *verifier) check(ctx context.Context, hashPart string) error {
	n, err := v.store.narInfo(ctx, hashPart)
	switch {
	case ctx.Err() != nil:
		return contextError(ctx)
	case errors.Is(err, fs.ErrNotExist): // removed in the meantime
		return nil
	case err != nil:
		v.report(ctx, "%v", err)
		return nil
	}
	for _, ref := range n.References {
		if ref != n.Path && !v.store.local.has(narinfo.FileName(ref), -1) {
			v.report(ctx, "path '%s' refers to '%s', which is not in the binary cache", n.Path, ref)
		}
	}
	v.checkSignatures(ctx, n)
	if !v.store.hasArchive(n) {
		v.report(ctx, "the archive '%s' of path '%s' is missing, or does not have the size of %d bytes", n.URL, n.Path, n.FileSize)
		return nil
	}
	if !v.contents {
		return nil
	}
	if err := v.read(ctx, n); err != nil {
		if ctx.Err() != nil {
			return contextError(ctx)
		}
		v.report(ctx, "%v", err)
	}
	return nil
}

// checkSignatures checks the signatures of a path. Signatures by other keys are only parsed.
func (v *verifier) checkSignatures(ctx context.Context, n *narinfo.NarInfo) {
	fingerprint, err := n.Fingerprint()
	if err != nil {
		v.report(ctx, "path '%s': %v", n.Path, err)
		return
	}
	for _, text := range n.Signatures {
		sig, err := signature.Parse(text)
		if err != nil {
			v.report(ctx, "path '%s': %v", n.Path, err)
			continue
		}
		for _, key := range v.keys {
			if key.Name() == sig.KeyName() && key.Verify(fingerprint, sig) != nil {
				v.report(ctx, "the signature of path '%s' by the key '%s' is wrong", n.Path, key.Name())
			}
		}
	}
}

// read reads an archive to its end, which verifies it.
func (v *verifier) read(ctx context.Context, n *narinfo.NarInfo) error {
	archive, err := store.ReadNAR(ctx, v.store, n.Path)
	if err != nil {
		return err
	}
	defer archive.Close()
	_, err = io.Copy(io.Discard, archive)
	return err
}
