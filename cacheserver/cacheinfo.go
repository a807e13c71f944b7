package cacheserver

import (
	"cmp"
	"fmt"
)

// newCacheInfo returns nix-cache-info.
func (h *Handler) newCacheInfo() content {
	massQuery := 1
	if h.opts.NoMassQuery {
		massQuery = 0
	}
	text := fmt.Sprintf("StoreDir: %s\nWantMassQuery: %d\nPriority: %d\n", h.dir, massQuery, cmp.Or(h.opts.Priority, DefaultPriority))
	return newContent("text/x-nix-cache-info", []byte(text))
}
