package cacheserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"

	"pix/nar"
	"pix/store"
)

// archiveType is the media type of archives, compressed or not.
const archiveType = "application/x-nix-nar"

// serveArchive answers a request for an archive.
func (h *Handler) serveArchive(w *response, r *http.Request, n name) error {
	if n.hashPart == "" {
		if n.hashPart = r.URL.Query().Get("hash"); !isHashPart(n.hashPart) { // the URLs of harmonia
			return errNotFound
		}
	}
	s, info, err := h.lookUpArchive(r.Context(), n)
	if err != nil {
		return err
	}
	a := &archive{store: s, info: info}
	if err := h.sendArchive(w, r, n, a); err != nil {
		return err
	}
	if u, ok := store.As[*Upstream](s); ok && h.adder != nil && r.Method == http.MethodGet && w.status/100 == 2 {
		h.adder.add(u, info)
	}
	return nil
}

// sendArchive sends an archive in the form that a request names. If there is no error, all bytes that were sent were verified.
func (h *Handler) sendArchive(w *response, r *http.Request, n name, a *archive) error {
	switch {
	case n.compression == zstdExtension && h.compressed != nil:
		return h.serveCompressed(w, r, a)
	case n.compression != "":
		return errNotFound
	}
	if a.info.NARSize < maxEncoded && h.encodes(w, r) && r.Header.Get("Range") == "" {
		return h.serveEncoded(w, r, a)
	}
	return h.servePlain(w, r, a)
}

// lookUpArchive returns the info of the object with an archive, and its store. A store with another object under the path does
// not have the archive.
func (h *Handler) lookUpArchive(ctx context.Context, n name) (s store.Store, info *store.PathInfo, err error) {
	err = h.firstStore(errNotFound, func(candidate store.Store) (err error) {
		s = candidate
		info, err = h.queryHashPart(ctx, s, n.hashPart)
		if err == nil && (info.NARHash != n.hash || info.NARSize == 0 || info.NARSize > math.MaxInt64) {
			err = store.ErrNotFound
		}
		return err
	})
	return s, info, err
}

// servePlain sends an archive, or a part of it, as it is.
func (h *Handler) servePlain(w *response, r *http.Request, a *archive) error {
	part, partial, done, err := h.beginFile(w, r, a.etag(), int64(a.info.NARSize))
	if done || err != nil {
		return err
	}
	if r.Method == http.MethodHead {
		beginBody(w, part, partial, int64(a.info.NARSize))
		return nil
	}
	if a.info.NARSize <= maxBuffered && !partial {
		return h.servePlainSmall(w, r, a)
	}
	// A response from a file takes little memory, and may wait for the fetch that writes the file, so it holds no place.
	found, err := a.openFile(r.Context(), part)
	if err != nil {
		return err
	}
	if !found {
		places := h.budgets.of(a.store).archives
		if err := places.acquire(r.Context()); err != nil {
			return err
		}
		defer places.release()
		w.place = places
		if err := a.open(r.Context(), part); err != nil {
			return err
		}
	}
	defer a.contents.Close()
	if whole, ok := a.contents.(*wholeReader); ok { // each part would cost the whole archive
		whole.skip, part, partial = 0, a.whole(), false
		w.Header().Del("Accept-Ranges")
	}
	beginBody(w, part, partial, int64(a.info.NARSize))
	return a.send(w, part)
}

// maxBuffered is the size in bytes up to which an archive is read and verified before it is sent. So slow clients that
// receive small archives hold no place.
const maxBuffered = 64 << 10

// servePlainSmall sends a small archive as it is.
func (h *Handler) servePlainSmall(w *response, r *http.Request, a *archive) error {
	body, err := h.readSmall(r.Context(), a)
	if err != nil {
		return err
	}
	beginBody(w, byteRange{0, int64(len(body))}, false, int64(len(body)))
	_, err = w.Write(body)
	return err
}

// readSmall reads and verifies a small archive.
func (h *Handler) readSmall(ctx context.Context, a *archive) ([]byte, error) {
	places := h.budgets.of(a.store).small
	if err := places.acquire(ctx); err != nil {
		return nil, err
	}
	defer places.release()
	return a.read(ctx)
}

// beginFile evaluates the preconditions and the range of a request for an archive of a known size. If done is set, the request
// has been answered.
func (h *Handler) beginFile(w *response, r *http.Request, etag string, size int64) (part byteRange, partial, done bool, err error) {
	header := w.Header()
	header.Set("Etag", etag)
	header.Set("Accept-Ranges", "bytes")
	header.Set("Cache-Control", h.cacheControl(immutable))
	header.Set("Content-Type", archiveType)
	if done, err = checkPreconditions(w, r, etag); done || err != nil {
		return part, false, done, err
	}
	part, partial, err = requestedRange(r, etag, size)
	if err != nil {
		header.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
		err = &statusError{http.StatusRequestedRangeNotSatisfiable, err.Error()}
	}
	return part, partial, false, err
}

