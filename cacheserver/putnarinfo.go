package cacheserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"pix/binarycache"
	"pix/cacheserver/internal/uploads"
	"pix/narinfo"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

// maxSignatures is the number of signatures that an uploaded narinfo may have. Each may have to be verified.
const maxSignatures = 64

// unacceptable returns the error of a file that the server does not accept because of its contents.
func unacceptable(format string, args ...any) error {
	return &statusError{http.StatusUnprocessableEntity, oneLine(fmt.Sprintf(format, args...))}
}

// conflict returns the error of a file that contradicts what the cache has.
func conflict(format string, args ...any) error {
	return &statusError{http.StatusConflict, oneLine(fmt.Sprintf(format, args...))}
}

// putNarInfo adds an object, whose archive was uploaded before.
func (p *upload) putNarInfo(ctx context.Context) (created bool, err error) {
	text, err := p.text(ctx, narinfo.MaxLen)
	if err != nil {
		return false, err
	}
	n, err := narinfo.ParseBytes(text, &narinfo.Options{StoreDir: p.h.dir})
	if err != nil {
		return false, unacceptable("%v", err)
	}
	if n.Path.HashPart() != p.name.hashPart {
		return false, unacceptable("the narinfo of '%s' was uploaded under the name of another path", n.Path)
	}
	if len(n.Signatures) > maxSignatures {
		return false, unacceptable("the narinfo has %d signatures, more than %d", len(n.Signatures), maxSignatures)
	}
	n.Ultimate = false
	unlock, err := p.adding.lock(ctx, p.name.hashPart)
	if err != nil {
		return false, err
	}
	defer unlock()
	archive := p.findArchive(n)
	if err := p.sessions.protect(ctx, n.Path); err != nil { // also if the store has it: paths that refer to it are uploaded next
		return false, err
	}
	known, err := p.putKnown(ctx, n)
	if !known && err == nil {
		err = p.putNew(ctx, n, archive)
	}
	if err == nil && archive != nil {
		p.spool.Done(archive)
	}
	return !known, err
}

// findArchive returns the uploaded archive of a narinfo, or nil.
func (p *upload) findArchive(n *narinfo.NarInfo) *uploads.Archive {
	if name, ok := spoolName(parseName("/" + n.URL)); ok {
		return p.spool.Find(p.by.Name, name)
	}
	return nil
}

// putKnown accepts the narinfo of a path that the cache already has, and adds its signatures by trusted keys. It reports false
// if the cache does not have the path.
func (p *upload) putKnown(ctx context.Context, n *narinfo.NarInfo) (known bool, err error) {
	s, info, err := p.h.lookUp(ctx, p.name.hashPart)
	switch {
	case err != nil && isAbsent(err):
		return false, nil
	case err != nil:
		return false, err
	case info.Path != n.Path:
		return true, conflict("the cache has '%s' with the same hash part", info.Path)
	case info.NARHash != n.NARHash || info.NARSize != n.NARSize && info.NARSize != 0:
		return true, conflict("the cache has '%s' with other contents", info.Path)
	}
	added := *info
	added.Signatures = slices.DeleteFunc(slices.Clone(n.Signatures), func(s string) bool { return slices.Contains(info.Signatures, s) })
	good, _ := added.CheckSignatures(p.h.opts.TrustedKeys) // a malformed signature does not verify
	if len(good) == 0 {
		return true, nil
	}
	texts := make([]string, len(good))
	for i, s := range good {
		texts[i] = s.String()
	}
	if err := store.AddSignatures(ctx, s, info.Path, texts); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return true, err
	}
	return true, nil
}

