package server

import (
	"errors"
	"fmt"

	"pix/derivation"
	"pix/protocol"
	"pix/store"
)

// restrict takes from a request what its client may not ask for, before any work. Nothing else
// protects the store from untrusted clients.
//
// The error is a [*refusal] where Nix 2.34 fails before the work: the client is cut off. Any
// other error comes after what belongs to the request was read, and the connection goes on.
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
			return nil // the daemon behind has no part in it
		}
		return refuse("you are not privileged to create perm roots\n\nhint: you can just do this client-side without special privileges, and probably want to do that instead.")
	case *protocol.BuildPathsRequest:
		return checkMode(req.Mode)
	case *protocol.BuildPathsWithResultsRequest:
		return checkMode(req.Mode)
	case *protocol.BuildDerivationRequest:
		if req.Mode == store.BuildRepair { // Nix takes it
			return errors.New(noRepair)
		}
		return checkBuildable(req.Derivation)
	case *protocol.VerifyStoreRequest:
		if req.Repair {
			return errors.New("you are not privileged to repair paths")
		}
	case *protocol.AddBuildLogRequest:
		return errors.New("you are not privileged to add logs")
	case *protocol.RegisterDrvOutputRequest: // Nix lets everybody say which path an output of others has
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

// noRepair says in the words of Nix who may not repair.
const noRepair = "repairing is not allowed because you are not in 'trusted-users'"

// checkMode refuses builds that replace valid paths.
func checkMode(m store.BuildMode) error {
	if m == store.BuildRepair {
		return refuse(noRepair)
	}
	return nil
}

// checkBuildable refuses a derivation whose outputs do not follow from their contents: they could
// claim to be any path.
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
