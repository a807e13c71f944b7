package cacheserver

import (
	"context"
	"errors"
	"io"

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
	if err != nil {
		return nil, err
	}
	return u.proving(ctx, archive, info), nil
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
		return &wholeReader{u.proving(ctx, archive, info), offset}, nil
	}
	r, err := u.openKept(ctx, info, offset, false)
	if r != nil || err != nil {
		return r, err
	}
	return u.openUnkept(ctx, info, offset)
}

// openVerified opens the archive of an info, which QueryPathInfo has returned, when all of it has been fetched into a file and
// verified. So nothing that an upstream store sends reaches the caller before that, and an endless archive uses no other disk
// space.
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
	if err != nil {
		return nil, err
	}
	return u.proving(ctx, archive, info), nil
}

// errNoFiles is the error if there is no directory for archives.
var errNoFiles = errors.New("there is no directory for fetched archives")

// isProved reports whether the hash of the archive proves that it is the archive of a trusted info. Otherwise the contents must be
// compared with the content address.
func (u *Upstream) isProved(info *store.PathInfo) bool {
	return isArchiveAddress(info) || u.isSigned(info)
}

// proving returns an archive if its hash proves it, and else a reader that compares it with the content address of an info. If they
// differ, the info is no longer kept: otherwise it would hide the one of the upstream cache.
func (u *Upstream) proving(ctx context.Context, archive io.ReadCloser, info *store.PathInfo) io.ReadCloser {
	if u.isProved(info) {
		return archive
	}
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
	if r != nil || err != nil {
		return r, err
	}
	if u.fetched == nil && info.NARSize <= u.parts.largest() {
		return u.passThrough(ctx, info) // a request for a part would get it from a file, so the response is not a wholeReader
	}
	return u.openUnkept(ctx, info, 0)
}

// openKept opens an archive in a file at an offset, and fetches the archive into a file if there is none. The result is nil if the
// archive is too large for the directory, if the disk is full, or if a whole archive is not kept and no file has it.
func (u *Upstream) openKept(ctx context.Context, info *store.PathInfo, offset int64, whole bool) (io.ReadCloser, error) {
	if whole && !u.keepsWhole() {
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

// keepsWhole reports whether an archive is fetched into a file if a client requests all of it. Without a directory, archives are
// kept only for requests for parts, unless a handler adds fetched paths to a store.
func (u *Upstream) keepsWhole() bool { return u.fetched != nil || u.keepsAll.Load() }

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

// openUnkept opens an archive at an offset that cannot be kept in a file. A request for a part of it costs the whole archive.
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
