package server

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"pix/protocol"
	"pix/signature"
	"pix/store"
)

// As in Nix, every user may add signatures to a path, and every answer about the path contains them
// from then on. Only the owner of a trusted key can make a signature that verifies, so the number of
// verified signatures has no limit. A path keeps at most maxUnverified other signatures from untrusted
// users. If more are added, older ones are removed, so that made-up signatures cannot keep an
// honest one out.
const (
	maxUnverified      = 64
	maxUnverifiedBytes = 16 << 10
	// maxSignatures is how many signatures an object may have that an untrusted user adds. Each
	// may have to be verified.
	maxSignatures = 1024
)

func (c *conn) addSignatures(ctx context.Context, req *protocol.AddSignaturesRequest) (*protocol.Ack, error) {
	s, ok := store.As[store.Signer](c.store)
	if !ok {
		return nil, unsupported("addSignatures")
	}
	if c.privileged {
		return new(protocol.Ack), s.AddSignatures(ctx, req.Path, req.Signatures)
	}
	return new(protocol.Ack), c.addUntrusted(ctx, s, req)
}

// addUntrusted adds signatures from an untrusted user. A store that cannot remove signatures, such as
// another daemon, must bound their number itself.
func (c *conn) addUntrusted(ctx context.Context, s store.Signer, req *protocol.AddSignaturesRequest) error {
	added, err := canonical(req.Signatures)
	if err != nil {
		return err
	}
	if n := size(added); len(added) > maxUnverified || n > maxUnverifiedBytes {
		return fmt.Errorf("%d signatures of %d bytes are too many: users who are not trusted may add %d of %d bytes at a time", len(added), n, maxUnverified, maxUnverifiedBytes)
	}
	keeper, ok := store.As[store.SignatureKeeper](c.store)
	if !ok {
		return s.AddSignatures(ctx, req.Path, added)
	}
	return keeper.UpdateSignatures(ctx, req.Path, func(info *store.PathInfo) []string {
		return keptSignatures(info, added, keeper.TrustedKeys())
	})
}

// limitSignatures removes signatures from the path info that an untrusted user uploads.
func (c *conn) limitSignatures(info *store.PathInfo) error {
	if c.privileged || len(info.Signatures) <= maxUnverified && size(info.Signatures) <= maxUnverifiedBytes {
		return nil
	}
	if len(info.Signatures) > maxSignatures {
		return fmt.Errorf("'%s' has %d signatures: users who are not trusted may add objects with %d", info.Path, len(info.Signatures), maxSignatures)
	}
	all, err := canonical(info.Signatures)
	if err != nil {
		return err
	}
	var keys signature.KeySet
	if keeper, ok := store.As[store.SignatureKeeper](c.store); ok {
		keys = keeper.TrustedKeys()
	}
	info.Signatures = nil
	info.Signatures = keptSignatures(info, all, keys)
	return nil
}

// keptSignatures returns the signatures that a path keeps when others are added: every signature that
// verifies, and others up to maxUnverified or, if the path had more, up to their former number. Added
// ones are kept first, then a random choice of the older ones.
func keptSignatures(info *store.PathInfo, added []string, keys signature.KeySet) []string {
	all := *info
	all.Signatures = slices.Concat(added, info.Signatures)
	kept := make(map[string]bool)
	good, _ := all.CheckSignatures(keys) // a malformed signature does not verify
	for _, s := range good {
		kept[s.String()] = true
	}
	verified := func(s string) bool { return kept[s] }
	added, before := slices.DeleteFunc(slices.Clone(added), verified), slices.DeleteFunc(slices.Clone(info.Signatures), verified)
	rand.Shuffle(len(before), func(i, j int) { before[i], before[j] = before[j], before[i] })
	most, bytes := len(kept)+max(maxUnverified, len(before)), max(maxUnverifiedBytes, size(before))
	for _, s := range slices.Concat(added, before) {
		if !kept[s] && len(kept) < most && len(s) <= bytes {
			kept[s] = true
			bytes -= len(s)
		}
	}
	return sortedKeys(kept)
}

// canonical returns signatures in canonical form ([signature.Canonical]), sorted, each once.
func canonical(signatures []string) ([]string, error) {
	all := make([]string, len(signatures))
	for i, s := range signatures {
		var err error
		if all[i], err = signature.Canonical(s); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// size returns the length of signatures in bytes.
func size(signatures []string) (n int) {
	for _, s := range signatures {
		n += len(s)
	}
	return n
}
