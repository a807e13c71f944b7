package server

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pix/activity"
	"pix/derivation"
	"pix/nixconf"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// An upstream is a connection to the daemon behind the store, for one client, as a
// [store.ClientConnector] returns it.
type upstream interface {
	truster
	Version() protocol.Version   // that both sides speak
	Features() protocol.Features // that both sides have
	SetOptions(ctx context.Context, s *protocol.SetOptionsRequest) error
	Err() error // why the connection is broken, or nil
	AfterBreak(f func()) (stop func() bool)
}

// connect connects the client to the daemon behind the store, if there is one. From then on the store of
// the client is that connection. The daemon gives the connection the rights of this process, so the client
// is privileged only if this server trusts the client and the daemon trusts this process.
func (c *conn) connect() error {
	connector := connectorOf(c.store)
	if connector == nil {
		return nil
	}
	c.in.watch(watchDelay, smallAhead) // a client that hangs up ends the attempt
	defer c.in.unwatch()
	s, err := connector.ConnectClient(c.ctx)
	if err != nil {
		return err
	}
	c.store, c.session = s, s
	c.upstream, _ = store.As[upstream](s)
	c.privileged = c.trusted && trustOf(true, s) != protocol.NotTrusted
	if c.upstream != nil {
		c.forget = c.upstream.AfterBreak(c.upstreamBroke)
	}
	return nil
}

// upstreamBroke closes the connection of a client that waits for nothing. Any other client gets an error
// first.
func (c *conn) upstreamBroke() {
	if c.idle.Load() {
		c.fail(c.lostUpstream())
	}
}

// lostUpstream returns why the connection of a client ends that waits for nothing. The error does not wrap
// the error of the other connection, which could be taken for a hang-up of the client.
func (c *conn) lostUpstream() error {
	return fmt.Errorf("the connection to the other daemon was lost: %v", c.upstream.Err())
}

// connectorOf returns the ClientConnector of a store, or nil. A wrapper of a ClientConnector that has
// sessions of its own must not be bypassed, so it has none.
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

// Older versions of Nix let untrusted clients do less. If such a daemon trusts this process, it grants
// everything, so this server must refuse what the daemon would refuse to the client itself.
var (
	signatureVersion  = protocol.MakeVersion(35) // the first in which untrusted clients may add signatures
	derivationVersion = protocol.MakeVersion(24) // the first in which they may build content-addressed derivations
	intervalVersion   = protocol.MakeVersion(35) // the first in which they may set poll-interval
)

// checkOldTrust returns the error with which an old daemon behind the store refuses a request of an
// untrusted client.
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

// isFree reports whether an untrusted client may set the setting with that name to that value.
func (c *conn) isFree(name, value string) bool {
	if strings.HasSuffix(name, "poll-interval") && c.upstream != nil && c.upstream.Version() < intervalVersion {
		return false
	}
	s := nixconf.Find(name)
	isFree := s != nil && s.Who == nixconf.AnyClient && s.Name == name // Nix accepts no alias
	return isFree && len(value) <= maxFree || name == "builders" && value == ""
}

// trust returns the trust level that the handshake reports to the client: unknown if the daemon behind
// does not say whether it trusts this process.
func (c *conn) trust() protocol.Trust {
	trust := trustOf(c.trusted, c.store)
	if trust == protocol.Trusted && c.unreachable != nil {
		trust = protocol.TrustUnknown
	}
	return trust
}

// isLost reports whether the connection to the daemon behind is broken. The temporary roots and settings
// of the client ended with it, so the connection of the client must end, too.
func (c *conn) isLost() bool { return c.upstream != nil && c.upstream.Err() != nil }

// nixError returns err, or, if the daemon behind does not know the operation, the error with which Nix
// refuses it.
func (c *conn) nixError(req protocol.Request, err error) error {
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

// errNoFeature is the error of Nix from 2.35 on for a query of a realisation by the hash of its
// derivation.
var errNoFeature = fmt.Errorf("the daemon is missing the '%s' protocol feature, needed to support content-addressing derivations", protocol.RealisationWithPath)

// checkDrvOutput returns an error if the daemon behind cannot be asked about an output.
func (c *conn) checkDrvOutput(id store.DrvOutput) error {
	if c.upstream != nil && c.upstream.Features().Has(protocol.RealisationWithPath) && id.Path == "" {
		return errNoFeature
	}
	return nil
}

// substitutePaths substitutes paths, for a query of valid paths that asks for it. A daemon before
// protocol 1.27 does not substitute during that query, so the paths that a substituter has are built
// first, as Nix does in front of such a daemon. A failed build causes a warning.
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