// beginBody sends the header of a response with a part of a file.
func beginBody(w *response, part byteRange, partial bool, size int64) {
	header := w.Header()
	header.Set("Content-Length", strconv.FormatInt(part.length, 10))
	status := http.StatusOK
	if partial {
		header.Set("Content-Range", part.contentRange(size))
		status = http.StatusPartialContent
	}
	w.WriteHeader(status)
}

// serveEncoded sends a small archive that is compressed in transit. It is verified before the response begins. If it is not
// tiny, the request holds a place until the client has received it, because the archives of many clients would fill the memory.
func (h *Handler) serveEncoded(w *response, r *http.Request, a *archive) error {
	c := content{typ: archiveType, etag: a.etag(), cache: h.cacheControl(immutable)}
	c.make = func() ([]byte, error) { return h.readSmall(r.Context(), a) }
	if a.info.NARSize <= maxBuffered {
		return h.serveContent(w, r, c)
	}
	return h.serveLargeContent(w, r, c, a.store)
}

// An archive is an archive that is sent.
type archive struct {
	store    store.Store
	info     *store.PathInfo
	contents io.ReadCloser // from the offset on
}

// etag returns the entity tag of the archive.
func (a *archive) etag() string { return `"` + a.info.NARHash.Nix32() + `"` }

// whole is the part that is the whole archive.
func (a *archive) whole() byteRange { return byteRange{0, int64(a.info.NARSize)} }

// open opens a part of the archive. The reader verifies a whole archive while it is read.
func (a *archive) open(ctx context.Context, part byteRange) error {
	var err error
	if u, ok := store.As[*Upstream](a.store); ok {
		a.contents, err = a.openUpstream(ctx, u, part)
	} else {
		a.contents, err = a.openStored(ctx, part)
	}
	if errors.Is(err, nar.ErrOffset) {
		return errNotFound
	}
	return err
}

// openFile opens a part of the archive in a file of an Upstream, or in a file into which the archive is being fetched. It reports
// false for other archives, also for those whose contents must be compared with a content address.
func (a *archive) openFile(ctx context.Context, part byteRange) (found bool, err error) {
	u, ok := store.As[*Upstream](a.store)
	if !ok || !a.isProved() {
		return false, nil
	}
	a.contents, err = u.openKept(ctx, a.info, part.offset, part == a.whole())
	return a.contents != nil, err
}

// isProved reports whether the hash of the archive proves that it is the right one: see [Upstream.isProved].
func (a *archive) isProved() bool {
	u, ok := store.As[*Upstream](a.store)
	return !ok || u.isProved(a.info)
}

// openUpstream opens a part of the archive of an upstream cache. The cache may return another info at each query, so the reader must
// verify the archive with the info of this request.
func (a *archive) openUpstream(ctx context.Context, u *Upstream, part byteRange) (io.ReadCloser, error) {
	if part == a.whole() {
		return u.openArchive(ctx, a.info)
	}
	return u.openArchiveFrom(ctx, a.info, part.offset)
}

// openStored opens a part of the archive of another store. Another object may take the place of the object after its info was queried.
// So openStored queries the info again, when the reader has chosen an object.
func (a *archive) openStored(ctx context.Context, part byteRange) (contents io.ReadCloser, err error) {
	if part == a.whole() {
		contents, err = store.ReadNAR(ctx, a.store, a.info.Path)
	} else {
		contents, err = store.ReadNARFrom(ctx, a.store, a.info.Path, part.offset)
	}
	if err != nil {
		return nil, err
	}
	now, err := a.store.QueryPathInfo(ctx, a.info.Path)
	if err == nil && (now.NARHash != a.info.NARHash || now.NARSize != a.info.NARSize) {
		err = errNotFound
	}
	if err != nil {
		contents.Close()
		return nil, err
	}
	return contents, nil
}

// read returns the whole archive, which is small.
func (a *archive) read(ctx context.Context) ([]byte, error) {
	if err := a.open(ctx, a.whole()); err != nil {
		return nil, err
	}
	defer a.contents.Close()
	b := bytes.NewBuffer(make([]byte, 0, a.info.NARSize))
	if err := a.send(b, a.whole()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// send writes a part of the archive, which is open at its offset. If the archive is verified while it is read, the last bytes of the
// part are held back until then, so a response with a part of a wrong archive is never complete.
func (a *archive) send(w io.Writer, part byteRange) error {
	s := &sender{dst: w, left: part.length, more: part.offset+part.length < int64(a.info.NARSize)}
	pending, verifies := a.contents.(unverified)
	if !s.more || verifies {
		s.hold = min(heldBack, part.length)
	}
	_, err := io.Copy(s, a.contents)
	if verifies && (err == nil || err == errEnough) {
		if wrong := pending.verify(); wrong != nil {
			err = wrong
		}
	}
	return s.finish(err)
}
