package store

import (
	"slices"

	"pix/signature"
	"pix/storepath"
)

// Fingerprint returns what is signed of the path: see [signature.PathFingerprint], also
// for the errors.
func (info *PathInfo) Fingerprint() ([]byte, error) {
	return signature.PathFingerprint(info.Path, info.NARHash, info.NARSize, info.References)
}

// Sign adds the signatures of the keys to those that are there. It fails where there is
// no fingerprint.
func (info *PathInfo) Sign(keys ...signature.SecretKey) error {
	fingerprint, err := info.Fingerprint()
	if err != nil {
		return err
	}
	signatures := slices.Clone(info.Signatures)
	for _, k := range keys {
		signatures = append(signatures, k.Sign(fingerprint).String())
	}
	slices.Sort(signatures)
	info.Signatures = slices.Compact(signatures)
	return nil
}

// CheckSignatures returns the signatures that trusted keys have made of the path; one is
// enough for Nix to take it from anybody. It needs none at all if
// [PathInfo.IsContentAddressed], and nothing says so here.
//
// The error is that of the fingerprint, or a [*signature.Error] for the first signature
// that is malformed. In the latter case the good ones among the others are returned too;
// Nix would stop there, and refuse the path.
func (info *PathInfo) CheckSignatures(trusted signature.KeySet) (good []signature.Signature, err error) {
	fingerprint, err := info.Fingerprint()
	if err != nil {
		return nil, err
	}
	var malformed error
	signatures := make([]signature.Signature, 0, len(info.Signatures))
	for _, text := range info.Signatures {
		s, err := signature.Parse(text)
		if err == nil {
			signatures = append(signatures, s)
		} else if malformed == nil {
			malformed = err
		}
	}
	good, err = trusted.Verify(fingerprint, signatures...)
	if malformed != nil {
		err = malformed
	}
	return good, err
}

// IsContentAddressed reports whether the path follows from the content address and the
// references, so that nobody need vouch for it: whoever has the contents can compute the
// path. A content address that claims this wrongly is as good as none. The contents
// still have to be compared, and may be only weakly addressed: see [PathInfo.CheckContents].
func (info *PathInfo) IsContentAddressed() bool {
	if info.CA.IsZero() {
		return false
	}
	var references storepath.References
	for _, p := range info.References {
		if p == info.Path {
			references.Self = true
		} else {
			references.Others = append(references.Others, p)
		}
	}
	path, err := info.Path.Dir().FixedOutputPath(info.Path.Name(), info.CA, references)
	return err == nil && path == info.Path
}
