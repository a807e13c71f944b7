package cacheserver

import (
	"pix/store"
)

// sign adds the signatures of the server's keys to an info, which must not be shared with others. A store may contain
// paths that nobody vouches for, such as unsigned uploads of a trusted user. The keys do not sign these, because a signature
// would make them trusted on other machines.
func (h *Handler) sign(info *store.PathInfo) error {
	if len(h.opts.Keys) == 0 || !h.vouches(info) {
		return nil
	}
	return info.Sign(h.opts.Keys...)
}

// vouches reports whether the server's keys may sign a path.
func (h *Handler) vouches(info *store.PathInfo) bool {
	if info.Ultimate || info.IsContentAddressed() {
		return true
	}
	good, _ := info.CheckSignatures(h.opts.TrustedKeys)
	return len(good) > 0
}
