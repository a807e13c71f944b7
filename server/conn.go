package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/nixconf"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
	"pix/wire"
)

func newConn(ctx context.Context, nc net.Conn, s store.Store, opts *Options, m *memory, user owner) *conn {
	o := opts.withDefaults()
	c := &conn{nc: nc, opts: o, store: s, user: new(userState), memory: m, aborted: make(chan struct{})}
	c.trusted = o.Trusted && trustOf(true, s) != protocol.NotTrusted
	c.privileged = c.trusted
	user.trusted = c.trusted
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.initStreams()
	c.mem, c.out.account = m.open(user, c), m.requests.open(user, c)
	c.unwatchContext = context.AfterFunc(ctx, func() { c.abort(context.Cause(ctx)) })
	return c
}

// initStreams sets the callbacks of the inbox, the outbox and the tunnel.
func (c *conn) initStreams() {
	c.in.init(c.nc)
	c.in.onHangUp = func() { c.cancel(errHungUp) }
	c.in.flush, c.in.onSlow, c.in.extend, c.in.guard = c.out.flush, c.out.startFlush, c.extendRequest, c.guard
	c.out.init(c.nc, c.opts.StallTimeout)
	c.out.onError, c.out.guard = c.abort, c.guard
	for _, t := range [...]*timeout{&c.in.stalled, &c.out.stalled} {
		t.expire, t.holds = c.closeStalled, &c.holds
	}
	c.tunnel.abort = c.abort
}

// ErrStalled is the reason for closing the connection of a client that sent nothing, or read
// nothing, for longer than the options allow. If other connections wait for the memory that it
// holds, less is allowed.
var ErrStalled = errors.New("the client has stalled")

// A conn is the connection of one client.
type conn struct {
	nc        net.Conn
	opts      Options
	store     store.Store // if the store has sessions, the session of this connection
	session   store.Store // the same session, closed with the connection; nil if there is none
	trusted   bool        // this server trusts the client
	user      *userState  // shared by all connections of the user to a Server
	roots     int64       // number of temporary roots of this connection, included in user.roots
	refused   error       // if not nil, the client gets this error instead of being served
	connected func()      // called when the upstream connection is made; may be nil

	upstream        upstream    // the connection to another daemon; nil if the store has none
	unwatchUpstream func() bool // removes the callback upstreamBroke
	connectError    error       // why connecting to that daemon failed
	privileged      bool        // trusted by this server, and not distrusted by the other daemon

	ctx            context.Context // the context of all operations; done when the client has hung up
	cancel         context.CancelCauseFunc
	unwatchContext func() bool // stops watching the caller's context

	memory      *memory
	mem         accounts
	holds       atomic.Int32 // number of accounts that hold memory
	requestSize int64        // number of bytes that the request may have so far

	greeting atomic.Bool // the handshake is running
	idle     atomic.Bool // waiting for the next request
	stopping atomic.Bool // the server shuts down, so no further request is read

	in  inbox
	out outbox

	reader   *wire.Reader
	params   protocol.Params
	tunnel   tunnel
	settings settingsHolder
	buf      []byte        // reused for replies
	archive  io.ReadCloser // sent after the reply, if not nil

	mu      sync.Mutex
	err     error
	aborted chan struct{} // closed when err is set
}

// abort closes the connection at once. The first reason counts.
func (c *conn) abort(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = why
	close(c.aborted)
	c.cancel(why)
	c.in.close(why)
	c.out.close()
	defer func() { _ = recover() }() // a panicking Close must not end the process
	c.nc.Close()
}

// abortReason returns why the connection was closed, or nil.
func (c *conn) abortReason() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// errHungUp is the reason for cancelling an operation whose client has hung up.
var errHungUp = errors.New("the client has hung up")

// openSession opens a session of the store for the client, if the store has sessions. If the
// store belongs to another daemon, the handshake has done so, or failed.
func (c *conn) openSession() error {
	sessions, ok := store.As[store.Sessioner](c.store)
	if c.connectError != nil || c.session != nil || !ok {
		return c.connectError
	}
	s, err := sessions.Session(c.ctx)
	if err == nil {
		c.store, c.session = s, s
	}
	return err
}

// greet performs the handshake, unless the server shuts down. A shutdown aborts it like an idle
// connection: no operation is lost.
func (c *conn) greet() error {
	c.greeting.Store(true)
	defer c.greeting.Store(false)
	if c.stopping.Load() {
		return errStopping
	}
	return c.handshake()
}

