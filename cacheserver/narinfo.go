package cacheserver

import (
	"net/http"

	"pix/narinfo"
	"pix/store"
)

// serveNarInfo answers a request for a narinfo.
func (h *Handler) serveNarInfo(w http.ResponseWriter, r *http.Request, n name) error {
	s, info, err := h.lookUpForPush(r, n.hashPart)
	if err != nil {
		return err
	}
	text, err := h.narInfoText(s, info)
	if err != nil {
		return err
	}
	return h.serveContent(w, r, content{
		typ: "text/x-nix-narinfo", etag: text.etag, cache: h.cacheControl(changeable),
		make: func() ([]byte, error) { return text.body, nil },
	})
}

// narInfoText returns the narinfo of a path of a store, which may be kept from another request.
func (h *Handler) narInfoText(s store.Store, info *store.PathInfo) (*narInfoText, error) {
	checked := checksAddresses(s)
	if text := h.texts.find(info, checked); text != nil {
		return text, nil
	}
	body, err := h.narInfo(info, checked)
	if err != nil {
		return nil, err
	}
	text := &narInfoText{info, checked, body, etagOf(body)}
	h.texts.add(text)
	return text, nil
}

// narInfo returns the narinfo of a path. It does not have the hash and the size of a compressed file, because clients keep a
// narinfo for 30 days: the file may have been deleted by then, and another version of the encoder may produce another one.
// All versions of Nix accept that.
func (h *Handler) narInfo(info *store.PathInfo, checked bool) ([]byte, error) {
	signed := *info
	if err := h.sign(&signed, checked); err != nil {
		return nil, err
	}
	n := &narinfo.NarInfo{PathInfo: signed}
	if h.isCompressed(info) {
		n.URL, n.Compression = archiveURL(info, zstdExtension), "zstd"
	} else {
		n.URL, n.Compression = archiveURL(info, ""), "none"
		n.FileHash, n.FileSize = info.NARHash, info.NARSize
	}
	return n.AppendText(nil)
}
