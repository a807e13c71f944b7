package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"pix/derivation"
	"pix/protocol"
	"pix/signature"
	"pix/store"
)

// restrict refuses a request that the client may not make, or clears the options that the
// client may not set, before any work. Nothing else protects the store from untrusted clients.
//
// The error is a [*rejection] where Nix 2.34 fails before the work. Then the connection is
// closed. After any other error the body of the request is read, and the connection stays
// usable.
func (c *conn) restrict(req protocol.Request) error {
	if req, ok := req.(*protocol.CollectGarbageRequest); ok && req.IgnoreLiveness {
		return errors.New("you are not allowed to ignore liveness")
	}
	if c.privileged {
		return nil
	}
	switch req := req.(type) {
	case *protocol.AddPermRootRequest:
		if c.opts.LocalRoots && c.trusted {
			return nil // this process creates the link, not the upstream daemon
		}
		return newRejection("you are not privileged to create perm roots\n\nhint: you can just do this client-side without special privileges, and probably want to do that instead.")
	case *protocol.BuildPathsRequest:
		return checkMode(req.Mode)
	case *protocol.BuildPathsWithResultsRequest:
		return checkMode(req.Mode)
	case *protocol.BuildDerivationRequest:
		if req.Mode == store.BuildRepair { // Nix accepts it
			return errors.New(noRepair)
		}
		return checkBuildable(req.Derivation)
	case *protocol.VerifyStoreRequest:
		if req.Repair {
			return errors.New("you are not privileged to repair paths")
		}
	case *protocol.AddBuildLogRequest:
		return errors.New("you are not privileged to add logs")
	case *protocol.RegisterDrvOutputRequest: // Nix allows every user to register any path for any output
		return fmt.Errorf("cannot register realisation '%s' because you are not a trusted user", req.Realisation.OutPath.Base())
	case *protocol.AddToStoreRequest:
		req.Repair = false
	case *protocol.AddToStoreNarRequest:
		req.Repair, req.DontCheckSigs, req.Info.Ultimate = false, false, false
	case *protocol.AddMultipleToStoreRequest:
		req.Repair, req.DontCheckSigs = false, false
	}
	return nil
}

// noRepair is the error of Nix for a repair by an untrusted user.
const noRepair = "repairing is not allowed because you are not in 'trusted-users'"

// checkMode refuses builds that replace valid paths.
func checkMode(m store.BuildMode) error {
	if m == store.BuildRepair {
		return newRejection(noRepair)
	}
	return nil
}

// checkBuildable refuses a derivation whose output paths do not follow from the contents of the
// outputs. An untrusted user could build wrong contents for such a path.
func checkBuildable(d *derivation.Derivation) error {
	kind, err := d.Kind()
	if err != nil {
		return err
	}
	if kind == derivation.InputAddressed || kind == derivation.Deferred {
		return errors.New("you are not privileged to build input-addressed derivations")
	}
	return nil
}

// As in Nix, every user may add signatures to a path, and every answer about the path contains them
// from then on. Only the owner of a trusted key can make a signature that verifies, so the number of
// verified signatures has no limit. A path keeps at most maxUnverified other signatures from untrusted
// users. If more are added, older ones are removed, so that forged signatures cannot keep out a
// valid one.
const (
	maxUnverified      = 64
	maxUnverifiedBytes = 16 << 10
	// maxSignatures limits the number of signatures of an object that an untrusted user adds.
	// Each may have to be verified.
	maxSignatures = 1024
)

func (c *conn) addSignatures(ctx context.Context, req *protocol.AddSignaturesRequest) (*protocol.Ack, error) {
	s, ok := store.As[store.Signer](c.store)
	if !ok {
		return nil, unsupportedOperation("addSignatures")
	}
	if c.privileged {
		return new(protocol.Ack), s.AddSignatures(ctx, req.Path, req.Signatures)
	}
	return new(protocol.Ack), c.addUntrusted(ctx, s, req)
}

// addUntrusted adds signatures of an untrusted user. A store that cannot remove signatures,
// such as another daemon, must limit their number itself.
func (c *conn) addUntrusted(ctx context.Context, s store.Signer, req *protocol.AddSignaturesRequest) error {
	added, err := canonicalSignatures(req.Signatures)
	if err != nil {
		return err
	}
	if n := signaturesSize(added); len(added) > maxUnverified || n > maxUnverifiedBytes {
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
	if c.privileged || len(info.Signatures) <= maxUnverified && signaturesSize(info.Signatures) <= maxUnverifiedBytes {
		return nil
	}
	if len(info.Signatures) > maxSignatures {
		return fmt.Errorf("'%s' has %d signatures: users who are not trusted may add objects with %d", info.Path, len(info.Signatures), maxSignatures)
	}
	all, err := canonicalSignatures(info.Signatures)
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

// keptSignatures returns the signatures that a path keeps when others are added: every
// signature that verifies, and up to maxUnverified others. If the path had more others, it
// keeps as many as before. Added ones are kept first, then a random choice of the older ones.
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
	most, bytes := len(kept)+max(maxUnverified, len(before)), max(maxUnverifiedBytes, signaturesSize(before))
	for _, s := range slices.Concat(added, before) {
		if !kept[s] && len(kept) < most && len(s) <= bytes {
			kept[s] = true
			bytes -= len(s)
		}
	}
	return sortedKeys(kept)
}

// canonicalSignatures returns signatures in canonical form ([signature.Canonical]), sorted and
// without duplicates.
func canonicalSignatures(signatures []string) ([]string, error) {
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

// signaturesSize returns the length of signatures in bytes.
func signaturesSize(signatures []string) (n int) {
	for _, s := range signatures {
		n += len(s)
	}
	return n
}
