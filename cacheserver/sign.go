package cacheserver

import (
	"crypto/sha256"
	"slices"
	"sync"

	"pix/signature"
	"pix/store"
)

// sign adds the signatures of the server's keys to an info, which must not be shared with others. A store may contain
// paths for which it does not vouch, such as unsigned uploads of a trusted user. The keys do not sign these, because a signature
// would make them trusted on other machines. checked reports whether the store checks content addresses.
func (h *Handler) sign(info *store.PathInfo, checked bool) error {
	if len(h.opts.Keys) == 0 || !h.vouches(info, checked) {
		return nil
	}
	fingerprint, err := info.Fingerprint()
	if err != nil {
		return err
	}
	info.Signatures = slices.Concat(info.Signatures, h.signer.sign(fingerprint))
	return nil
}

// vouches reports whether the server's keys may sign a path. A signature does not cover the content address, so it must not
// depend on a content address that was not compared with the contents.
func (h *Handler) vouches(info *store.PathInfo, checked bool) bool {
	if info.Ultimate || mayHaveAddress(info) && (checked || isArchiveAddress(info)) {
		return true
	}
	good, _ := info.CheckSignatures(h.opts.TrustedKeys)
	return len(good) > 0
}

// maxSigned is the maximum number of fingerprints whose signatures a signer remembers. They need about 200 bytes each.
const maxSigned = 1 << 14

// A signer signs fingerprints, and remembers the last signatures: signing takes most of the processor time of a narinfo.
type signer struct {
	keys []signature.SecretKey

	mu            sync.Mutex
	byFingerprint map[[sha256.Size]byte][]string
}

// sign returns the signatures of a fingerprint by all keys, which the caller must not change.
func (s *signer) sign(fingerprint []byte) []string {
	id := sha256.Sum256(fingerprint)
	s.mu.Lock()
	signatures := s.byFingerprint[id]
	s.mu.Unlock()
	if signatures != nil {
		return signatures
	}
	for _, k := range s.keys {
		signatures = append(signatures, k.Sign(fingerprint).String())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byFingerprint == nil || len(s.byFingerprint) >= maxSigned {
		s.byFingerprint = make(map[[sha256.Size]byte][]string)
	}
	s.byFingerprint[id] = signatures
	return signatures
}