// putNew adds an object from an uploaded archive.
func (p *upload) putNew(ctx context.Context, n *narinfo.NarInfo, archive *uploads.Archive) error {
	if archive == nil {
		return unacceptable("the archive %q of the narinfo was not uploaded, or waited too long for its narinfo: upload it again", n.URL)
	}
	if err := checkArchive(n, archive); err != nil {
		return err
	}
	if err := p.checkReferences(ctx, &n.PathInfo); err != nil {
		return err
	}
	opts := &store.AddOptions{NoSignatures: p.by.Trusted, TrustedKeys: p.h.opts.TrustedKeys}
	if opts.TrustedKeys == nil {
		opts.TrustedKeys = signature.KeySet{} // and not the keys of the store
	}
	if !n.CA.IsZero() && !n.IsContentAddressed() {
		return unacceptable("the content address of '%s' is not the one of its path", n.Path)
	}
	if !n.IsContentAddressed() && !opts.Vouches(&n.PathInfo, false, nil) {
		return &store.UntrustedError{Path: n.Path}
	}
	if err := p.checkAddress(ctx, n, archive, opts); err != nil {
		return err
	}
	contents, err := p.spool.Open(ctx, archive)
	if err != nil {
		return err
	}
	defer contents.Close()
	session, end, err := p.sessions.acquire(ctx)
	if err != nil {
		return err
	}
	defer end()
	info := n.PathInfo
	return store.AddNAR(ctx, session, &info, contents, opts)
}

// checkArchive compares a narinfo with the uploaded archive.
func checkArchive(n *narinfo.NarInfo, a *uploads.Archive) error {
	switch {
	case n.Compression != a.Method:
		return unacceptable("the narinfo says that the archive is compressed with %q, but it is %q", n.Compression, a.Method)
	case !n.FileHash.IsZero() && n.FileHash != a.Name.FileHash:
		return unacceptable("the narinfo says that the hash of the file is %s, but it is %s", n.FileHash.WithNix32(), a.Name.FileHash.WithNix32())
	case n.FileSize != 0 && n.FileSize != uint64(a.FileSize):
		return unacceptable("the narinfo says that the file has %d bytes, but it has %d", n.FileSize, a.FileSize)
	}
	return n.CheckArchive(a.NARHash, a.NARSize)
}

// checkReferences returns an error unless the store has all references of an object.
func (p *upload) checkReferences(ctx context.Context, info *store.PathInfo) error {
	others := slices.DeleteFunc(slices.Clone(info.References), func(ref storepath.Path) bool { return ref == info.Path })
	valid, err := p.target.QueryValidPaths(ctx, others, false)
	if err != nil {
		return err
	}
	for _, ref := range others {
		if _, ok := slices.BinarySearch(valid, ref); !ok {
			return p.missingReference(info.Path, ref)
		}
	}
	return nil
}

// missingReference returns the error of an object with a reference that the store does not have. The client may have found the
// reference in another store.
func (p *upload) missingReference(path, ref storepath.Path) error {
	missing := &store.MissingReferenceError{Path: path, Reference: ref, To: "the cache"}
	if len(p.h.stores) > 1 {
		return unacceptable("%v; upload to the URL with %s at its end, so that the client uploads references that only other stores have", missing, uploadPrefix)
	}
	return missing
}

// checkAddress checks the content address of an object without a trusted signature. Stores do that, but not binary caches,
// whose readers check signatures and content addresses. They cannot check an address that is weak.
func (p *upload) checkAddress(ctx context.Context, n *narinfo.NarInfo, archive *uploads.Archive, opts *store.AddOptions) error {
	if _, isCache := store.As[*binarycache.Store](p.target); !isCache || n.CA.IsZero() || opts.Vouches(&n.PathInfo, false, nil) {
		return nil
	}
	if slices.Contains(n.References, n.Path) || n.CA.Method() == storepath.Git {
		return &store.UntrustedError{Path: n.Path, Weak: true}
	}
	object := &uploadedObject{p.target, p.spool, archive, &n.PathInfo}
	var failed error
	err := store.VerifyPaths(ctx, object, []storepath.Path{n.Path}, &store.VerifyOptions{NoTrust: true}, func(v *store.PathVerdict) {
		failed = errors.Join(v.Err, v.Modified)
	})
	return cmp.Or(err, failed)
}

// An uploadedObject is a store that has nothing but an uploaded object.
type uploadedObject struct {
	store.Store
	spool   *uploads.Spool
	archive *uploads.Archive
	info    *store.PathInfo
}

func (o *uploadedObject) QueryPathInfo(context.Context, storepath.Path) (*store.PathInfo, error) {
	return o.info, nil
}

func (o *uploadedObject) NARFromPath(ctx context.Context, _ storepath.Path) (io.ReadCloser, error) {
	return o.spool.Open(ctx, o.archive)
}
