package cacheserver

import (
	"context"
	"errors"
	"io"
	"net/http"

	"pix/store"
)

// zstdExtension is the extension of the names of archives that are compressed with zstd.
const zstdExtension = "zst"

// isCompressed reports whether the narinfo of a path names a compressed archive. An archive must not be so large that the archives
// that are being compressed could fill the directory.
func (h *Handler) isCompressed(info *store.PathInfo) bool {
	return h.compressed != nil && info.NARSize >= maxEncoded && info.NARSize <= h.compressed.largest()
}

// serveCompressed sends a large archive that is compressed with zstd. The first client gets the bytes while the archive is compressed.
// Their number is unknown then, so the response has no Content-Length; later responses have one.
func (h *Handler) serveCompressed(w *response, r *http.Request, a *archive) error {
	if !h.isCompressed(a.info) {
		return errNotFound
	}
	if !a.isProved() { // the file may have been made for another path, which has another address
		return h.compressDirectly(w, r, a)
	}
	if r.Method == http.MethodHead {
		return h.headCompressed(w, r, a)
	}
	f, growing, err := h.compressed.get(r.Context(), a, h.budgets.of(a.store).encoders)
	if err == nil && growing != nil && isConditional(r) {
		f, err = h.waitForFile(r.Context(), a, growing)
		growing = nil
	}
	if errors.Is(err, errDiskFull) {
		return h.compressDirectly(w, r, a)
	}
	if err != nil {
		return err
	}
	if growing != nil {
		defer growing.close()
		return h.sendGrowing(r.Context(), w, growing)
	}
	defer f.Close()
	return h.serveCompressedFile(w, r, f)
}

// compressDirectly sends a compressed archive without a file: while the disk is full, or if the contents must be compared with a
// content address. A broken download cannot be resumed.
func (h *Handler) compressDirectly(w *response, r *http.Request, a *archive) error {
	h.compressedHeader(w)
	w.Header().Del("Accept-Ranges")
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	places := h.budgets.of(a.store).encoders
	if err := places.acquire(r.Context()); err != nil {
		return err
	}
	defer places.release()
	w.place = places
	if err := a.open(r.Context(), a.whole()); err != nil {
		return err
	}
	defer a.contents.Close()
	dst := &stoppableWriter{dst: w}
	return a.sendCompressed(dst, dst.stop)
}

// A stoppableWriter discards the bytes that are written after an error.
type stoppableWriter struct {
	dst io.Writer
	err error
}

func (w *stoppableWriter) stop(err error) { w.err = err }

// Write implements io.Writer.
func (w *stoppableWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	return w.dst.Write(p)
}

// isConditional reports whether the response to a request depends on the size or the entity tag of the file.
func isConditional(r *http.Request) bool {
	for _, name := range []string{"Range", "If-Match", "If-None-Match"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// waitForFile waits until the file of an archive is complete, closes it, and opens it again.
func (h *Handler) waitForFile(ctx context.Context, a *archive, g *growingFile) (*openFile, error) {
	defer g.close()
	if err := g.wait(ctx); err != nil {
		return nil, err
	}
	f, other, err := h.compressed.find(a.info.NARHash)
	if other != nil {
		other.close()
	}
	if err == nil && f == nil {
		err = errBusy // it was deleted in between
	}
	return f, err
}

// headCompressed answers a HEAD request for a compressed archive. It does not compress the archive.
func (h *Handler) headCompressed(w *response, r *http.Request, a *archive) error {
	f, growing, err := h.compressed.find(a.info.NARHash)
	switch {
	case err != nil:
		return err
	case growing != nil:
		growing.close()
	case f != nil:
		defer f.Close()
		return h.serveCompressedFile(w, r, f)
	}
	h.compressedHeader(w)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (h *Handler) compressedHeader(w *response) {
	header := w.Header()
	header.Set("Accept-Ranges", "bytes")
	header.Set("Cache-Control", h.cacheControl(immutable))
	header.Set("Content-Type", archiveType)
}

// sendGrowing sends a file while it is written.
func (h *Handler) sendGrowing(ctx context.Context, w *response, g *growingFile) error {
	h.compressedHeader(w)
	buf := make([]byte, 32<<10)
	for offset := int64(0); ; {
		n, err := g.readAt(ctx, buf, offset)
		offset += int64(n)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// serveCompressedFile sends a complete compressed archive, or a part of it.
func (h *Handler) serveCompressedFile(w *response, r *http.Request, f *openFile) error {
	size := f.name.size
	part, partial, done, err := h.beginFile(w, r, f.name.etag(), size)
	if done || err != nil {
		return err
	}
	beginBody(w, part, partial, size)
	if r.Method == http.MethodHead {
		return nil
	}
	return w.writeFile(f.File, part)
}
