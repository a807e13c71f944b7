package cacheserver

import (
	"fmt"
	"net/http"
)

// serveCacheInfo answers a request for nix-cache-info.
func (h *Handler) serveCacheInfo(w http.ResponseWriter, r *http.Request) error {
	massQuery := 1
	if h.opts.NoMassQuery {
		massQuery = 0
	}
	text := fmt.Sprintf("StoreDir: %s\nWantMassQuery: %d\nPriority: %d\n", h.dir, massQuery, h.opts.Priority)
	return h.serveContent(w, r, h.newContent("text/x-nix-cache-info", []byte(text)))
}
