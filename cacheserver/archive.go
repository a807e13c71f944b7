package cacheserver

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"

	"pix/nar"
	"pix/store"
)

// serveArchive answers a request for an archive.
func (h *Handler) serveArchive(w http.ResponseWriter, r *http.Request, n name) error {
	if n.hashPart == "" || n.compression != "" {
		return errNotFound
	}
	s, info, err := h.lookUpArchive(r.Context(), n)
	if err != nil {
		return err
	}
	etag := `"` + info.NARHash.Nix32() + `"`
	header := w.Header()
	header.Set("Etag", etag)
	header.Set("Accept-Ranges", "bytes")
	header.Set("Cache-Control", immutable)
	if done, err := checkPreconditions(w, r, etag); done || err != nil {
		return err
	}
	size := int64(info.NARSize)
	part, partial, err := requestedRange(r, etag, size)
	if err != nil {
		header.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
		return &statusError{http.StatusRequestedRangeNotSatisfiable, err.Error()}
	}
	a := &archive{h: h, store: s, info: info}
	if r.Method != http.MethodHead {
		if err := a.open(r.Context(), part.offset); err != nil {
			return err
		}
		defer a.contents.Close()
	}
	header.Set("Content-Type", "application/x-nix-nar")
	header.Set("Content-Length", strconv.FormatInt(part.length, 10))
	if partial {
		header.Set("Content-Range", part.contentRange(size))
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	return a.send(w, part)
}

// immutable is the header Cache-Control of a file whose URL has the hash of its contents.
const immutable = "public, max-age=31536000, immutable"

// lookUpArchive returns the info of the object with an archive, and its store. A store with another object under the path does
// not have the archive.
func (h *Handler) lookUpArchive(ctx context.Context, n name) (store.Store, *store.PathInfo, error) {
	for _, s := range h.stores {
		info, err := queryHashPart(ctx, s, n.hashPart)
		switch {
		case errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return nil, nil, err
		case info.NARHash == n.hash && 0 < info.NARSize && info.NARSize <= math.MaxInt64:
			return s, info, nil
		}
	}
	return nil, nil, &store.NotFoundError{}
}

// An archive is an archive that is sent.
type archive struct {
	h        *Handler
	store    store.Store
	info     *store.PathInfo
	contents io.ReadCloser // from the offset on
}

// open opens the archive at an offset. Another object may take the place of the object after its info was queried. So open
// queries the info again, when the reader has chosen an object. The reader verifies a whole archive while it is read.
func (a *archive) open(ctx context.Context, offset int64) (err error) {
	if offset == 0 {
		a.contents, err = store.ReadNAR(ctx, a.store, a.info.Path)
	} else {
		a.contents, err = store.ReadNARFrom(ctx, a.store, a.info.Path, offset)
	}
	if errors.Is(err, nar.ErrOffset) {
		return errNotFound
	}
	if err != nil {
		return err
	}
	now, err := a.store.QueryPathInfo(ctx, a.info.Path)
	if err == nil && (now.NARHash != a.info.NARHash || now.NARSize != a.info.NARSize) {
		err = errNotFound
	}
	if err != nil {
		a.contents.Close()
	}
	return err
}

// send sends a part of the archive, which is open at its offset. If the part ends with the archive, the last bytes are held back
// until the reader has verified the archive, so a response with a wrong archive is never complete. The error is
// [http.ErrAbortHandler].
func (a *archive) send(w io.Writer, part byteRange) error {
	s := &sender{dst: w, left: part.length}
	if part.offset+part.length == int64(a.info.NARSize) {
		s.hold = min(heldBack, part.length)
	}
	_, err := io.Copy(s, a.contents)
	if err = s.finish(err); err != nil {
		return http.ErrAbortHandler
	}
	return nil
}
