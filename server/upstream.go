package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pix/activity"
	"pix/derivation"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// An upstream is the store of another daemon on the connection of one client, as a
// [store.ClientConnector] returns it.
type upstream interface {
	truster
	Version() protocol.Version
	Features() protocol.Features
	SetOptions(ctx context.Context, s *protocol.SetOptionsRequest) error
	Err() error // why the connection is broken, or nil
}

// connect connects the client to the daemon behind the store, if there is one. From then on its store
// is that connection. The client can have no more rights there than the daemon gives this process, nor
// more than this server gives the client, so the lower trust of both counts.
func (c *conn) connect() error {
	connector := connectorOf(c.store)
	if connector == nil {
		return nil
	}
	c.in.watch(watchDelay) // a client that hangs up ends the attempt
	defer c.in.unwatch()
	s, err := connector.ConnectClient(c.ctx)
	if err != nil {
		return err
	}
	c.store, c.session = s, s
	c.upstream, _ = store.As[upstream](s)
	c.privileged = c.trusted && trustOf(true, s) != protocol.NotTrusted
	return nil
}

// connectorOf returns what connects clients to the daemon behind a store, or nil. A wrapper of such a
// store that gives out sessions of its own has them used.
func connectorOf(s store.Store) store.ClientConnector {
	for s != nil {
		if connector, ok := s.(store.ClientConnector); ok {
			return connector
		}
		if _, ok := s.(store.Sessioner); ok {
			return nil
		}
		wrapper, ok := s.(interface{ Unwrap() store.Store })
		if !ok {
			return nil
		}
		s = wrapper.Unwrap()
	}
	return nil
}

// Older versions of Nix let untrusted clients do less. In front of a daemon that trusts this process they
// must not gain by that.
var (
	signatureVersion  = protocol.MakeVersion(35) // from which everyone may add signatures
	derivationVersion = protocol.MakeVersion(24) // and build derivations whose outputs are content-addressed
	intervalVersion   = protocol.MakeVersion(35) // and set poll-interval
)

// checkOldTrust returns the error of an old daemon behind the store for a request that it takes from
// trusted clients only.
func (c *conn) checkOldTrust(req protocol.Request) error {
	if c.privileged || c.upstream == nil {
		return nil
	}
	version := c.upstream.Version()
	switch req.(type) {
	case *protocol.AddSignaturesRequest:
		if version < signatureVersion {
			return errors.New("you are not privileged to add signatures")
		}
	case *protocol.BuildDerivationRequest:
		if version < derivationVersion {
			return errors.New("you are not privileged to build derivations")
		}
	}
	return nil
}

// isFree reports whether an untrusted client may set something.
func (c *conn) isFree(name, value string) bool {
	if strings.HasSuffix(name, "poll-interval") && c.upstream != nil && c.upstream.Version() < intervalVersion {
		return false
	}
	return free[name] && len(value) <= maxFree || name == "builders" && value == ""
}

// trust returns the trust that the handshake reports: unknown if the daemon behind does not say whether it
// trusts us.
func (c *conn) trust() protocol.Trust {
	trust := trustOf(c.trusted, c.store)
	if trust == protocol.Trusted && c.unreachable != nil {
		trust = protocol.TrustUnknown
	}
	return trust
}

// features returns the features to offer: those that the daemon behind has, too.
func (c *conn) features() protocol.Features {
	features := c.opts.features()
	if c.upstream != nil {
		features &= c.upstream.Features()
	}
	return features
}

// isLost reports whether the connection to the daemon behind is broken. Then its temporary roots and
// settings are gone, so the client must not go on as if they were not.
func (c *conn) isLost() bool { return c.upstream != nil && c.upstream.Err() != nil }

// inWordsOfNix returns the error of an operation that the daemon behind does not know in the words in
// which that daemon would refuse it.
func (c *conn) inWordsOfNix(req protocol.Request, err error) error {
	unknown, ok := errors.AsType[*protocol.UnsupportedError](err)
	if c.upstream == nil || !ok {
		return err
	}
	if unknown.What == "operation "+req.Op().String() {
		return &activity.Error{Message: fmt.Sprintf("invalid operation %d", uint64(req.Op())), Status: 1}
	}
	if add, ok := req.(*protocol.AddToStoreRequest); ok && add.Repair {
		return errors.New("repairing is not supported when building through the Nix daemon protocol < 1.25")
	}
	return err
}

// errNoFeature is what Nix from 2.35 on answers to a question about a realisation by a client that knows
// derivations only by their hash.
var errNoFeature = fmt.Errorf("the daemon is missing the '%s' protocol feature, needed to support content-addressing derivations", protocol.RealisationWithPath)

// checkDrvOutput returns an error if the daemon behind cannot be asked about an output.
func (c *conn) checkDrvOutput(id store.DrvOutput) error {
	if c.upstream != nil && c.upstream.Features().Has(protocol.RealisationWithPath) && id.Path == "" {
		return errNoFeature
	}
	return nil
}

// substitutePaths does for a daemon before 1.27, which does not substitute when it is asked which
// paths are valid, what Nix does in front of one: it builds those that a substituter has. What goes
// wrong causes a warning.
func (c *conn) substitutePaths(ctx context.Context, paths []storepath.Path) error {
	var wanted []derivation.DerivedPath
	for _, p := range paths {
		if !p.IsDerivation() {
			wanted = append(wanted, derivation.Opaque{Path: p})
		}
	}
	missing, err := store.QueryMissing(ctx, c.store, wanted)
	if err != nil || len(missing.WillSubstitute) == 0 {
		return err
	}
	wanted = wanted[:0]
	for _, p := range missing.WillSubstitute {
		wanted = append(wanted, derivation.Opaque{Path: p})
	}
	if err := store.BuildPaths(ctx, c.store, wanted, store.BuildNormal); err != nil {
		if c.isLost() {
			return err
		}
		c.warn(ctx, "%s", tellable(reason(err)).Message)
	}
	return nil
}
