package server

import (
	"errors"
	"fmt"

	"pix/derivation"
	"pix/protocol"
	"pix/store"
)

// restrict refuses a request that its client may not make, or clears the options that the client may
// not set, before any work. Nothing else protects the store from untrusted clients.
//
// The error is a [*refusal] where Nix 2.34 fails before the work; the connection is closed then. After any
// other error the body of the request is read, and the connection stays usable.
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
			return nil // the daemon behind does not make the link
		}
		return refuse("you are not privileged to create perm roots\n\nhint: you can just do this client-side without special privileges, and probably want to do that instead.")
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
	case *protocol.RegisterDrvOutputRequest: // Nix lets every user claim any path for any output
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
		return refuse(noRepair)
	}
	return nil
}

// checkBuildable refuses a derivation whose output paths do not follow from the contents of the outputs:
// an untrusted user could claim any path as such an output.
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
