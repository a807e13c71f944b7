package cacheserver

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"pix/nar"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// NARFromPath implements [store.NARReader].
func (u *Upstream) NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error) {
	info, err := u.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	return u.openArchive(ctx, info)
}

// NARFromOffset implements [store.NAROffsetReader]. It fetches the whole archive if there is no file with it. The bytes are not
// verified before the fetch has ended: see unverified.
func (u *Upstream) NARFromOffset(ctx context.Context, path storepath.Path, offset int64) (io.ReadCloser, error) {
	info, err := u.QueryPathInfo(ctx, path)
	if err != nil {
		return nil, err
	}
	return u.openArchiveFrom(ctx, info, offset)
}

// openArchive opens the archive of an info, which QueryPathInfo has returned. The reader fails if it is another one.
func (u *Upstream) openArchive(ctx context.Context, info *store.PathInfo) (io.ReadCloser, error) {
	archive, err := u.openWhole(ctx, info)
	if err != nil || u.isProved(info) {
		return archive, err
	}
	return u.newAddressReader(ctx, archive, info), nil
}

// isProved reports whether the hash of the archive proves that it is the archive of a trusted info. Otherwise the contents must be
// compared with the content address.
func (u *Upstream) isProved(info *store.PathInfo) bool {
	return isArchiveAddress(info) || u.isSigned(info)
}

// openArchiveFrom is openArchive from an offset on.
func (u *Upstream) openArchiveFrom(ctx context.Context, info *store.PathInfo, offset int64) (io.ReadCloser, error) {
	if offset < 0 || uint64(offset) > info.NARSize {
		return nil, nar.ErrOffset
	}
	if !u.isProved(info) {
		// A file may have been fetched for another path, which has another address.
		archive, err := u.openWhole(ctx, info)
		if err != nil {
			return nil, err
		}
		return &wholeReader{u.newAddressReader(ctx, archive, info), offset}, nil
	}
	r, err := u.openKept(ctx, info, offset, false)
	if r != nil || err != nil {
		return r, err
	}
	return u.openUnkept(ctx, info, offset)
}

// newAddressReader returns a reader that compares an archive with the content address of an info. If they differ, the info is no longer
// kept: otherwise it would hide the one of the upstream cache.
func (u *Upstream) newAddressReader(ctx context.Context, archive io.ReadCloser, info *store.PathInfo) io.ReadCloser {
	if u.fetched == nil {
		return newAddressReader(ctx, archive, info, nil)
	}
	return newAddressReader(ctx, archive, info, func() {
		if ctx.Err() == nil { // otherwise the client has left
			u.fetched.forgetInfo(info)
		}
	})
}

// openWhole opens a whole archive. The reader compares only the hash of the archive.
func (u *Upstream) openWhole(ctx context.Context, info *store.PathInfo) (io.ReadCloser, error) {
	r, err := u.openKept(ctx, info, 0, true)
	switch {
	case r != nil || err != nil:
		return r, err
	case u.fetched == nil && info.NARSize <= u.parts.largest():
		return u.passThrough(ctx, info)
	}
	return u.openUnkept(ctx, info, 0)
}

// files returns the files with archives, or nil if their directory cannot be created.
func (u *Upstream) files() *fetchedFiles {
	if u.fetched != nil {
		return u.fetched
	}
	return u.parts.open()
}

// largestKept returns the maximum size of an archive that is kept in a file.
func (u *Upstream) largestKept() uint64 {
	if files := u.files(); files != nil {
		return files.largest()
	}
	return 0
}

// openVerified opens the archive of an info, which QueryPathInfo has returned, when all of it has been fetched into a file and verified.
// So nothing that an upstream store sends reaches the caller before that, and an endless archive uses no other disk space.
func (u *Upstream) openVerified(ctx context.Context, info *store.PathInfo) (io.ReadCloser, error) {
	files := u.files()
	if files == nil {
		return nil, errNoFiles
	}
	f, g, err := files.get(ctx, u.src.get, info)
	if err != nil {
		return nil, err
	}
	if g != nil {
		if err := g.wait(ctx); err != nil {
			g.close()
			return nil, err
		}
	}
	archive, err := files.newReader(ctx, f, g, info, 0, true)
	if err != nil || u.isProved(info) {
		return archive, err
	}
	return u.newAddressReader(ctx, archive, info), nil
}

// errNoFiles is the error if there is no directory for archives.
var errNoFiles = errors.New("there is no directory for fetched archives")

// An unverified reader reads a part of an archive. verify waits until the whole archive was verified, and returns an error if it is
// wrong. A part whose verification has not ended must not be sent completely.
type unverified interface{ verify() error }

