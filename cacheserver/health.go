package cacheserver

import (
	"context"
	"net/http"
	"time"

	"pix/store"
)

// serveHealth answers a request of a monitor: with 200 if all stores answer a query within a few seconds. Upstream caches are not
// asked: a monitor may send many requests, and a server whose upstream cache is down still serves what it has.
func (h *Handler) serveHealth(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	for _, s := range h.stores {
		if _, isUpstream := store.As[*Upstream](s); isUpstream {
			continue
		}
		if _, err := h.queryHashPart(ctx, s, "00000000000000000000000000000000"); err != nil && !isAbsent(err) {
			return &statusError{http.StatusServiceUnavailable, "a store does not answer"}
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", plainText)
	w.Write([]byte("ok\n"))
	return nil
}