// handshake performs the handshake within HandshakeTimeout. The time for connecting to another
// daemon does not count.
func (c *conn) handshake() error {
	deadline := time.Now().Add(c.opts.HandshakeTimeout)
	tooLate := time.AfterFunc(time.Hour, func() { c.abort(ErrStalled) })
	defer tooLate.Stop()
	wait := func() {
		if tooLate.Stop(); c.opts.HandshakeTimeout > 0 {
			tooLate.Reset(time.Until(deadline))
		}
	}
	wait()
	c.startRequest()
	params, err := protocol.ServerHandshakeFunc(c.reader, directWriter{&c.out}, c.store.Dir(), c.opts.Version, func() (protocol.Greeting, protocol.Features) {
		if c.refused == nil {
			tooLate.Stop()
			start := time.Now()
			c.connectError = c.connect()
			if c.connected != nil {
				c.connected()
			}
			deadline = deadline.Add(time.Since(start))
			wait()
		}
		return protocol.Greeting{NixVersion: c.opts.NixVersion, Trust: c.trust()}, c.features()
	})
	if err != nil {
		return asHangUp(err)
	}
	c.params = params
	c.tunnel.params, c.tunnel.out, c.tunnel.settings = params, &c.out, &c.settings
	return nil
}

// asHangUp returns errHungUp if the stream has ended in the middle of a message.
func asHangUp(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errHungUp
	}
	return err
}

// An upstream is a connection to another daemon, opened for one client by a
// [store.ClientConnector].
type upstream interface {
	truster
	Version() protocol.Version   // the negotiated version
	Features() protocol.Features // the negotiated features
	SetOptions(ctx context.Context, s *protocol.SetOptionsRequest) error
	Err() error // the reason why the connection is broken, or nil
	AfterBreak(f func()) (stop func() bool)
}

// connect opens the connection to the other daemon, if the store belongs to one, and makes it
// the store of this client. The daemon gives that connection the rights of this process. So the
// client is privileged only if this server trusts the client and the daemon trusts this
// process.
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
		c.unwatchUpstream = c.upstream.AfterBreak(c.upstreamBroke)
	}
	return nil
}

// upstreamBroke closes the connection of an idle client. Other clients get the error of their
// operation first.
func (c *conn) upstreamBroke() {
	if c.idle.Load() {
		c.abort(c.upstreamError())
	}
}

// upstreamError returns the reason for closing the connection of an idle client. It does not
// wrap the error of the upstream connection, which ignoreHangUp could take for a hang-up of the
// client.
func (c *conn) upstreamError() error {
	return fmt.Errorf("the connection to the other daemon was lost: %v", c.upstream.Err())
}

// connectorOf returns the ClientConnector that s is or wraps, or nil. If a wrapper has sessions
// of its own, it must not be bypassed, and the result is nil.
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

// checkOldTrust returns the error with which an old upstream daemon refuses a request of an
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

// isUnrestricted reports whether an untrusted client may set the setting to this value.
func (c *conn) isUnrestricted(name, value string) bool {
	if strings.HasSuffix(name, "poll-interval") && c.upstream != nil && c.upstream.Version() < intervalVersion {
		return false
	}
	s := nixconf.Find(name)
	isFree := s != nil && s.Who == nixconf.AnyClient && s.Name == name // Nix accepts no alias
	return isFree && len(value) <= maxUnrestricted || name == "builders" && value == ""
}

// trust returns the trust level that the handshake reports to the client. It is unknown if the
// upstream daemon does not report whether it trusts this process.
func (c *conn) trust() protocol.Trust {
	trust := trustOf(c.trusted, c.store)
	if trust == protocol.Trusted && c.connectError != nil {
		trust = protocol.TrustUnknown
	}
	return trust
}

// isLost reports whether the upstream connection is broken. The temporary roots and settings of
// the client ended with it, so the connection of the client must end, too.
func (c *conn) isLost() bool { return c.upstream != nil && c.upstream.Err() != nil }

// nixError returns err. If the upstream daemon does not support the operation, it returns Nix's
// error for that instead.
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

// checkDrvOutput returns an error if the upstream daemon cannot look up an output by this ID.
func (c *conn) checkDrvOutput(id store.DrvOutput) error {
	if c.upstream != nil && c.upstream.Features().Has(protocol.RealisationWithPath) && id.Path == "" {
		return errNoFeature
	}
	return nil
}

// substitutePaths substitutes paths for a query of valid paths that asks for it. A daemon
// before protocol 1.27 does not substitute during that query. So, like Nix, this function first
// builds the paths that a substituter has. A failed build causes a warning.
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
		c.warn(ctx, "%s", clientError(withoutBuildError(err)).Message)
	}
	return nil
}