// openKept opens an archive at an offset in a file. It fetches the archive if there is no file with it, except for a whole archive
// without a directory for archives, unless all archives are kept. The result is nil if there is no file.
func (u *Upstream) openKept(ctx context.Context, info *store.PathInfo, offset int64, whole bool) (io.ReadCloser, error) {
	if u.fetched == nil && whole && !u.keepsAll.Load() {
		return u.parts.openFound(ctx, info)
	}
	files := u.files()
	if files == nil || info.NARSize > files.largest() {
		return nil, nil
	}
	f, g, err := files.get(ctx, u.src.get, info)
	switch {
	case errors.Is(err, errDiskFull):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return files.newReader(ctx, f, g, info, offset, whole)
}

// openUnkept opens an archive that cannot be kept in a file.
func (u *Upstream) openUnkept(ctx context.Context, info *store.PathInfo, offset int64) (io.ReadCloser, error) {
	r, err := u.passThrough(ctx, info)
	if err != nil {
		return nil, err
	}
	return &wholeReader{r, offset}, nil
}

// passThrough opens the archive of a path, which is not kept.
func (u *Upstream) passThrough(ctx context.Context, info *store.PathInfo) (io.ReadCloser, error) {
	src, err := u.src.get(ctx)
	if err != nil {
		return nil, err
	}
	archive, err := openSource(ctx, src, info)
	return archive, u.src.answered(ctx, err)
}

// openSource opens the archive of a path in a store. The reader fails if it is not the archive of the info.
func openSource(ctx context.Context, src store.Store, info *store.PathInfo) (io.ReadCloser, error) {
	archive, err := store.ReadNAR(ctx, src, info.Path)
	if err != nil {
		return nil, err
	}
	return &verifiedReader{ReadCloser: archive, info: info, hasher: nar.NewHasher(nixhash.SHA256)}, nil
}

// A wholeReader reads an archive from an offset on. The archive is read from its beginning to its end, because nothing else verifies
// a part.
type wholeReader struct {
	io.ReadCloser       // the whole archive, verified at its end
	skip          int64 // number of bytes before the offset that were not read yet
}

func (r *wholeReader) Read(p []byte) (int, error) {
	if r.skip > 0 {
		n, err := io.CopyN(io.Discard, r.ReadCloser, r.skip)
		if r.skip -= n; err != nil {
			return 0, err
		}
	}
	return r.ReadCloser.Read(p)
}

func (r *wholeReader) verify() error {
	_, err := io.Copy(io.Discard, r.ReadCloser)
	return err
}

// A growingReader reads an archive that is being fetched.
type growingReader struct {
	ctx    context.Context
	file   *growingFile
	offset int64
}

func (r *growingReader) Read(p []byte) (int, error) {
	n, err := r.file.readAt(r.ctx, p, r.offset)
	r.offset += int64(n)
	return n, err
}

func (r *growingReader) verify() error { return r.file.wait(r.ctx) }

func (r *growingReader) Close() error {
	r.file.close()
	return nil
}

// A keptReader reads a part of a complete file.
type keptReader struct {
	*openFile
	ctx   context.Context
	files *fetchedFiles
}

func (r *keptReader) verify() error { return r.files.keptFiles.verify(r.ctx, r.openFile) }

// newReader returns a reader from an offset on of an archive that get or findWhole has found. A whole archive is verified again while
// it is read, because a power cut may have damaged the file. If so, the file is deleted.
func (c *fetchedFiles) newReader(ctx context.Context, f *openFile, g *growingFile, info *store.PathInfo, offset int64, whole bool) (io.ReadCloser, error) {
	switch {
	case g != nil:
		return &growingReader{ctx, g, offset}, nil
	case whole:
		return &verifiedReader{f, info, nar.NewHasher(nixhash.SHA256), func() { c.remove(info.NARHash) }}, nil
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		f.Close()
		return nil, err
	}
	return &keptReader{f, ctx, c}, nil
}

// partFiles keeps the archives whose parts clients request, if no directory for archives was given. Without the files, each part
// would need the whole archive from the upstream store. The first such request creates a temporary directory for them.
type partFiles struct {
	storeDir storepath.Dir
	size     int64
	fetches  int

	mu     sync.Mutex
	closed bool
	files  *fetchedFiles // nil before the first request
}

// open returns the files, or nil if the directory cannot be created. Then archives are sent without files.
func (p *partFiles) open() *fetchedFiles {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.files != nil || p.closed {
		return p.files
	}
	dir, err := os.MkdirTemp("", "pix-upstream-*")
	if err != nil {
		return nil
	}
	if p.files, err = openFetched(dir, p.storeDir, p.size, p.fetches); err != nil {
		os.RemoveAll(dir) // it may already have a lock file
		return nil
	}
	return p.files
}

// largest returns the maximum size of an archive whose parts are sent.
func (p *partFiles) largest() uint64 { return uint64(p.size) / uint64(p.fetches+1) }

// openFound opens a whole archive if there is a file with it. Otherwise the result is nil.
func (p *partFiles) openFound(ctx context.Context, info *store.PathInfo) (io.ReadCloser, error) {
	p.mu.Lock()
	files := p.files
	p.mu.Unlock()
	if files == nil {
		return nil, nil
	}
	f, g, err := files.findWhole(info)
	if err != nil || f == nil && g == nil {
		return nil, err
	}
	return files.newReader(ctx, f, g, info, 0, true)
}

// close deletes the files.
func (p *partFiles) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.files == nil {
		return nil
	}
	p.files.close()
	return os.RemoveAll(p.files.dir)
}
