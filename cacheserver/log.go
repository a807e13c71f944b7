package cacheserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	"pix/store"
	"pix/storepath"
)

// smallLog is the size in bytes up to which a log is read before it is sent, so that its size is known.
const smallLog = 64 << 10

// serveLog answers a request for the log of a build.
func (h *Handler) serveLog(w http.ResponseWriter, r *http.Request, n name) error {
	drv, err := h.dir.ParseBase(n.drv)
	if err != nil || !drv.IsDerivation() {
		return errNotFound
	}
	log, err := h.buildLog(r.Context(), drv)
	if err != nil {
		return err
	}
	defer log.Close()
	var head bytes.Buffer
	if _, err := io.CopyN(&head, log, smallLog); err == io.EOF {
		return h.serveContent(w, r, h.newContent(plainText, head.Bytes()))
	} else if err != nil {
		return err
	}
	w.Header().Set("Content-Type", plainText)
	w.Header().Set("Cache-Control", h.cacheControl(changeable))
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(w, io.MultiReader(&head, log))
	return err
}

// plainText is the media type of texts, which browsers display and do not execute.
const plainText = "text/plain; charset=utf-8"

// buildLog returns the log of a derivation from the first store that has it.
func (h *Handler) buildLog(ctx context.Context, drv storepath.Path) (log io.ReadCloser, err error) {
	err = h.firstStore(errNotFound, func(s store.Store) (err error) {
		log, err = store.BuildLog(ctx, s, drv)
		return err
	})
	return log, err
}

// isAbsent reports whether an error of a store says that it does not have something.
func isAbsent(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, errors.ErrUnsupported)
}
