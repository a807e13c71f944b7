package cacheserver

import (
	"net/http"

	"pix/narinfo"
	"pix/store"
)

// serveNarInfo answers a request for a narinfo.
func (h *Handler) serveNarInfo(w http.ResponseWriter, r *http.Request, n name) error {
	_, info, err := h.lookUp(r.Context(), n.hashPart)
	if err != nil {
		return err
	}
	text, err := h.narInfo(info)
	if err != nil {
		return err
	}
	return h.serveContent(w, r, newContent("text/x-nix-narinfo", text))
}

// narInfo returns the narinfo of a path.
func (h *Handler) narInfo(info *store.PathInfo) ([]byte, error) {
	signed := *info
	if err := h.sign(&signed); err != nil {
		return nil, err
	}
	n := &narinfo.NarInfo{
		PathInfo: signed,
		URL:      archiveURL(info, ""), Compression: "none",
		FileHash: info.NARHash, FileSize: info.NARSize,
	}
	return n.AppendText(nil)
}
